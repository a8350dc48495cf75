"""The numbers of stored runs against their curves: what can be computed from those alone is computed again."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..tasks import registry
from ..tasks.entry import BATCH_CURVES
from ..tasks.metrics import Series, rules
from ..tasks.spec import Cell
from . import provenance
from .records import Run
from .results import Store
from .verify_records import Fault, place

REDUCE = {"last": lambda curve: curve[-1], "max": np.max, "min": np.min}
ROUNDING = 1e-6  # of a curve that is stored in less than float64
NEAR = 1e-4  # of the loss that ends a run: training looks at it in another program than the one that stores it
AXES = ("loss", "loss_steps", "record_steps")
Arrays = Mapping[str, np.ndarray]


class Untold(Exception):
    """A record does not hold what a number is computed from."""


class Wrong(Exception):
    """A record contradicts itself; the message says how."""


@dataclass(frozen=True)
class Numbers:
    """How many numbers and outcomes a curve tells the same, how many none tells, and what is wrong with other runs."""

    told: int
    untold: int
    faults: tuple[Fault, ...]


def numbers(store: Store, runs: Iterable[tuple[Run, Cell]]) -> Numbers:
    """Checks the scalars and the outcome of every run against its curves, as far as these tell them.

    Args:
        store: has the curves.
        runs: each with the cell that says what its metrics are.
    """
    told, untold, faults = 0, 0, []
    for run, cell in runs:
        if run.status != "ok":
            continue
        try:
            here = _told(run, cell, store.arrays(run))
        except Wrong as error:
            faults.append(Fault(place(run), str(error)))
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:  # of no task here
            faults.append(Fault(place(run), f"its numbers cannot be read ({type(error).__name__}: {error})"))
        else:
            told, untold = told + here, untold + count(run) - here
    return Numbers(told, untold, tuple(faults))


def count(run: Run) -> int:
    """The numbers of a run, with its outcome."""
    return len(run.scalars) + (run.outcome is not None)


def _told(run: Run, cell: Cell, arrays: Arrays) -> int:
    """How many of a run's numbers its curves tell; raises `Wrong` where one is another."""
    specs = {spec["label"]: spec for spec in cell.metrics}
    if odd := sorted(specs.keys() ^ run.scalars.keys()):
        raise Wrong(f"its scalars are not those of its metrics: {', '.join(odd)}")
    scheduled = {label for label, spec in specs.items() if spec["at"] == "schedule"}
    _check_arrays(run, cell, arrays, scheduled)
    if not cell.stop["steps"]:
        if run.outcome is not None:
            raise Wrong(f"its outcome is {run.outcome}, and it takes no step")
        return 0
    told = sum(_reduced(run, label, specs[label]["name"], arrays[label]) for label in sorted(scheduled))
    told += sum(_end_of_loss(run, spec, arrays["loss"]) for spec in cell.metrics if spec["name"] == "train_loss")
    reached = _reached(cell, run, arrays["loss"])
    possible = _outcomes(run, cell, arrays["loss"], reached)
    if possible and run.outcome not in possible:
        raise Wrong(f"its outcome is {run.outcome}, and {' or '.join(sorted(possible))} on its curve")
    told += len(possible) == 1
    series = Stored(run, cell, arrays, reached)
    return told + sum(_computed(run, spec, series) for spec in cell.metrics if spec["at"] == "series")


