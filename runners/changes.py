"""How far a number moved between two sets of runs, with what certainty, and whether that matters.

A metric moves by a factor or by a difference. Where all its values are positive, the shift is the mean difference of
log(x + c): bad and good seeds may span decades, and a factor common to all of them is found at once. Otherwise it is
the mean difference over the mean size |x| + c. Here c = negligible / margin, so that in both cases a shift is within
the margin where it is at most margin · size + negligible (`MetricEntry`).

Seeds are paired where the same seed means the same draw (Student's t), else the two samples are compared by their
distributions (Welch 1947, Biometrika 34).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

FAMILY_ERROR = 0.01
"""Probability that any row of a comparison without a change is called better, worse or changed."""

LEAST_CONSTANT = 3
"""Seeds that must move alike for a move without spread: two of a metric that counts often do."""


@dataclass(frozen=True)
class Margin:
    """What a metric may move by without anyone caring: `share` of its size, and `negligible` in its own unit."""

    share: float
    negligible: float = 0.0

    @property
    def offset(self) -> float:
        """The size that is added to every value."""
        return self.negligible / self.share


@dataclass(frozen=True)
class Shift:
    """An estimated move, on the scale of logarithms (`ratio`) or of the mean size.

    `error` is its standard error and `freedom` the degrees of freedom of that; `count` the number of differences, or
    the smaller of the two samples. `scale` turns shares of size + c into shares of the size itself.
    """

    value: float
    error: float
    freedom: float
    ratio: bool
    paired: bool
    count: int
    scale: float = 1.0

    @property
    def identical(self) -> bool:
        """The same seeds gave the same numbers."""
        return self.paired and self.value == 0 and self.error == 0

    def interval(self, level: float) -> tuple[float, float]:
        """Low and high end; infinite where the seeds are too few to say."""
        if self.identical:
            return 0.0, 0.0
        if self.count < 2 or (self.error == 0 and self.count < LEAST_CONSTANT):
            return -math.inf, math.inf
        if self.error == 0 and not self.paired and 2 * 0.25**self.count > 1 - level:
            # two constant samples of a law with two values: by chance in up to 2 / 4^n of all comparisons
            return -math.inf, math.inf
        half = float(stdtrit(self.freedom, 0.5 + level / 2)) * self.error if self.error else 0.0
        return self.value - half, self.value + half

    def share(self, value: float) -> float | None:
        """A point of this scale as a change relative to the size before; None where it is unbounded."""
        if not -math.inf < value < 700:  # whose exponential would still be a number
            return None
        return (math.expm1(value) if self.ratio else value) * self.scale


def shift(before: Mapping[int, float], after: Mapping[int, float], margin: Margin, *, paired: bool) -> Shift | None:
    """The move from one set of seeds to another; None where there is nothing to compare.

    Args:
        before, after: seed -> finite value.
        margin: of the metric.
        paired: whether equal seeds mean equal draws; only they are then compared.
    """
    if paired:
        seeds = sorted(before.keys() & after.keys())
        a, b = (np.array([side[seed] for seed in seeds]) for side in (before, after))
    else:
        a, b = (np.array([side[seed] for seed in sorted(side)]) for side in (before, after))
    if a.size == 0 or b.size == 0:
        return None
    ratio = bool(min(a.min(), b.min()) + margin.offset > 0 and min(a.min(), b.min()) >= 0)
    if ratio:
        u, v = np.log(a + margin.offset), np.log(b + margin.offset)
        size = float(np.exp(u.mean()))
    else:
        size = float(np.abs(a).mean() or np.abs(b).mean()) + margin.offset
        u, v = (a / size, b / size) if size else (a, b)
    own = size - margin.offset
    scale = size / own if own > 1e-12 * size else 1.0
    if paired:
        moved = np.where(a == b, 0.0, v - u)
        error = moved.std(ddof=1) / math.sqrt(moved.size) if moved.size > 1 else 0.0
        return Shift(float(moved.mean()), _clean(error, moved), moved.size - 1.0, ratio, True, moved.size, scale)
    first, second = _squared_error(u), _squared_error(v)
    total = first + second
    freedom = float(u.size + v.size - 2)
    if total > 0 and min(u.size, v.size) > 1:
        freedom = total**2 / (first**2 / (u.size - 1) + second**2 / (v.size - 1))
    return Shift(float(v.mean() - u.mean()), math.sqrt(total), freedom, ratio, False, min(u.size, v.size), scale)


def judge(found: Shift, margin: Margin, direction: str, level: float) -> str:
    """equivalent, better, worse, changed (of a metric that is neither good nor bad) or undecided.

    Args:
        found: the shift.
        margin: of the metric.
        direction: lower | higher (is better) | none.
        level: coverage of the interval that decides.
    """
    bound = math.log1p(margin.share) if found.ratio else margin.share
    low, high = found.interval(level)
    if -bound <= low and high <= bound:
        return "equivalent"
    if low <= bound and high >= -bound:
        return "undecided"
    if direction == "none":
        return "changed"
    return "better" if (low > 0) == (direction == "higher") else "worse"


def family_level(rows: int) -> float:
    """Coverage of each of some intervals with which all of them hold at once (Bonferroni) but in 1% of comparisons."""
    return 1 - FAMILY_ERROR / max(rows, 1)


def unrelated(before: Mapping[int, float], after: Mapping[int, float]) -> bool:
    """Whether equal seeds no longer give related numbers: var(a − b) is more than a quarter of var(a) + var(b).

    It is 0 for equal numbers and 1 for independent ones. Numbers that do not vary say nothing. Of one or two seeds,
    which have no spread to speak of, one must differ by a hundredth.
    """
    seeds = sorted(before.keys() & after.keys())
    a, b = (np.array([side[seed] for seed in seeds]) for side in (before, after))
    if a.size < 3:
        return bool((np.abs(a - b) > 0.01 * np.abs(a)).any())
    spread = a.var() + b.var()
    # rounding alone: relative spreads of 1e-4 are no draw
    if math.sqrt(spread) <= 1e-4 * np.abs(np.concatenate([a, b])).max():
        return False
    return bool((a - b).var() > 0.25 * spread)


def unlike(bad_before: int, before: int, bad_after: int, after: int) -> float:
    """Two-sided probability of counts this different if both sides follow one law (Fisher's exact test)."""
    total, bad = before + after, bad_before + bad_after

    def weight(k: int) -> int:
        return math.comb(before, k) * math.comb(after, bad - k)

    observed = weight(bad_before)
    support = range(max(0, bad - after), min(bad, before) + 1)
    return sum(weight(k) for k in support if weight(k) <= observed) / math.comb(total, bad)


def _squared_error(values: np.ndarray) -> float:
    return 0.0 if values.size < 2 or np.ptp(values) == 0 else float(values.var(ddof=1) / values.size)


def _clean(error: float, moved: np.ndarray) -> float:
    return 0.0 if np.ptp(moved) == 0 else float(error)
