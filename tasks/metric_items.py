"""The metrics of a task: from names and mappings to resolved items, checked against the task around them.

A metric may require something of the data, the model or the method (test examples, a known true function, full-batch
training), and a metric of the finished run needs curves that other metrics of the task record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import registry
from .components import lookup, named
from .document import Node
from .entry import RUNNER_KEEPS, MetricEntry
from .merge import without
from .options import Options
from .problem import did_you_mean
from .report import Report
from .spec import Leaderboard

HEAD = ("name", "label", "at")


class MetricHead(Options):
    """What every metric of a task may say."""

    name: str
    """The metric."""
    label: str | None = None
    """Its name in results and claims, by default that of the metric."""
    at: str | None = None
    """start | end | schedule | series; each metric allows some of them."""


@dataclass(frozen=True)
class Reader:
    """Reads the metrics of one cell. ``steps`` and ``offers`` are None while the section they come from is broken."""

    report: Report
    steps: int | None
    offers: frozenset[str] | None
    arena: Leaderboard | None

    def read(self, node: Node) -> list[dict[str, Any]] | None:
        """``{name, label, at, options…}`` for each item; ``None`` if one of them cannot be used."""
        items = node.value if isinstance(node.value, list) else []
        found = [(item, self._metric(item)) for item in items]
        good = [(item, metric) for item, metric in found if metric is not None]
        labels = {metric["label"]: metric for _, metric in good}
        if len(labels) < len(good):
            self._same_labels(good)
        for item, metric in good:
            entry = registry.find("metric", metric["name"])
            missing = None if self.offers is None else missing_requirement(entry, self.offers)
            if missing is not None:
                self.report.add(item, *missing)
            else:
                self._check_curves(item, metric, entry, labels)
        if len(good) < len(items):
            return None
        metrics = [metric for _, metric in good]
        if self.arena is not None:
            metrics += self._arena_metrics(node, labels, self.arena)
        return metrics

    def _metric(self, item: Node) -> dict[str, Any] | None:
        if isinstance(item.value, str):
            entry, options, given = lookup("metric", item, self.report), {}, {}
            if entry is not None and entry.options:
                filled = self.report.model(entry.schema(), Node({}, item.mark))
                if filled is None:
                    return None
                options = filled.model_dump(mode="json")
        elif isinstance(item.value, dict):
            entry, options, given = self._with_options(item) or (None, {}, {})
        else:
            return None  # reported by the task's own schema
        if entry is None:
            return None
        label = given.get("label", entry.name)
        at = given.get("at") or self._default_at(entry, label)
        place = item.get("at") or item
        if at not in entry.at:
            allowed = ", ".join(entry.at)
            hint = did_you_mean(at, entry.at, otherwise=f"it can at {allowed}")
            self.report.add(place, f"{entry.name} cannot be measured at '{at}'", hint)
            return None
        if self.steps == 0 and at != "start":
            hint = "write `at: start`" if "start" in entry.at else "set `stop: {steps: …}`"
            self.report.add(place, f"{entry.name} is measured at '{at}', but stop.steps is 0: nothing is trained", hint)
            return None
        return {"name": entry.name, "label": label, "at": at, **options}

    def _with_options(self, item: Node) -> tuple[MetricEntry, dict[str, Any], dict[str, Any]] | None:
        entry = named("metric", item, self.report)
        if entry is None:
            return None
        head = self.report.model(MetricHead, Node({k: v for k, v in item.value.items() if k in HEAD}, item.mark))
        options = self.report.model(entry.schema() or Options, without(item, *HEAD), also=HEAD)
        if head is None or options is None:
            return None
        return entry, options.model_dump(mode="json"), head.model_dump(exclude_unset=True)

    def _default_at(self, entry: MetricEntry, label: str) -> str:
        arena = self.arena
        if self.steps == 0 and "start" in entry.at:
            return "start"
        ranked = arena is not None and label in (arena.metric, arena.validation_metric)
        return "schedule" if ranked and "schedule" in entry.at else entry.at[0]

    def _same_labels(self, metrics: list[tuple[Node, dict[str, Any]]]) -> None:
        seen: set[str] = set()
        for item, metric in metrics:
            if metric["label"] in seen:
                self.report.add(item, f"two metrics are called '{metric['label']}'", "give one of them a `label`")
            seen.add(metric["label"])

    def _check_curves(self, item: Node, metric: dict[str, Any], entry: MetricEntry, labels: Mapping[str, Any]) -> None:
        """A metric of the finished run finds its curves among the scheduled metrics."""
        needs = [label for label in entry.needs if label not in RUNNER_KEEPS]
        curve = metric[entry.of] if entry.of else None
        if curve is not None and curve != "train_loss":
            needs.append(curve)
        lacking = [label for label in needs if labels.get(label, {}).get("at") != "schedule"]
        if lacking:
            many = len(lacking) > 1
            named = " and ".join(f"'{label}'" for label in lacking)
            what = f"the curve{'s' if many else ''} {named}, which {'are' if many else 'is'} not recorded"
            hint = " and ".join(f"{{name: {label}, at: schedule}}" for label in lacking)
            self.report.add(item, f"{entry.name} needs {what}", f"add {hint} to metrics")

    def _arena_metrics(self, node: Node, labels: Mapping[str, Any], arena: Leaderboard) -> list[dict[str, Any]]:
        """The work to the arena's target, unless the file measures it already."""
        metric = labels.get(arena.metric)
        if "work_to_target" in labels or metric is None:
            return []
        if registry.find("metric", metric["name"]).direction != "lower":
            return []
        if metric["at"] != "schedule":
            self.report.add(node, f"the arena's metric '{arena.metric}' must be a curve", "give it `at: schedule`")
            return []
        entry = registry.find("metric", "work_to_target")
        options = entry.schema()(target=arena.target, of=arena.metric).model_dump(mode="json")
        return [{"name": entry.name, "label": entry.name, "at": "series", **options}]


WORDS = {
    "validation": ("validation examples, and the dataset has none", "set dataset.validation"),
    "test": ("test examples, and the dataset has none", "set dataset.test"),
    "classification": ("class labels, and the dataset has real targets", "leave it out, or use the loss instead"),
    "agop": (
        "a dataset whose true function is known",
        "monomial, low_rank_polynomial, or sphere with target: linear; give real data a model in its place: "
        "`reference: {}`",
    ),
    "reference": ("a reference model", "add `reference: {}` to a dataset of real examples"),
    "single_example": ("the dataset single_example", "set `dataset: {name: single_example, …}`"),
    "blocks": ("a model whose parameters are divided into blocks", "use the bottleneck model"),
    "chain": ("a fully connected network", "use the wide or the bottleneck model"),
    "network": ("a network, not its expansion", "remove model.expansion"),
    "recursion": (
        "the one-hidden-layer network that has a recursion",
        "set `model: {name: wide, depth: 1, bias: false, parameterization: ntk, activation: relu, …}`",
    ),
    "full_batch": ("full-batch training", "leave method.batch_size out, or use sgd_catapults"),
    "every_step": ("a record of every step", "set `record: {every: 1}`"),
    "bisect": ("a search", "add `bisect: …`"),
}


def missing_requirement(entry: MetricEntry, offers: frozenset[str]) -> tuple[str, str] | None:
    """(what is missing, what to do) for the first requirement that the task does not meet."""
    for requirement in entry.requires:
        if requirement not in offers:
            need, hint = WORDS.get(requirement, (requirement, ""))
            return f"{entry.name} needs {need}", hint
    return None
