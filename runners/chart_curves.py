"""Curves over the steps of stored runs: the loss and its parts, λmax with its critical line, other recorded metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..tasks import registry
from ..tasks.spec import Cell
from ..tasks.sweep import is_number
from .chart_data import Arrays, definition, groups_without, longest_axis, metric_axis, metric_names
from .charts import Axis, Chart, Point, Series, coordinate_words, places, readable, sentence, spans
from .records import Lookup, Run

CURVATURE = {"sharpness": 1, "tangent_kernel_norm": 1, "kernel_critical_rate": -1}
"""Metrics that follow λmax of the loss Hessian, or of its kernel part, and whether as itself or as its inverse."""

PARTS = ("top_loss", "bulk_loss")
"""Metrics that split the training loss; they are drawn together with it."""

MOST_CHARTS = 9
MOST_CURVES = 12
BINS = 60
"""Columns in which a curve keeps its lowest and its highest point: no spike is lost."""

LONG = 100
"""Steps from which on the axis is logarithmic, for what matters happens early."""


class Curve(NamedTuple):
    """One recorded quantity of one run."""

    label: str
    metric: str
    run: Run
    cell: Cell
    steps: np.ndarray
    values: np.ndarray


def curves(cells: Sequence[Cell], runs: Lookup, arrays: Arrays) -> Iterator[Chart]:
    """One chart per recorded quantity and setting; the longest sweep axis gives its curves, a seed each.

    The parts of the loss get a chart per cell. Bisections have none: the curves stored with them are those of the last
    trial. After `MOST_CHARTS` it stops.
    """
    cells = [cell for cell in cells if cell.bisect is None]
    along = longest_axis([cell for cell in cells if cell.role == "claim"])  # methods of an arena lie on no axis
    groups = groups_without(cells, along) if along else {(): cells}
    recorded = {key: list(_recorded(group, runs, arrays)) for key, group in groups.items()}
    found: list[Chart] = []
    for curves_of in recorded.values():
        for own in _by_cell(curves_of):
            if any(curve.metric in PARTS for curve in own):
                found += _chart([curve for curve in own if curve.metric in ("loss", *PARTS)], _name(own[0].cell), None)
    whole = {key: [curve for curve in group if curve.metric not in PARTS] for key, group in recorded.items()}
    labels = dict.fromkeys(curve.label for group in whole.values() for curve in group)
    for label in sorted(labels, key=lambda label: label != "loss"):
        for key, group in whole.items():
            alone = label == "loss" and len(recorded[key]) > len(group) and len(_by_cell(group)) == 1
            if not alone:  # else it stands beside its parts already
                found += _chart([curve for curve in group if curve.label == label], coordinate_words(key), along)
    yield from found[:MOST_CHARTS]


def _by_cell(found: Sequence[Curve]) -> list[list[Curve]]:
    """Curves that belong to one run, together."""
    cells = {id(curve.cell): curve.cell for curve in found}
    return [[curve for curve in found if curve.cell is cell] for cell in cells.values()]


def _recorded(cells: Sequence[Cell], runs: Lookup, arrays: Arrays) -> Iterator[Curve]:
    """The loss and every scheduled metric of the lowest seed of each cell."""
    names = {"loss": "loss", **metric_names(cells)}
    for cell in cells[:MOST_CURVES]:
        run = _first(cell, runs)
        stored = {} if run is None else arrays(run)
        labels = ["loss", *(m.get("label", m["name"]) for m in cell.metrics if m.get("at") == "schedule")]
        for label in labels:
            steps = stored.get("loss_steps" if label == "loss" else "record_steps")
            if run is not None and steps is not None and label in stored and len(stored[label]) == len(steps) > 1:
                yield Curve(label, names[label], run, cell, steps, stored[label])


def _first(cell: Cell, runs: Lookup) -> Run | None:
    """The finished run with the lowest seed."""
    found = (runs(cell, seed) for seed in sorted(cell.seeds))
    return next((run for run in found if run is not None and run.status == "ok"), None)


def _name(cell: Cell) -> str:
    return cell.method["name"] if cell.role == "score" else coordinate_words(cell.coords)


def _chart(found: Sequence[Curve], setting: str, along: str | None) -> Iterator[Chart]:
    """The curves of one quantity, or those of one cell; nothing where no point is finite."""
    if not found:
        return
    cells = [curve.cell for curve in found]
    label, metric = found[0].label, found[0].metric
    curvature = CURVATURE.get(metric)
    ordered = along is not None and all(is_number(curve.cell.coords.get(along)) for curve in found)
    by_work = found[0].cell.role == "score"  # methods are compared at equal work
    log_x = not by_work and max(float(curve.steps[-1]) for curve in found) > LONG
    parts = len(found) > 1 and len(_by_cell(found)) == 1
    series: list[Series] = []
    for curve, place in zip(found, places(len(found)), strict=True):
        x, y = curve.steps.astype(float), np.asarray(curve.values, float)
        if curvature:
            y = (y / y[0]) ** curvature if y[0] else np.full_like(y, np.nan)
        if by_work:
            x = x * curve.run.work / max(curve.run.steps, 1)
        series.append(
            Series(
                name=_curve_name(curve, along, parts),
                line=tuple(Point(a, b, curve.run.seed) for a, b in thinned(x + log_x, y, log_x)),
                guide=_critical(curve) if curvature else None,
                place=place if ordered else None,
            )
        )
    drawn = [(curve, one) for curve, one in zip(found, series, strict=True) if one.line]
    if not drawn:
        return
    shown = [point.y for _, one in drawn for point in one.line]
    log = spans(shown, 2 if label == "loss" else 100)
    quantity = "training loss" if label == "loss" else "λmax / its start" if curvature else readable(label)
    start = f"Seed {found[0].run.seed}{'' if parts else ' of each'}, {_x_words(by_work, log_x)}."
    defined = [definition(cells, name) for name in dict.fromkeys(curve.label for curve in found)]
    yield Chart(
        kind="curves",
        name=f"curves {'parts of the ' if parts else ''}{label} {setting}",
        title=_title(quantity, setting, parts),
        caption=" ".join(filter(None, (start, _guide_words(series, metric), *defined))),
        x=Axis("per-example gradient evaluations" if by_work else "step + 1" if log_x else "step", log_x),
        y=Axis(quantity if label == "loss" or curvature else metric_axis(cells, label, log).label, log),
        series=tuple(one for _, one in drawn),
        limits=_limits(drawn, log),
    )


def _title(quantity: str, setting: str, parts: bool) -> str:
    title = quantity if quantity.startswith("λ") else sentence(quantity)
    return title + (" and its parts" if parts else "") + (f": {setting}" if setting else "")


def _curve_name(curve: Curve, along: str | None, parts: bool) -> str:
    if parts:
        return "training loss" if curve.label == "loss" else readable(curve.label)
    name = _name(curve.cell) if along is None else coordinate_words({along: curve.cell.coords[along]})
    return name if curve.run.outcome in (None, "monotone") else f"{name} ({curve.run.outcome})"


def _x_words(by_work: bool, log_x: bool) -> str:
    if by_work:
        return "against work, at which methods are compared"
    return "steps on a logarithmic axis" if log_x else "against steps"


def _guide_words(series: Sequence[Series], metric: str) -> str:
    if all(one.guide is None for one in series):
        return ""
    source = "" if metric == "sharpness" else ", taking the curvature at initialisation for the kernel's"
    return f"Dashed, in the colour of its curve: 2/η, where λmax is critical{source}."


def _critical(curve: Curve) -> float | None:
    """Height of 2/η in units of λmax at the start; None where the rate moves, or is not a multiple of that alone."""
    method = curve.cell.method
    rate = method.get("learning_rate")
    entry = registry.table("method").get(method["name"])
    if not isinstance(rate, Mapping) or method.get("schedule") or entry is None or entry.resets_rate:
        return None
    if rate.get("critical") and not rate.get("second_critical"):
        return 1 / float(rate["critical"])
    return None


def _limits(drawn: Sequence[tuple[Curve, Series]], log: bool) -> tuple[float | None, float | None]:
    """Of y: what a diverged run reaches must not flatten the others, and rounding need not be resolved."""
    shown = [point.y for _, one in drawn for point in one.line]
    starts = [one.line[0].y for _, one in drawn]
    calm = [point.y for curve, one in drawn if curve.run.outcome != "divergent" for point in one.line]
    low, high = min(calm or starts), max(calm or starts)
    if log:
        top = (3 if calm else 1e4) * high
        return max(0.6 * min(shown), 1e-14 * max(starts)), (top if top < max(shown) else None)
    room = (high - low) / 2 or abs(high)
    return (low - room if min(shown) < low - room else None), (high + room if max(shown) > high + room else None)


def thinned(x: np.ndarray, y: np.ndarray, log: bool) -> list[tuple[float, float]]:
    """At most two finite points, the lowest and the highest, in each of `BINS` columns, rounded to five digits.

    Args:
        x: rising [points].
        y: [points]; what is not finite is left out.
        log: the columns are even on a logarithmic axis.
    """
    kept = np.isfinite(y)
    x, y = x[kept], y[kept]
    if x.size > 2 * BINS:
        scale = np.log(x) if log else x
        columns = np.minimum(((scale - scale[0]) / (scale[-1] - scale[0]) * BINS).astype(int), BINS - 1)
        chosen = {0, x.size - 1}
        starts = np.flatnonzero(np.r_[True, np.diff(columns) > 0]).tolist()
        for start, end in zip(starts, [*starts[1:], x.size], strict=True):
            chosen |= {start + int(np.argmin(y[start:end])), start + int(np.argmax(y[start:end]))}
        order = np.array(sorted(chosen))
        x, y = x[order], y[order]
    return [(_rounded(a), _rounded(b)) for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def _rounded(value: float) -> float:
    return float(f"{value:.5g}") if math.isfinite(value) else value
