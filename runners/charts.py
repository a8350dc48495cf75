"""Charts as data: what is drawn, in which words, and the numbers behind it; `figures` draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

OTHER = "other"
"""Stands in a phase diagram for whatever lies beyond the last boundary that was searched."""


@dataclass(frozen=True)
class Axis:
    """An axis: its label, whether it is logarithmic, and the names of its places 0, 1, … where it has no numbers."""

    label: str
    log: bool = False
    names: tuple[str, ...] = ()


class Point(NamedTuple):
    """One value; `seed` is None where the seeds are joined."""

    x: float
    y: float
    seed: int | None = None


class Centre(NamedTuple):
    """A centre over seeds with its 95% interval; an end that is None is unbounded."""

    x: float
    y: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class Series:
    """What one colour and one entry of the legend stand for.

    `points`: single seeds. `centre`: their mean or median at each x. `line`: a fit or a curve. `fan`: lower and upper
    end of the fit's interval at each x. `guide`: a height that is dashed in the series' colour. `place`: 0 to 1 where
    the series are ordered, as widths are.
    """

    name: str
    points: tuple[Point, ...] = ()
    centre: tuple[Centre, ...] = ()
    line: tuple[Point, ...] = ()
    fan: tuple[tuple[float, float, float], ...] = ()
    guide: float | None = None
    place: float | None = None


@dataclass(frozen=True)
class Chart:
    """Series over one pair of axes.

    `kind`: scaling (log-log with fitted exponents), trend (a metric along a sweep), curves (over the steps of a run) or
    scatter. `caption` says in words what is shown. `limits`: of y.
    """

    kind: str
    name: str
    title: str
    caption: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    limits: tuple[float | None, float | None] = (None, None)

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """The numbers drawn: columns, and rows; `part` is seed, centre or line."""
        columns = ["series", "part", "x", "y", "low", "high", "seed"]
        rows: list[list[Any]] = []
        for series in self.series:
            rows += [[series.name, "seed", self._x(p.x), p.y, None, None, p.seed] for p in series.points]
            rows += [[series.name, "centre", self._x(c.x), c.y, c.low, c.high, None] for c in series.centre]
            rows += [[series.name, "line", self._x(p.x), p.y, None, None, p.seed] for p in series.line]
        return columns, rows

    def _x(self, x: float) -> float | str:
        return self.x.names[int(x)] if self.x.names else x


class Block(NamedTuple):
    """A rectangle of a phase diagram: from `left` to `right` of the axis, and from `bottom` to `top` of its row.

    `x` is the value that was run, None between two boundaries; `seeds` of it ended with this outcome.
    """

    left: float
    right: float
    bottom: float
    top: float
    outcome: str
    x: float | None = None
    seeds: int | None = None


class Edge(NamedTuple):
    """A boundary between outcomes with its interval, and what it is in words."""

    x: float
    low: float | None
    high: float | None
    name: str


@dataclass(frozen=True)
class PhaseRow:
    """One setting of everything but the rate."""

    name: str
    blocks: tuple[Block, ...]
    edges: tuple[Edge, ...] = ()


@dataclass(frozen=True)
class Phase:
    """A phase diagram: the outcome of training over the learning rate, a row per setting."""

    name: str
    title: str
    caption: str
    x: Axis
    rows: tuple[PhaseRow, ...]
    critical: float | None = None
    kind: str = "phase"

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """The numbers drawn: shares of outcomes at each rate, and boundaries."""
        columns = ["row", "part", "x", "outcome", "seeds", "low", "high"]
        rows: list[list[Any]] = []
        for row in self.rows:
            rows += [[row.name, "outcome", b.x, b.outcome, b.seeds, None, None] for b in row.blocks if b.x is not None]
            rows += [[row.name, "boundary", edge.x, edge.name, None, edge.low, edge.high] for edge in row.edges]
        return columns, rows


AnyChart = Chart | Phase


ABBREVIATIONS = {word.lower(): word for word in ("AGOP", "PL", "SGD")}


def readable(name: str) -> str:
    """A label of a task file as it is read: `kernel_change` is kernel change, `agop_alignment` AGOP alignment."""
    return " ".join(ABBREVIATIONS.get(word, word) for word in name.split("_"))


def sentence(words: str) -> str:
    """Words with a capital at the start."""
    return words[:1].upper() + words[1:]


def axis_words(axis: str) -> str:
    """A sweep axis as it is read: `model.width` is width, `method.learning_rate.critical` names its unit."""
    if axis == "method.learning_rate.critical":
        return "learning rate / critical rate"
    if axis == "method.learning_rate.second_critical":
        return "learning rate / second critical rate"
    if axis.startswith("method.learning_rate"):
        return "learning rate"
    return readable(axis.rpartition(".")[2])


def value_words(axis: str, value: Any) -> str:
    """A coordinate as it is read: labels as they are, numbers with what they are."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if axis == "method.learning_rate.critical":
        return f"{value:g} critical"
    if axis == "method.learning_rate.second_critical":
        return f"{value:g} second critical"
    if axis.startswith("method.learning_rate"):
        return f"rate {value:g}"
    return f"{readable(axis.rpartition('.')[2])} {value:g}"


def coordinate_words(coords: dict[str, Any] | Sequence[tuple[str, Any]]) -> str:
    """Coordinates as they are read; empty for none."""
    pairs = coords.items() if isinstance(coords, dict) else coords
    return ", ".join(value_words(axis, value) for axis, value in pairs)


def spans(values: Sequence[float], factor: float) -> bool:
    """Whether positive values span more than a factor, so that a logarithmic axis shows more of them."""
    return bool(values) and min(values) > 0 and max(values) >= factor * min(values)


def places(count: int) -> list[float]:
    """Evenly spaced places on an ordered scale."""
    return [k / max(count - 1, 1) for k in range(count)]
