"""Which charts a task gets: decided by the kinds of its claims and by its metrics, never by its name.

An exponent gets log-log axes with its fit; a metric that a claim of another kind asks for is drawn along the sweep;
outcomes over the learning rate, and boundaries, become a phase diagram; AGOP alignment stands against the test loss
where both were measured; what was recorded over steps becomes curves. All from stored runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from ..tasks.spec import Cell
from ..tasks.sweep import is_number
from .chart_curves import curves
from .chart_data import Arrays, centre, definition, groups_without, longest_axis, metric_axis, metric_names, values
from .chart_phase import phases
from .charts import (
    AnyChart,
    Axis,
    Chart,
    Point,
    Series,
    axis_words,
    coordinate_words,
    places,
    readable,
    sentence,
    spans,
)
from .claim_data import Data
from .records import Lookup
from .verdicts import Verdict
from .words import interval

MOST_SERIES = 8
ALIGNMENT, TEST_LOSS = "agop_alignment", "test_loss"


class Asked(NamedTuple):
    """A claim or control with the kind and the options that it is judged by, and its verdict."""

    claim: Any
    kind: str
    options: Mapping[str, Any]
    verdict: Verdict


def charts(
    task: Any,
    cells: Sequence[Cell],
    runs: Lookup,
    arrays: Arrays,
    verdicts: Sequence[Verdict],
    scored: Sequence[Cell] = (),
) -> list[AnyChart]:
    """The charts of a task; one that no run has a number for is left out.

    Args:
        task: a `tasks.load.Task`.
        cells: its resolved cells.
        runs: looks a run up.
        arrays: the curves of a run.
        verdicts: of its claims.
        scored: the scoring cells of an arena.

    Returns:
        Scaling charts, phase diagrams, trends, alignment, then curves.
    """
    ordinary = [cell for cell in cells if cell.role == "claim"]
    asked = [_asked(task, verdict) for verdict in verdicts]
    kinds = {item.kind for item in asked}
    return [
        *_scaling(ordinary, runs, asked),
        *phases(ordinary, runs, about_outcomes="outcome" in kinds),
        *_trends(ordinary, runs, asked),
        *_scatters([*ordinary, *scored], runs, asked),
        *curves(ordinary, runs, arrays),
        *curves(list(scored), runs, arrays),
    ]


def _asked(task: Any, verdict: Verdict) -> Asked:
    by_id = {claim.id: claim for claim in task.claims}
    claim = by_id[verdict.claim]
    origin = by_id[claim.control] if claim.control else claim
    options = {**origin.options, "metric": claim.metric} if claim.metric else origin.options
    return Asked(claim, origin.kind, options, verdict)


def _scaling(cells: Sequence[Cell], runs: Lookup, asked: Sequence[Asked]) -> Iterator[Chart]:
    exponents = [item for item in asked if item.kind == "exponent"]
    for metric, along in dict.fromkeys((item.options["metric"], item.options["along"]) for item in exponents):
        series: dict[str, Series] = {}
        for item in exponents:
            if (item.options["metric"], item.options["along"]) == (metric, along):
                found = _fitted(cells, runs, item)
                if found is not None:
                    series.setdefault(_where(item), found)  # two claims may be about the same cells
        if series:
            yield Chart(
                kind="scaling",
                name=f"scaling {metric} {axis_words(along)}",
                title=f"{sentence(readable(metric))} against {axis_words(along).partition(' / ')[0]}",
                caption="Log-log. Dots: seeds; bars: geometric mean with its 95% interval; lines: mean of the "
                "least-squares fits of the seeds; shaded: 95% interval of the exponent. " + definition(cells, metric),
                x=Axis(axis_words(along), True),
                y=metric_axis(cells, metric, True),
                series=tuple(series.values()),
            )


def _where(item: Asked) -> str:
    along = item.options.get("along")
    return coordinate_words({axis: value for axis, value in item.claim.where.items() if axis != along})


def _fitted(cells: Sequence[Cell], runs: Lookup, item: Asked) -> Series | None:
    """Seeds, means and the power law of one claim; None where no cell has a positive value."""
    try:
        swept = Data(cells, item.claim.where, runs).along(item.options["along"])
    except ValueError:
        return None
    found = [(x, values(cell, item.options["metric"], runs)) for x, cell in swept if x > 0]
    columns = [(x, {seed: y for seed, y in column.items() if y > 0}) for x, column in found]
    columns = [(x, column) for x, column in columns if column]
    if not columns:
        return None
    verdict = item.verdict
    exponent = "" if verdict.value is None else f"exponent {interval(verdict.value, verdict.low, verdict.high)}, "
    complete = set.intersection(*(set(column) for _, column in columns))  # the seeds that were fitted
    line, fan = (), ()
    if verdict.value is not None and complete:
        log_x = [math.log(x) for x, _ in columns]
        log_y = [math.log(column[seed]) for _, column in columns for seed in sorted(complete)]
        middle = sum(log_x) / len(log_x), sum(log_y) / len(log_y)
        xs = [x for x, _ in columns]
        line = tuple(Point(x, _power(x, middle, verdict.value)) for x in xs)
        if verdict.low is not None and verdict.high is not None:
            ends = [[_power(x, middle, slope) for slope in (verdict.low, verdict.high)] for x in xs]
            fan = tuple((x, min(pair), max(pair)) for x, pair in zip(xs, ends, strict=True))
    return Series(
        name=": ".join(filter(None, (_where(item), exponent + verdict.verdict))),
        points=tuple(Point(x, y, seed) for x, column in columns for seed, y in column.items()),
        centre=tuple(centre(x, list(column.values()), log=True) for x, column in columns),
        line=line,
        fan=fan,
    )


def _power(x: float, middle: tuple[float, float], slope: float) -> float:
    return math.exp(middle[1] + slope * (math.log(x) - middle[0]))


def _trends(cells: Sequence[Cell], runs: Lookup, asked: Sequence[Asked]) -> Iterator[Chart]:
    """A chart per metric and axis that claims ask for; where they name no axis, along the longest numeric one.

    The metric of an exponent has its chart already.
    """
    drawn = {item.options["metric"] for item in asked if item.kind == "exponent"}
    wanted: dict[tuple[str, str | None], None] = {}
    for item in sorted(asked, key=lambda item: item.options.get("along") is None):
        metric, along = item.options.get("metric"), item.options.get("along")
        if (
            item.kind in ("exponent", "boundary", "rank_correlation")
            or metric is None
            or (along is None and metric in drawn)
        ):
            continue
        drawn.add(metric)
        wanted[metric, along] = None
    for metric, along in wanted:
        shown = [cell for cell in cells if cell.bisect is None and values(cell, metric, runs)]
        if shown:
            yield _trend(shown, runs, metric, along or longest_axis(shown))


def _trend(cells: Sequence[Cell], runs: Lookup, metric: str, along: str | None) -> Chart:
    names: tuple[str, ...] = ()
    if along is None:
        names = tuple(coordinate_words(cell.coords) or "all" for cell in cells)
    elif not all(is_number(cell.coords.get(along)) for cell in cells):
        names = tuple(dict.fromkeys(str(cell.coords.get(along)) for cell in cells))

    def place(cell: Cell, position: int) -> float:
        if along is None:
            return float(position)
        return float(names.index(str(cell.coords.get(along))) if names else cell.coords[along])

    groups = groups_without(cells, along) if along else {(): list(cells)}
    columns = {
        key: [(place(cell, k), values(cell, metric, runs)) for k, cell in enumerate(group)]
        for key, group in groups.items()
    }
    log = spans([y for group in columns.values() for _, column in group for y in column.values()], 30)
    ordered = len(groups) > 1 and all(is_number(value) for key in groups for _, value in key)
    shown = list(columns.items())[:MOST_SERIES]
    series = []
    for (key, group), step in zip(shown, places(len(shown)), strict=True):
        middle = tuple(centre(x, list(column.values()), log) for x, column in group)
        series.append(
            Series(
                name=coordinate_words(key),
                points=tuple(Point(x, y, seed) for x, column in group for seed, y in column.items()),
                centre=middle,
                line=() if names else tuple(Point(c.x, c.y) for c in middle),
                place=step if ordered else None,
            )
        )
    rest = "" if len(columns) <= MOST_SERIES else f" The first {MOST_SERIES} of {len(columns)} settings are shown."
    against = axis_words(along) if along else "setting"
    xs = [x for group in columns.values() for x, _ in group]
    return Chart(
        kind="trend",
        name=f"trend {metric} {against}",
        title=f"{sentence(readable(metric))} against {against.partition(' / ')[0]}",
        caption=f"Dots: seeds; bars: {'geometric ' if log else ''}mean with its 95% interval; runs that diverged have "
        f"no value.{rest} {definition(cells, metric)}",
        x=Axis("" if along is None else against, not names and spans(xs, 8), names),
        y=metric_axis(cells, metric, log),
        series=tuple(series),
    )


def _scatters(cells: Sequence[Cell], runs: Lookup, asked: Sequence[Asked]) -> Iterator[Chart]:
    """Two metrics against each other, a colour per setting or method.

    AGOP alignment and test loss wherever both were measured, and what a rank correlation asks for.
    """
    names = metric_names(cells)
    usual = {
        name: label for label, name in reversed(names.items()) if name in (ALIGNMENT, TEST_LOSS)
    }  # the first label
    ranked = {(i.options["metric"], i.options["against"]): i.verdict for i in asked if i.kind == "rank_correlation"}
    pairs = {(usual[TEST_LOSS], usual[ALIGNMENT]): None} if len(usual) == 2 else {}
    turned = {pair[::-1] if pair[::-1] in pairs else pair: verdict for pair, verdict in ranked.items()}
    for (metric, against), verdict in {**pairs, **turned}.items():
        found: dict[str, list[Point]] = {}
        for cell in cells:
            ys, xs = (values(cell, label, runs) for label in (metric, against))
            name = cell.method["name"] if cell.role == "score" else coordinate_words(cell.coords)
            found.setdefault(name, []).extend(Point(x, ys[seed], seed) for seed, x in xs.items() if seed in ys)
        series = tuple(Series(name, points=tuple(points)) for name, points in found.items() if points)
        if series:
            ys = [point.y for point in chain.from_iterable(s.points for s in series)]
            caption = "A dot per seed. "
            if verdict is not None and verdict.value is not None:
                rho = interval(verdict.value, verdict.low, verdict.high)
                caption += f"Spearman's rho over methods, per seed: {rho}; {verdict.verdict}. "
            yield Chart(
                kind="scatter",
                name="alignment" if (metric, against) in pairs else f"scatter {metric} {against}",
                title=f"{sentence(readable(metric))} against {readable(against)}",
                caption=caption + definition(cells, against),
                x=metric_axis(cells, against, False),
                y=metric_axis(cells, metric, spans(ys, 8)),
                series=series,
            )
