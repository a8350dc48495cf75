"""The rows of a comparison, and how one is judged once it is known how many others there are."""

from __future__ import annotations

import statistics as stdlib_statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .changes import Margin, Shift, judge, shift, unlike
from .output import cell_name
from .records import Run

REGRESSIONS = ("worse", "changed", "slower")
"""Verdicts that end with exit code 3."""


@dataclass(frozen=True)
class Row:
    """One thing compared.

    `kind`: board (a method's score in an arena), metric, outcome, status, streams, speed or cell (one that cannot be
    compared). `before`, `after`: medians over seeds; texts for outcomes and statuses; for speed, times of one cell and
    seed (`noise.time_ratio`). `change` with its interval `low`, `high`: relative to the size before, None where it is
    unbounded. `margin`: the relative change that does not matter, with what the amount `negligible` adds to it.
    `floor`: the half-width that this machine's noise alone gives an interval, where it was measured. `identical`: the
    same seeds gave the same numbers. `verdict`: equivalent, better, worse, changed (of what is neither good nor bad),
    undecided, faster, slower, missing or incomparable.
    """

    kind: str
    task: str
    cell: str
    metric: str
    verdict: str
    unit: str = ""
    direction: str = ""
    before: float | str | None = None
    after: float | str | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    negligible: float | None = None
    floor: float | None = None
    seeds_before: int = 0
    seeds_after: int = 0
    paired: bool = True
    identical: bool = False
    rank_before: str = ""
    rank_after: str = ""
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """A row with what its verdict waits for, if it does: a shift against a margin, or the probability of chance."""

    row: Row
    shift: Shift | None = None
    margin: Margin = Margin(1.0)
    chance: float | None = None
    lost: bool = False

    @property
    def may_err(self) -> bool:
        """Whether chance can make it; equal numbers from equal seeds are no chance."""
        return self.chance is not None or (self.shift is not None and not self.shift.identical)

    def settled(self, level: float) -> Row:
        """The row as an interval of this coverage decides it."""
        if self.chance is not None and self.chance > 1 - level:
            return replace(self.row, verdict="undecided")
        if self.shift is None:
            return self.row
        row, found = self.row, self.shift
        verdict = judge(found, self.margin, row.direction, level)
        if self.lost and verdict in ("equivalent", "better"):
            verdict = "undecided"  # what the seeds that are left say; those that lost their value do not
        notes = [row.note]
        margin = self.margin.share * found.scale
        if row.floor is not None and row.floor > margin:
            notes.append("the margin is below the noise")
        low, high = (found.share(end) for end in found.interval(level))
        change = found.share(found.value)
        return replace(
            row,
            verdict=verdict,
            change=change,
            margin=margin,
            low=low,
            high=high,
            identical=found.identical,
            note="; ".join(filter(None, notes)),
        )


@dataclass(frozen=True)
class Pair:
    """A cell as both sides ran it, runs by seed; `paired` says whether equal seeds mean equal draws."""

    before: Mapping[int, Run]
    after: Mapping[int, Run]
    paired: bool = True

    @property
    def first(self) -> Run:
        """Any of its runs, for what they all share."""
        return next(iter(self.before.values()))

    @property
    def sides(self) -> tuple[Mapping[int, Run], Mapping[int, Run]]:
        """The runs that are compared: of the common seeds, or all."""
        if not self.paired:
            return self.before, self.after
        return {seed: self.before[seed] for seed in self.common}, {seed: self.after[seed] for seed in self.common}

    @property
    def common(self) -> list[int]:
        """Seeds that both sides ran."""
        return sorted(self.before.keys() & self.after.keys())

    def row(self, kind: str, metric: str, verdict: str, **rest: Any) -> Row:
        """A row about this cell."""
        a, b = self.sides
        known = {"seeds_before": len(a), "seeds_after": len(b), "paired": self.paired, "cell": cell_name(self.first)}
        return Row(kind, self.first.task, metric=metric, verdict=verdict, **{**known, **rest})


def moved(row: Row, a: Mapping[int, float], b: Mapping[int, float], entry: Any, runs: tuple[int, int]) -> Finding:
    """The finding about a metric with these values.

    Args:
        row: what is compared; `paired` says how.
        a, b: seed -> value, for the seeds that have one; not both empty.
        entry: the metric's entry in the registry.
        runs: how many seeds were run on both sides.
    """
    margin = Margin(entry.margin, entry.negligible)
    row = replace(
        row,
        unit=entry.unit,
        direction=entry.direction,
        before=_median(a),
        after=_median(b),
        margin=margin.share,
        negligible=margin.negligible,
        seeds_before=len(a),
        seeds_after=len(b),
    )
    found = shift(a, b, margin, paired=row.paired)
    if a and b:
        lost = len(b) * runs[0] < len(a) * runs[1]
        return Finding(replace(row, verdict="undecided"), found, margin, lost=lost)
    if entry.direction == "none":
        row = replace(row, verdict="changed")
    else:
        row = replace(row, verdict="better" if b else "worse")
    return Finding(row, chance=unlike(runs[0] - len(a), runs[0], runs[1] - len(b), runs[1]))


def tally(words: Iterable[str]) -> str:
    """`6 monotone, 2 divergent`, in alphabetical order."""
    return ", ".join(f"{n} {word.replace('_', ' ')}" for word, n in sorted(Counter(words).items()))


def _median(values: Mapping[int, float]) -> float | None:
    return stdlib_statistics.median(values.values()) if values else None