def _check_arrays(run: Run, cell: Cell, arrays: Arrays, scheduled: set[str]) -> None:
    """Raises `Wrong` unless the arrays are those of such a run, each of its length."""
    total = cell.stop["steps"]
    wanted = {*AXES, *scheduled} if total else set()
    if missing := sorted(wanted - arrays.keys()):
        raise Wrong(f"it has no curve of {', '.join(missing)}")
    if beside := sorted(arrays.keys() - wanted - (BATCH_CURVES if total else set())):
        raise Wrong(f"it has arrays that nothing asks for: {', '.join(beside)}")
    if not 0 <= run.steps <= total:
        raise Wrong(f"it has {run.steps} steps; asked are {total}")
    for name, array in arrays.items():
        if array.ndim != 1 or array.dtype.kind != ("i" if name.endswith("_steps") else "f"):
            raise Wrong(f"its array {name} is of {array.dtype}, {array.ndim}-dimensional")
    if not total:
        return
    if arrays["loss_steps"].size == 0 or arrays["loss_steps"][-1] != run.steps:
        raise Wrong(f"it has {run.steps} steps, and its loss ends at another")
    records = np.append(np.arange(0, run.steps, cell.record["every"]), run.steps)
    each = np.arange(run.steps + 1)
    if not np.array_equal(arrays["record_steps"], records):
        raise Wrong(f"its record_steps are not those of a record every {cell.record['every']} steps")
    mini = cell.method.get("batch_size") is not None  # of all examples where it is as large as they are many
    if not (np.array_equal(arrays["loss_steps"], each) or (mini and np.array_equal(arrays["loss_steps"], records))):
        raise Wrong("its loss_steps leave steps out")
    lengths = {"loss": arrays["loss_steps"].size, **dict.fromkeys(scheduled, records.size)}
    for name, array in arrays.items():
        if array.size != lengths.get(name, run.steps) and name not in ("loss_steps", "record_steps"):
            raise Wrong(f"its array {name} has {array.size} values for {run.steps} steps")


def _reduced(run: Run, label: str, name: str, curve: np.ndarray) -> bool:
    """Whether the entry of a scheduled metric is known here; raises `Wrong` if its number is not its curve's."""
    entry = registry.table("metric").get(name)
    if entry is None:
        return False
    with np.errstate(all="ignore"):
        expected = float(REDUCE[entry.reduce](curve))
    _compare(run, label, expected if math.isfinite(expected) else None, ROUNDING, 0.0)
    return True


def _end_of_loss(run: Run, spec: Mapping[str, Any], loss: np.ndarray) -> bool:
    """Whether a `train_loss` is that of the first or the last weights; raises `Wrong` if it is not the curve's there.

    Another program may have measured it: it differs by rounding, and, once it is tiny, by that of the largest loss.
    """
    if spec["at"] not in ("start", "end"):
        return False
    value = float(loss[0 if spec["at"] == "start" else -1])
    size = float(np.max(np.abs(loss), where=np.isfinite(loss), initial=0.0))
    amount = float(np.finfo(loss.dtype).eps) * size
    _compare(run, spec["label"], value if math.isfinite(value) else None, NEAR, amount)
    return True


def _compare(run: Run, label: str, expected: float | None, share: float, amount: float) -> None:
    stored = run.scalars[label]
    if stored is None and expected is None:
        return
    if stored is None or expected is None or not math.isclose(stored, expected, rel_tol=share, abs_tol=amount):
        raise Wrong(f"{label} is {stored!r}, and {expected!r} on its curve")


# -- the outcome -------------------------------------------------------------------------------------------------------


def _targets(cell: Cell, loss: np.ndarray) -> list[float]:
    share = cell.stop["relative_loss"]
    targets = [cell.stop["train_loss"], None if share is None else share * float(loss[0])]
    return [target for target in targets if target is not None]


def _reached(cell: Cell, run: Run, loss: np.ndarray) -> set[bool]:
    """Whether the run reached its stopping loss; both where rounding decides."""
    last, targets = float(loss[-1]), _targets(cell, loss)
    near = any(abs(last - target) <= NEAR * target for target in targets)
    if near and run.steps == cell.stop["steps"]:
        return {True, False}
    return {near or any(last <= target for target in targets)}


def _outcomes(run: Run, cell: Cell, loss: np.ndarray, reached: set[bool]) -> set[str]:
    """The outcomes that the loss leaves possible, none where nothing is known; raises `Wrong` if it ended for no
    reason.

    Whether a flat loss means that no gradient is left is told by the kernel, which is not stored.
    """
    try:
        far = _left(run, cell, loss)
    except Untold:
        return set()
    if run.steps < cell.stop["steps"] and True not in reached and not far:
        raise Wrong(f"it ended after {run.steps} of {cell.stop['steps']} steps, and its loss does not say why")
    return {
        rules.classify_outcome(
            loss, converged=ended, divergence_limit=0.0 if far else math.inf, trace_ratio=trace, mean_y2=1.0
        )
        for ended in reached
        for trace in (1.0, 0.0)
    }


