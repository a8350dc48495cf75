"""What a claim is decided from: the cells it selects and, per seed, the values of their runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..tasks.sweep import is_number
from .certificates import uncertified
from .records import Cell, Lookup, Run

PENDING = ("not run", "interrupted", "skipped")
"""Why a seed has no value yet. Every other reason is a finding: its run ended, and gave none."""


class Sample(NamedTuple):
    """What a claim measured: one estimate per seed that has one, and the seeds left out with the reason for each."""

    estimates: dict[int, float]
    left_out: dict[int, str]

    @property
    def pending(self) -> list[str]:
        """Why seeds have no value yet."""
        return [reason for reason in self.left_out.values() if reason in PENDING]

    @property
    def lost(self) -> list[str]:
        """The reason of every seed whose runs ended without a value."""
        return [reason for reason in self.left_out.values() if reason not in PENDING]


class Methods(NamedTuple):
    """The methods of an arena: those that can be compared, by name, and those that cannot, each with the reason.

    `pending`: why methods could not be tuned yet, by tuning seed. `failed`: why some could not be tuned at all although
    nothing is known against them, by tuning seed: an error, a time limit, too little memory.
    """

    complete: dict[str, Cell]
    left_out: dict[str, str]
    pending: dict[int, str]
    failed: dict[int, str]


class Data:
    """The stored values of one claim: its cells, selected by sweep coordinates, and their runs.

    Args:
        cells: all cells of the task.
        where: axis -> value or list of values, from the claim.
        runs: looks a run up.
    """

    def __init__(self, cells: Iterable[Cell], where: Mapping[str, Any], runs: Lookup) -> None:
        self._cells = [cell for cell in cells if _matches(cell.coords, where)]
        self._runs = runs
        self.used: dict[tuple[int, int], Run] = {}
        self._unfinished: set[int] = set()

    @property
    def finished(self) -> int:
        """Seeds of which every run asked for ended with status ok."""
        return len({seed for _, seed in self.used} - self._unfinished)

    def cell(self, where: Mapping[str, Any] | None = None) -> Cell:
        """The one cell at these further coordinates.

        Raises:
            ValueError: there is none, or more than one.
        """
        found = [cell for cell in self._cells if _matches(cell.coords, where or {})]
        if len(found) != 1:
            raise ValueError(f"its `where` selects {len(found)} cells; expected one")
        return found[0]

    def along(self, axis: str) -> list[tuple[float, Cell]]:
        """One cell per value of the axis; a value that is no number is replaced by its position in the sweep.

        Raises:
            ValueError: the axis is not swept, or a value has more than one cell.
        """
        if len(self._cells) < 2 or any(axis not in cell.coords for cell in self._cells):
            raise ValueError(f"its `where` selects {len(self._cells)} cells along {axis}; expected at least two")
        values = [cell.coords[axis] for cell in self._cells]
        if len({repr(value) for value in values}) != len(values):
            raise ValueError(f"its `where` selects more than one cell for a value of {axis}")
        if all(is_number(value) for value in values):
            return [(float(value), cell) for value, cell in zip(values, self._cells, strict=True)]  # pyright: ignore
        return [(float(position), cell) for position, cell in enumerate(self._cells)]

    def estimate(self, cells: Sequence[Cell], metric: str, combine: Callable[[list[float]], float]) -> Sample:
        """Per seed: `combine` of the metric in the cells; a seed that lacks a value is left out.

        So is one whose values `combine` cannot use: it raises ValueError with the reason.
        """
        return self.estimate_of([(cell, metric) for cell in cells], combine)

    def estimate_of(self, readings: Sequence[tuple[Cell, str]], combine: Callable[[list[float]], float]) -> Sample:
        """As `estimate`, for one metric of each cell."""
        estimates: dict[int, float] = {}
        left_out: dict[int, str] = {}
        for seed in sorted({seed for cell, _ in readings for seed in cell.seeds}):
            values = [self._value(cell, seed, metric) for cell, metric in readings]
            problems = [value for value in values if isinstance(value, str)]
            if problems:
                left_out[seed] = next((problem for problem in problems if problem in PENDING), problems[0])
                continue
            try:
                estimates[seed] = combine([value for value in values if not isinstance(value, str)])
            except ValueError as error:
                left_out[seed] = str(error)
        return Sample(estimates, left_out)

    def methods(self, *metrics: str) -> Methods:
        """The methods of an arena with a value of every metric on every scoring seed, and the others."""
        scored = {cell.method["name"]: cell for cell in self._cells if cell.role == "score"}
        tuned: dict[str, list[Cell]] = {}
        for cell in self._cells:
            if cell.role == "tune":
                tuned.setdefault(cell.method["name"], []).append(cell)
        complete: dict[str, Cell] = {}
        left_out: dict[str, str] = {}
        pending: dict[int, str] = {}
        failed: dict[int, str] = {}
        for name, grid in tuned.items():
            if name in scored:
                cell = scored[name]
                found = [self._value(cell, seed, metric) for seed in cell.seeds for metric in metrics]
                why = next((value for value in found if isinstance(value, str) and _of_dynamics(value)), "")
            else:
                ended = {seed: self._ended(cell, seed) for cell in grid for seed in cell.seeds}
                waiting = {seed: reason for seed, reason in ended.items() if reason in PENDING}
                pending |= waiting
                broken = {} if waiting else self._broken(grid)
                failed |= broken
                why = "" if waiting or broken else "no stable point"
            if why:
                left_out[name] = why
            elif name in scored:
                complete[name] = scored[name]
        return Methods(complete, left_out, pending, failed)

    def _broken(self, grid: Sequence[Cell]) -> dict[int, str]:
        """Why runs did not end at points of a grid that no other run speaks against: it diverged, or died."""
        broken: dict[int, str] = {}
        for cell in grid:
            runs = {seed: run for seed in cell.seeds if (run := self._runs(cell, seed)) is not None}
            if not any(run.outcome in ("divergent", "dead") for run in runs.values()):
                broken |= {seed: run.status.replace("_", " ") for seed, run in runs.items() if run.status != "ok"}
        return broken

    def _ended(self, cell: Cell, seed: int) -> str:
        run = self._runs(cell, seed)
        return "not run" if run is None else run.status

    def run(self, cell: Cell, seed: int) -> Run | str:
        """The finished run, or why there is none."""
        run = self._runs(cell, seed)
        if run is None:
            self._unfinished.add(seed)
            return "not run"
        self.used[id(cell), seed] = run
        if run.status != "ok":
            self._unfinished.add(seed)
            return run.status.replace("_", " ")
        return run

    def _value(self, cell: Cell, seed: int, metric: str) -> float | str:
        """The metric, or why it does not count."""
        run = self.run(cell, seed)
        return run if isinstance(run, str) else value_of(run, metric)


def value_of(run: Run, metric: str) -> float | str:
    """The metric of a finished run, or why it does not count: a divergent one measured it at an arbitrary cut-off."""
    # the last trial of a bisection may diverge: its value is where that starts
    outcome = None if run.cell.get("bisect") is not None else run.outcome
    if outcome == "divergent":
        return outcome
    value = run.scalars.get(metric)
    if value is None or not math.isfinite(value):
        return "dead" if outcome == "dead" else f"no {metric}"
    return uncertified(run, metric) or value


def _of_dynamics(reason: str) -> bool:
    """Whether a value is lacking because of what training did: it diverged, died, or gave no number."""
    return reason in ("divergent", "dead") or reason.startswith("no ")


def _matches(coords: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    return all(axis in coords and _accepts(wanted, coords[axis]) for axis, wanted in where.items())


def _accepts(wanted: Any, value: Any) -> bool:
    return wanted == value or isinstance(wanted, (list, tuple)) and value in wanted
