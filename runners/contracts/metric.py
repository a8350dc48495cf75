"""Contract of a metric: of a state `(context, model, **options)`, or of a whole run `(series, **options)`.

It is measured on a run of a few steps of a tiny network: on data and a model that offer what the metric requires.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...tasks import registry
from ...tasks.entry import BATCH_CURVES, RUNNER_KEEPS, MetricEntry
from ...tasks.metric_items import missing_requirement
from ...tasks.options import Options
from ...tasks.spec import Cell
from ..compiled import Compiled
from ..train import WORKING_SET, Outcome, Trainer, run_batch
from .common import Failed, NotApplicable, entry_is_complete, example, need, options_are_documented

SEEDS = (0, 1, 2)
STEPS = 8
ALONE = 1  # bytes of working set: one run at a time
ITERATIONS = 1e-6  # what rounding becomes in iterations that end at a residual, relative to the number


class _Raw:
    """A metric of a whole run that keeps what it returned, before the runner makes NaN and infinity an empty value."""

    def __init__(self, entry: MetricEntry):
        self.name, self._metric = entry.name, entry.load()
        self.values: list[Any] = []

    def load(self) -> Callable[..., Any]:
        return self

    def __call__(self, series: Any, **options: Any) -> Any:
        self.values.append(self._metric(series, **options))
        return self.values[-1]


@dataclass
class Subject:
    """A metric at its example's options."""

    entry: MetricEntry

    @cached_property
    def cell(self) -> Cell:
        """The tiny task."""
        wants, needs = set(self.entry.requires), set(self.entry.needs)
        sizes = {"train": 6, "validation": 4, "test": 4}
        if "single_example" in wants:
            dataset = _part("dataset", "single_example", dim=4)
        elif "classification" in wants:
            dataset = _part("dataset", "sphere", dim=4, target="sign", **sizes)
        else:
            dataset = _part("dataset", "monomial", dim=4, **sizes)
        if "recursion" in wants:
            model = _part("model", "wide", depth=1, width=5, activation="relu")
        else:
            model = _part("model", "bottleneck", depth=2, width=5, bottleneck_width=3, at=[1], activation="tanh")
        batch = {"batch_size": 3} if needs & BATCH_CURVES and "full_batch" not in wants else {}
        method = _part("method", "sgd" if batch else "gd", learning_rate={"value": 0.1}, **batch)
        bisect = {"along": "method.learning_rate.value", "between": [0.1, 100.0], "tolerance": 1e-3, "leaves": OUTCOMES}
        return Cell(
            task="check", version=1, stream=1, loss="mse", precision="float64", dataset=dataset, model=model,
            method=method, stop={"steps": STEPS, "train_loss": None, "relative_loss": 0.99}, record={"every": 1},
            metrics=self._metrics(needs), bisect=bisect if "bisect" in wants else None, seeds=list(SEEDS),
        )  # fmt: skip

    def _metrics(self, needs: set[str]) -> list[dict[str, Any]]:
        own = {"name": self.entry.name, **example(self.entry)}
        metrics = [{**own, "label": self.label(at), "at": at} for at in self.times]
        curves = needs - RUNNER_KEEPS
        of = own.get(self.entry.of, "train_loss") if self.entry.of else "train_loss"
        curves |= {of} - {"train_loss"}
        return metrics + [{**_part("metric", name), "label": name, "at": "schedule"} for name in sorted(curves)]

    @property
    def times(self) -> tuple[str, ...]:
        """When it is measured: on the schedule, which has the end and is what runs side by side share, if it can."""
        return ("schedule",) if "schedule" in self.entry.at else self.entry.at

    def label(self, at: str) -> str:
        return f"{self.entry.name} at {at}"

    @cached_property
    def _compiled(self) -> Compiled:
        return Compiled()

    @cached_property
    def raw(self) -> list[Any]:
        """What a metric of a whole run returned."""
        return []

    def run(self, working_set: int) -> list[Outcome]:
        """The runs of all seeds, as many side by side as fit."""
        self._offered()
        trainer = Trainer(self.cell, SEEDS[0], self._compiled)
        program = trainer.program
        kept = [(label, _Raw(entry) if entry is self.entry else entry, given) for label, entry, given in program.series]
        program.series = kept
        outcomes = list(run_batch(trainer, [(self.cell, s) for s in SEEDS], lambda info: None, working_set=working_set))
        for outcome in outcomes:
            need(not outcome.failure, outcome.failure)
        self.raw[:] = [value for _, entry, _ in kept if isinstance(entry, _Raw) for value in entry.values]
        return outcomes

    def _offered(self) -> None:
        """Raises `Failed` for a requirement that the tiny task does not meet."""
        cell = self.cell
        parts = (("dataset", cell.dataset), ("model", cell.model))
        schemas = [registry.find(kind, part["name"]).schema() for kind, part in parts]
        given = [{k: v for k, v in part.items() if k != "name"} for _, part in parts]
        offers = frozenset().union(*(schema(**own).offers for schema, own in zip(schemas, given, strict=True)))
        offers |= {"every_step"} | ({"bisect"} if cell.bisect else set())
        offers |= set() if "batch_size" in cell.method and cell.method["batch_size"] else {"full_batch"}
        missing = missing_requirement(self.entry, offers)
        need(missing is None, f"no tiny task offers all that it requires: {(missing or ('', ''))[0]}")

    @cached_property
    def alone(self) -> list[Outcome]:
        return self.run(ALONE)

    def values(self, outcomes: Sequence[Outcome], at: str) -> list[float | None]:
        return [outcome.scalars.get(self.label(at)) for outcome in outcomes]


