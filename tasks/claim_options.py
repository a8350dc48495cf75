"""What each kind of claim declares: the metric, where it is taken, and the accepted region."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from .options import Options, Real, refuse

OutcomeName = Literal["monotone", "catapult", "dead", "divergent", "unconverged"]
Scalar = Annotated[str | int | float | bool | None, Field(union_mode="smart")]
LEAST_SEEDS = 3
"""With fewer seeds nothing is decided."""
Band = Annotated[list[Real], Field(min_length=2, max_length=2)]


class Region(Options):
    """An accepted region; exactly one of the three."""

    such_as: ClassVar[str] = "at_most: 0.1"

    at_least: Real | None = None
    """Accepted: this value and above."""
    at_most: Real | None = None
    """Accepted: this value and below."""
    within: Band | None = None
    """Accepted: from the first to the second value."""

    @model_validator(mode="after")
    def _one_region(self) -> Region:
        given = [name for name in ("at_least", "at_most", "within") if getattr(self, name) is not None]
        if len(given) != 1:
            got = f"got {' and '.join(given)}" if given else "got none"
            hint = "remove one" if given else f"write one, such as {self.such_as}"
            raise refuse(f"give exactly one of at_least, at_most and within; {got}", given[1] if given else "", hint)
        if self.within is not None and not self.within[0] < self.within[1]:
            low, high = self.within
            raise refuse(f"within must rise from low to high, got [{low:g}, {high:g}]", "within", "swap the two")
        return self


class Exponent(Region):
    """Slope of log metric over log of a sweep axis, by least squares per seed."""

    such_as: ClassVar[str] = "at_most: -0.35"

    metric: str
    """Label of the metric."""
    along: str
    """Sweep axis."""


class Threshold(Region):
    """A metric of one cell."""

    metric: str
    """Label of the metric."""
    scale: Literal["linear", "log"] = "linear"
    """Scale on which seeds are averaged."""


class Monotone(Options):
    """Kendall's tau between a metric and a sweep axis, per seed."""

    metric: str
    """Label of the metric."""
    along: str
    """Sweep axis."""
    direction: Literal["increasing", "decreasing"]
    """Which way the metric goes as the axis grows."""
    at_least: Annotated[float, Field(gt=0, le=1)]
    """Smallest tau that counts."""


class Contrast(Region):
    """The first cell minus (or over) the second, paired by seed."""

    metric: str
    """Label of the metric."""
    between: Annotated[list[dict[str, Scalar]], Field(min_length=2, max_length=2)]
    """Coordinates of the two cells."""

    as_: Annotated[Literal["difference", "ratio"], Field(alias="as")]
    """How the two are compared."""


class OutcomeShare(Options):
    """Share of seeds that end in one of the outcomes."""

    is_: Annotated[list[OutcomeName], Field(alias="is", min_length=1, max_length=5)]
    """The outcomes that count."""
    at_least: Annotated[float, Field(gt=0, le=1)]
    """Smallest share of seeds."""


class Boundary(Region):
    """A phase boundary found by bisection."""

    such_as: ClassVar[str] = "within: [1.9, 2.1]"

    metric: str = "boundary"
    """Label under which the boundary is stored."""


class RankCorrelation(Region):
    """Spearman's rho between two metrics over the methods of an arena, at their tuned rates, per scoring seed."""

    such_as: ClassVar[str] = "at_most: -0.5"

    metric: str
    """Label of the metric."""
    against: str
    """Label of the metric that it is ranked against."""
    methods_at_least: Annotated[int, Field(ge=4, le=1000)] = 10
    """Fewest methods; those that diverged or gave no value on a seed are named and left out."""

    @model_validator(mode="after")
    def _two_metrics(self) -> RankCorrelation:
        if self.metric == self.against:
            raise refuse(f"'{self.metric}' is ranked against itself", "against", "name another metric")
        return self