def _left(run: Run, cell: Cell, loss: np.ndarray) -> bool:
    """Whether the loss left the finite numbers or passed the limit of `rules.classify_outcome`; may raise `Untold`."""
    from .build import divergence_limit

    if not np.all(np.isfinite(loss)):
        return True
    limit, top = divergence_limit(cell.model), float(np.max(loss))
    if top <= limit * float(loss[0]):
        return False
    return top > limit * float(np.mean(np.sum(np.square(_data(cell, run.seed).train.y), axis=1)))


def _data(cell: Cell, seed: int) -> Any:
    from ..tasks.datasets import DatasetUnavailable
    from .build import dataset

    try:
        return dataset(cell, seed)
    except DatasetUnavailable as error:
        raise Untold("data") from error


# -- series ------------------------------------------------------------------------------------------------------------


class Stored(Series):
    """The series of a stored run; what the record does not hold raises `Untold` when a metric asks for it."""

    def __init__(self, run: Run, cell: Cell, arrays: Arrays, reached: set[bool]) -> None:
        specs = {spec["label"]: spec for spec in cell.metrics}
        numbers = {label: value for label, value in run.scalars.items() if value is not None}
        held: dict[str, Any] = {
            "run": run,
            "cell": cell,
            "loss": arrays["loss"],
            "steps": arrays["loss_steps"],
            "record_steps": arrays["record_steps"],
            "curves": {label: arrays[label] for label, spec in specs.items() if spec["at"] == "schedule"},
            "batch": {name: arrays[name] for name in BATCH_CURVES & arrays.keys()},
            "outcome": run.outcome,
            "initial": {label: value for label, value in numbers.items() if specs[label]["at"] == "start"},
            "final": {label: value for label, value in numbers.items() if specs[label]["at"] != "series"},
        }
        if len(reached) == 1:
            held["converged"] = True in reached
        vars(self).update(held)

    def __getattr__(self, name: str) -> Any:
        raise Untold(name)

    @functools.cached_property
    def n(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return _data(self.cell, self.run.seed).train.x.shape[0]

    @functools.cached_property
    def work_per_step(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return min(self.n, self.cell.method.get("batch_size") or self.n)

    @functools.cached_property
    def extra_work(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleVariableOverride]
        extra = np.zeros(self.run.steps)
        spent = registry.find("method", self.cell.method["name"]).extra_evaluations(self.cell.method, self.run.steps)
        if spent:
            extra[list(spent)] = self.n
        return extra

    @functools.cached_property
    def learning_rate(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleVariableOverride]
        method = self.cell.method
        rate = method["learning_rate"].get("value")  # one in units of the critical rate is not stored
        if rate is None or method.get("schedule") or registry.find("method", method["name"]).resets_rate:
            raise Untold("learning_rate")
        return np.full(self.run.steps, float(np.dtype(self.cell.precision).type(rate)))

    @property
    def bracket(self) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        raise Untold("bracket")


def _computed(run: Run, spec: Mapping[str, Any], series: Series) -> bool:
    """Whether a metric of the whole run can be computed from its record; raises `Wrong` if its number is another.

    To runs of other code, whose formula may differ, the metric's margin applies.
    """
    entry = registry.table("metric").get(spec["name"])
    if entry is None:
        return False
    options = {key: value for key, value in spec.items() if key not in ("name", "label", "at")}
    try:
        with np.errstate(all="ignore"):
            value = entry.load()(series, **options)
    except Untold:
        return False
    expected = None if value is None or not math.isfinite(value) else float(value)
    here = run.code == provenance.code_digest()
    share, amount = (ROUNDING, 0.0) if here else (entry.margin + (entry.tolerance or 0.0), entry.negligible)
    _compare(run, spec["label"], expected, share, amount)
    return True