OUTCOMES = ["monotone", "catapult", "dead", "unconverged"]


def _part(kind: str, name: str, **options: Any) -> dict[str, Any]:
    """A component of the suite with every default filled in, as a resolved cell has it."""
    schema = registry.find(kind, name).schema() or Options
    return {"name": name, **schema(**options).model_dump(mode="json")}


def entry(subject: Subject) -> None:
    entry_is_complete(subject.entry)
    for label in set(subject.entry.needs) - RUNNER_KEEPS:
        need("schedule" in registry.find("metric", label).at, f"it needs the curve '{label}', which is never scheduled")


def options(subject: Subject) -> str | None:
    return options_are_documented(subject.entry)


def _may_be_empty(entry: MetricEntry) -> bool:
    """Whether a definition says that there may be no number, as boards then show."""
    return re.search(r"\b(none|empty)\b", entry.definition) is not None


def finite(subject: Subject) -> str:
    outcomes = subject.alone
    found = []
    for at in subject.times:
        values = subject.values(outcomes, at)
        if at == "series":
            for value in subject.raw:
                need(value is None or math.isfinite(value), f"it returns {value}: return None for a value that is none")
            if all(value is None for value in values):
                return "empty on the tiny run"
        else:
            curves = [outcome.arrays.get(subject.label(at), ()) for outcome in outcomes]
            need(not np.any(np.isinf(curves)), f"at {at} it is infinite: return NaN where it has no value")
            whole = None not in values and np.all(np.isfinite(curves))
            need(
                whole or _may_be_empty(subject.entry),
                f"at {at} it is NaN, and its definition does not say `none`",
            )
        first = values[0]
        found.append(f"{at} " + ("empty" if first is None else f"{first:.4g}"))
    return ", ".join(found)


def certificate(subject: Subject) -> str:
    tolerance = subject.entry.tolerance
    if tolerance is None:
        raise NotApplicable("it declares no tolerance: nothing about it is iterated or searched")
    worst = 0.0
    for outcome in subject.alone:
        for at in subject.times:
            label = subject.label(at)
            value = outcome.scalars[label]
            if value is None:
                continue
            kinds = [outcome.certificates.get(f"{label}.{kind}") for kind in ("residual", "half_width")]
            given = [kind for kind in kinds if kind is not None]
            if not given:
                raise Failed("it declares a tolerance, and returns no residual: return a models.kernels.Estimate")
            size = max(abs(value), outcome.certificates.get(f"{label}.scale", 0.0))
            need(given[0] >= 0, f"the residual is negative: {given[0]:.3g}")
            need(
                given[0] <= tolerance * size, f"the residual is {given[0] / size:.3g} of it; {tolerance:g} is declared"
            )
            worst = max(worst, given[0] / size)
    return f"largest residual {worst:.2g} of the value"


def _numbers(subject: Subject, outcomes: Sequence[Outcome], at: str) -> np.ndarray:
    """Values and curves of all runs, NaN where one is empty."""
    values = [np.nan if value is None else value for value in subject.values(outcomes, at)]
    return np.concatenate([values, *(outcome.arrays.get(subject.label(at), ()) for outcome in outcomes)])


def batch(subject: Subject) -> str:
    together = subject.run(WORKING_SET)
    for at in subject.times:
        for one, other in zip(_numbers(subject, subject.alone, at), _numbers(subject, together, at), strict=True):
            same = np.isclose(one, other, rtol=ITERATIONS, atol=1e-12, equal_nan=True)
            need(same, f"at {at} it is {one:.9g} alone and {other:.9g} side by side with {len(SEEDS) - 1} others")
    return f"{len(SEEDS)} runs, alone and side by side"
