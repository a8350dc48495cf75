"""Phase diagrams: the outcome of training over the learning rate, and boundaries found by bisection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..tasks.spec import Cell
from ..tasks.sweep import is_number
from .chart_data import centre, groups_without, values
from .charts import OTHER, Axis, Block, Edge, Phase, PhaseRow, axis_words, coordinate_words
from .records import OUTCOMES, Lookup, Run

RATE = "method.learning_rate"
LEAST_RATES = 3
"""Fewer rates than this make a diagram only where a claim is about outcomes."""


def phases(cells: Sequence[Cell], runs: Lookup, *, about_outcomes: bool) -> Iterator[Phase]:
    """The diagrams of a task.

    Args:
        cells: its cells.
        runs: looks a run up.
        about_outcomes: a claim of it is about outcomes, so that two rates are enough.
    """
    swept = [cell for cell in cells if cell.bisect is None]
    for along in dict.fromkeys(axis for cell in swept for axis in cell.coords if axis.startswith(RATE)):
        numeric = [cell for cell in swept if is_number(cell.coords.get(along))]
        if len({cell.coords[along] for cell in numeric}) >= (2 if about_outcomes else LEAST_RATES):
            groups = groups_without(numeric, along).items()
            rows = [_swept_row(coordinate_words(key) or "all", group, along, runs) for key, group in groups]
            caption = (
                "Colours: how runs ended, as shares of seeds, at each rate that was run; bar: from the highest rate at "
                "which every seed is monotone to the lowest at which none is."
            )
            yield from _diagram("phase", along, rows, caption, _has_second(numeric))
    searched = [cell for cell in cells if cell.bisect is not None]
    for along in dict.fromkeys(cell.bisect["along"] for cell in searched if cell.bisect):
        group = [cell for cell in searched if cell.bisect and cell.bisect["along"] == along]
        rows = [_searched_row(name, found, runs) for name, found in _by_setting(group).items()]
        caption = "Lines: boundaries found by bisection, mean over seeds, with the 95% interval in numbers."
        yield from _diagram("boundary", along, rows, caption, _has_second(group))


def _has_second(cells: Sequence[Cell]) -> bool:
    """Whether a rate is the sum of multiples of two critical rates: then 1 is neither."""
    return any((cell.method.get("learning_rate") or {}).get("second_critical") for cell in cells)


def _diagram(name: str, along: str, rows: Sequence[PhaseRow | None], caption: str, sums: bool) -> Iterator[Phase]:
    found = tuple(row for row in rows if row is not None)
    critical = 1.0 if along.endswith(".critical") and not sums else None
    if critical:
        caption += " Dashed: 1 is 2/λmax, the critical rate of gradient descent at initialisation."
    if found:
        words = axis_words(along)
        title = f"Outcome over the {words.split(' / ')[0]}"
        yield Phase(name, title, caption, Axis(words), found, critical)


def _swept_row(name: str, group: Sequence[Cell], along: str, runs: Lookup) -> PhaseRow | None:
    pairs = [(cell.coords[along], _ended(cell, runs)) for cell in sorted(group, key=lambda cell: cell.coords[along])]
    ended = [(x, found) for x, found in pairs if found]
    if not ended:
        return None
    xs = [x for x, _ in ended]
    middles = [(a + b) / 2 for a, b in zip(xs, xs[1:], strict=False)]
    lefts = [2 * xs[0] - middles[0] if middles else 0.9 * xs[0], *middles]
    rights = [*middles, 2 * xs[-1] - middles[-1] if middles else 1.1 * xs[-1]]
    blocks: list[Block] = []
    for (x, found), left, right in zip(ended, lefts, rights, strict=True):
        bottom = 0.0
        for outcome in OUTCOMES:
            count = sum(run.outcome == outcome for run in found)
            if count:
                top = bottom + count / len(found)
                blocks.append(Block(left, right, bottom, top, outcome, x, count))
                bottom = top
    return PhaseRow(name, tuple(blocks), tuple(_bracket(ended)))


def _ended(cell: Cell, runs: Lookup) -> list[Run]:
    found = (runs(cell, seed) for seed in cell.seeds)
    return [run for run in found if run is not None and run.status == "ok" and run.outcome is not None]


def _bracket(ended: Sequence[tuple[float, list[Run]]]) -> Iterator[Edge]:
    """Between which rates of the grid the outcome stops being monotone, whatever the seed."""
    counts = [(x, sum(run.outcome == "monotone" for run in found), len(found)) for x, found in ended]
    below = [x for x, monotone, seeds in counts if monotone == seeds]
    above = [x for x, monotone, _ in counts if monotone == 0]
    if below and above and max(below) < min(above):
        low, high = max(below), min(above)
        yield Edge((low + high) / 2, low, high, "stops being monotone between these rates")


def _by_setting(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Searches by their setting: cells that differ only in what is searched for stand in one row."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        name = coordinate_words({axis: value for axis, value in cell.coords.items() if axis != "bisect"})
        found.setdefault(name or "all", []).append(cell)
    return found


def _searched_row(name: str, cells: Sequence[Cell], runs: Lookup) -> PhaseRow | None:
    searches = sorted(((cell, cell.bisect) for cell in cells if cell.bisect), key=lambda pair: len(pair[1]["leaves"]))
    left = min(search["between"][0] for _, search in searches)
    right = max(search["between"][1] for _, search in searches)
    blocks: list[Block] = []
    edges: list[Edge] = []
    below: set[str] = set()
    for cell, search in searches:
        label = next((m.get("label", m["name"]) for m in cell.metrics if m["name"] == "boundary"), "boundary")
        found = values(cell, label, runs)
        if not found:
            continue
        new = [outcome for outcome in search["leaves"] if outcome not in below]
        below |= set(new)
        edge = centre(0.0, list(found.values()))
        edges.append(Edge(edge.y, edge.low, edge.high, f"leaves {' and '.join(search['leaves'])}"))
        if edge.y > left and new:
            blocks.append(Block(left, edge.y, 0.0, 1.0, new[-1]))
            left = edge.y
    return PhaseRow(name, (*blocks, Block(left, right, 0.0, 1.0, OTHER)), tuple(edges)) if edges else None
