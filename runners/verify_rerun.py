"""Cells of a stored folder run again for their first steps, and what came out against what is stored."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..tasks import registry
from ..tasks.spec import Cell
from . import provenance, schedule
from .records import Run
from .results import Store
from .verify_records import Fault, place

STEPS = 200
CLOSE = {"float32": 1e-4, "float64": 1e-10}
"""The relative difference that the same code may make on another machine of the same kind, whose rounding differs."""
ROUNDINGS = 100.0  # of the largest value so far: what is left of a number that fell to nothing
Arrays = Mapping[str, np.ndarray]
Specs = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Tolerance:
    """What two numbers may differ by: a share of their size, and an amount."""

    share: float
    amount: float | np.ndarray = 0.0

    def apart(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Where they differ by more; what is not finite must be the same."""
        with np.errstate(all="ignore"):
            near = np.abs(a - b) <= self.share * np.maximum(np.abs(a), np.abs(b)) + self.amount
        finite = np.isfinite(a) & np.isfinite(b)
        return ~((near & finite) | (a == b) | (np.isnan(a) & np.isnan(b)))


@dataclass(frozen=True)
class Rerun:
    """How many runs were compared and for how many steps at most, by which tolerance in words, and what differed.

    ``numbers``: how many scalars and outcomes were computed again and compared.
    """

    runs: int
    steps: int
    words: str
    faults: tuple[Fault, ...]
    broken: bool = False
    numbers: int = 0


def rerun(
    store: Store,
    chosen: Sequence[tuple[Cell, Sequence[Run]]],
    *,
    whole: bool = False,
    jobs: int | None = None,
    notify: Callable[[schedule.Event], None] = lambda event: None,
) -> Rerun:
    """Runs cells again, in a temporary folder, with the seeds of their stored runs, and compares the two.

    For their first `STEPS` steps, unless the ``whole`` of them is asked for.

    Curves are compared up to the last step of the rerun; what is measured before training, always; all other numbers
    where the stored run had ended by then. Runs of the current code must agree closely (`CLOSE`), others within the
    margins that metrics declare.
    """
    code = provenance.code_digest()
    pairs = [(cell, _shortened(cell, runs, whole=whole), runs) for cell, runs in chosen]
    faults: list[Fault] = []
    compared, steps, numbers, skipped, broken = 0, 0, 0, "", False
    with tempfile.TemporaryDirectory() as folder:
        again = Store(folder, create=True)
        wanted = [short for _, short, _ in pairs]
        schedule.execute(wanted, again, code=code, tier=chosen[0][1][0].tier, jobs=jobs, notify=notify, title="rerun")
        for cell, short, runs in pairs:
            for run in runs:
                new = again.read(short.digest, code, run.seed)
                if new is None or new.status == "skipped":
                    skipped = new.message if new else "it was not run"
                    continue
                compared, steps = compared + 1, max(steps, new.steps)
                broken |= new.status != "ok"
                compare = _Comparison(run, new, cell, short.stop["steps"], run.code == code)
                numbers += len(compare.labels) + (compare.whole and run.outcome is not None)
                found = compare.differences(store.arrays(run), again.arrays(new))
                faults += [Fault(place(run), message) for message in found]
    words = skipped or ("equal but for rounding" if chosen[0][1][0].code == code else "within the metrics' margins")
    return Rerun(compared, steps, words, tuple(faults), broken, numbers)


def _shortened(cell: Cell, runs: Iterable[Run], *, whole: bool) -> Cell:
    """The cell with as few steps as reach `STEPS` and the next record.

    All steps where what a step does depends on how many there are, as under a schedule; a bisection's trials are whole.
    """
    total, every = cell.stop["steps"], cell.record["every"]
    steps = min(total, -(-STEPS // every) * every)
    if whole or cell.bisect is not None or cell.method.get("schedule"):
        steps = total
    return cell.model_copy(update={"stop": {**cell.stop, "steps": steps}, "seeds": [run.seed for run in runs]})


@dataclass(frozen=True)
class _Comparison:
    """A stored run and the one made again, of a task's own cell, for at most ``limit`` steps.

    ``close``: both are of one code.
    """

    run: Run
    new: Run
    cell: Cell
    limit: int
    close: bool

    @property
    def whole(self) -> bool:
        """Whether the stored run had ended where the rerun does."""
        return self.run.steps < self.limit or self.limit == self.cell.stop["steps"]

    @property
    def specs(self) -> Specs:
        return {spec["label"]: spec for spec in self.cell.metrics}

    @property
    def labels(self) -> list[str]:
        """The numbers that the rerun tells."""
        return [label for label, spec in self.specs.items() if self.whole or spec["at"] == "start"]

    def differences(self, stored: Arrays, made: Arrays) -> Iterator[str]:
        """At most one sentence per number and curve."""
        run, new = self.run, self.new
        if new.status != "ok":
            yield f"run again, it ended with {new.status.replace('_', ' ')}: {new.message}"
            return
        if self.close and run.provenance.get("dataset") != new.provenance.get("dataset"):
            yield "run again, it had other data"
            return
        if self.close and new.steps != min(run.steps, self.limit):
            yield f"run again, it took {new.steps} steps; stored are {run.steps}"
            return
        yield from self._curves(stored, made)
        for label in self.labels:
            a, b = run.scalars.get(label), new.scalars.get(label)
            tolerance = self._tolerance(self.specs[label]["name"])
            if (a is None) != (b is None) or (a is not None and tolerance.apart(np.asarray(a), np.asarray(b))):
                yield f"run again, its {label} is {_word(b)}; stored is {_word(a)}"
        if self.whole and run.outcome != new.outcome:
            yield f"run again, its outcome is {new.outcome}; stored is {run.outcome}"

    def _curves(self, stored: Arrays, made: Arrays) -> Iterator[str]:
        if lacking := sorted(made.keys() - stored.keys()):
            yield f"it has no {', '.join(lacking)}"
            return
        for name in made.keys() - {"loss_steps", "record_steps"}:
            spec = self.specs.get(name, {})
            axis = "loss_steps" if name == "loss" else "record_steps" if spec.get("at") == "schedule" else ""
            if axis and stored[name].shape != stored[axis].shape:
                yield f"its {name} has another length than its {axis}"
                continue
            if axis:
                _, first, second = np.intersect1d(stored[axis], made[axis], return_indices=True)
                if axis == "record_steps" and not self.whole:  # the last was measured by another program
                    first, second = first[:-1], second[:-1]
            else:  # one value per step
                first = second = slice(min(stored[name].size, made[name].size))
            old, new = (np.asarray(curve, np.float64) for curve in (stored[name][first], made[name][second]))
            tolerance = self._tolerance(spec.get("name", "train_loss"))
            if self.close and new.size:
                with np.errstate(all="ignore"):
                    size = np.maximum.accumulate(np.where(np.isfinite(new), np.abs(new), 0.0))
                tolerance = Tolerance(tolerance.share, ROUNDINGS * float(np.finfo(self.cell.precision).eps) * size)
            apart = tolerance.apart(old, new)
            if apart.any():
                k = int(np.argmax(apart))
                yield f"run again, its {name} is {_word(new[k])} at place {k}; stored is {_word(old[k])}"

    def _tolerance(self, metric: str) -> Tolerance:
        if self.close:
            return Tolerance(CLOSE[self.cell.precision])
        entry = registry.find("metric", metric)
        return Tolerance(entry.margin + (entry.tolerance or 0.0), entry.negligible)


def _word(value: Any) -> str:
    return "none" if value is None else f"{float(value):.9g}"
