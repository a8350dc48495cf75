"""Accepted regions, and where the control of an exponent must lie; without numpy, so that `show` can name them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .statistics import Interval

WEAK_SLOPE = -0.35
"""The edge between a quantity that shrinks along a sweep and one that stays: a log-log slope above it is a weak one."""


class Region(NamedTuple):
    """Accepted values, ends included; ±inf where there is no end."""

    low: float
    high: float

    def __str__(self) -> str:
        if math.isinf(self.low):
            return f"≤ {self.high:g}"
        return f"≥ {self.low:g}" if math.isinf(self.high) else f"[{self.low:g}, {self.high:g}]"

    def judge(self, interval: Interval) -> str:
        """holds, fails or undecided."""
        if interval.low >= self.low and interval.high <= self.high:
            return "holds"
        return "fails" if interval.high < self.low or interval.low > self.high else "undecided"


class Rejection(NamedTuple):
    """Where the whole interval of an exponent's control must lie: above one slope, or below one; the other is None."""

    above: float | None
    below: float | None

    @classmethod
    def of(cls, region: Region) -> Rejection:
        """The rejection that goes with a claim's region.

        Decay (the region is negative) is rejected by a weak or no dependence, above both `WEAK_SLOPE` and the region;
        staying (the region contains 0) by decay, below both; growth (it is positive) by anything below the region; a
        region that has no lower end by what lies above it. A steeper decay, or growth of what should stay, does not
        show that the factor the control changes matters.
        """
        if region.high < 0 or math.isinf(region.low):
            return cls(max(region.high, WEAK_SLOPE), None)
        return cls(None, min(region.low, WEAK_SLOPE) if region.low <= 0 else region.low)

    def __str__(self) -> str:
        return f"rejected > {self.above:g}" if self.above is not None else f"rejected < {self.below:g}"

    def rejects(self, interval: Interval) -> bool:
        """Whether the whole interval lies there."""
        if self.above is not None:
            return interval.low > self.above
        return self.below is not None and interval.high < self.below


def region_of(options: Mapping[str, Any]) -> Region:
    """The region that a claim's options declare."""
    if options.get("within") is not None:
        return Region(*options["within"])
    if options.get("at_least") is not None:
        return Region(options["at_least"], math.inf)
    return Region(-math.inf, options["at_most"])
