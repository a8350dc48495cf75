"""What charts are made from: the values of cells by seed, their centres, and which axis is drawn along."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..tasks import registry
from ..tasks.entry import MetricEntry
from ..tasks.spec import Cell
from ..tasks.sweep import is_number
from . import records, statistics
from .charts import Axis, Centre, readable, sentence
from .claim_data import Data
from .records import Lookup, Run

Key = tuple[tuple[str, Any], ...]
"""Coordinates of a group of cells."""

Arrays = Callable[[Run], Mapping[str, Any]]
"""A run -> its stored arrays."""


def values(cell: records.Cell, label: str, runs: Lookup) -> dict[int, float]:
    """The metric of one cell by seed, as claims count it: a run that diverged has none."""
    return Data([cell], {}, runs).estimate([cell], label, lambda found: found[0]).estimates


def metric_names(cells: Iterable[Cell]) -> dict[str, str]:
    """The metric behind every label that the cells measure."""
    return {metric.get("label", metric["name"]): metric["name"] for cell in cells for metric in cell.metrics}


def metric_entry(cells: Iterable[Cell], label: str) -> MetricEntry | None:
    """The registry's entry of the metric with this label; None where it is not registered."""
    return registry.table("metric").get(metric_names(cells).get(label, label))


def metric_axis(cells: Iterable[Cell], label: str, log: bool) -> Axis:
    """The axis of a metric, with its unit."""
    entry = metric_entry(cells, label)
    unit = "" if entry is None or entry.unit == "1" else f" [{entry.unit.replace('^2', '²')}]"
    return Axis(readable(label) + unit, log)


def definition(cells: Iterable[Cell], label: str) -> str:
    """`kernel change: max over records …`; empty for a metric without one."""
    entry = metric_entry(cells, label)
    return f"{sentence(readable(label))}: {entry.definition}." if entry is not None and entry.definition else ""


def centre(x: float, sample: Sequence[float], log: bool = False) -> Centre:
    """Mean with Student's t interval at x; with ``log`` the geometric mean, of positive values."""
    mean, low, high = statistics.t_interval([math.log(value) for value in sample] if log else sample)
    ends = [end if math.isfinite(end) and (not log or end < 700) else None for end in (low, high)]
    if log:
        ends = [None if end is None else math.exp(end) for end in ends]
    return Centre(x, math.exp(mean) if log else mean, ends[0], ends[1], len(sample))


def numeric_axes(cells: Sequence[Cell]) -> dict[str, int]:
    """Sweep axes whose coordinates are numbers in every cell, with the number of their values."""
    axes = dict.fromkeys(axis for cell in cells for axis in cell.coords)
    return {
        axis: len({cell.coords[axis] for cell in cells})
        for axis in axes
        if all(is_number(cell.coords.get(axis)) for cell in cells)
    }


def longest_axis(cells: Sequence[Cell]) -> str | None:
    """The numeric sweep axis with most values, the first among equals; None where none has two."""
    counts = numeric_axes(cells)
    best = max(counts, key=lambda axis: counts[axis], default=None)
    return best if best is not None and counts[best] > 1 else None


def groups_without(cells: Iterable[Cell], axis: str | None) -> dict[Key, list[Cell]]:
    """Cells by their coordinates on all axes but one, in the order of the sweep."""
    groups: dict[Key, list[Cell]] = {}
    for cell in cells:
        key = tuple((name, value) for name, value in cell.coords.items() if name != axis)
        groups.setdefault(key, []).append(cell)
    return groups
