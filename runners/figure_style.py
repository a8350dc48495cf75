"""Colours, fonts and ticks of figures; every colour exists for white and for dark paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .charts import OTHER

# (on white, on dark). Okabe and Ito's colours, told apart with every kind of colour vision; the dark ones are lighter
INK = ("#222222", "#e8e8e8")
SOFT = ("#666666", "#a8a8a8")
GRID = ("#e2e2e2", "#33383f")
EDGE = ("#999999", "#666c75")
PAPER = ("#ffffff", "#16191d")
DISTINCT = (
    ("#0072b2", "#56b4e9"),
    ("#d55e00", "#ff8a3d"),
    ("#009e73", "#2fd0a5"),
    ("#cc79a7", "#e5a0c6"),
    ("#b07d00", "#f0c419"),
    ("#6f4aa8", "#b79aeb"),
    ("#555555", "#bbbbbb"),
    ("#8c2d04", "#e08e6b"),
)
# seven steps of viridis without its palest end, and on dark without its darkest
ORDERED = (
    ("#440154", "#7a5fd0"),
    ("#443a83", "#5f7ddb"),
    ("#31688e", "#4f9fd0"),
    ("#21908c", "#3fbcb0"),
    ("#35b779", "#5fd38a"),
    ("#7fb71f", "#a8de4f"),
    ("#c4a800", "#fde725"),
)
# near those above, but no two alike: a colour on white names its variable
OUTCOMES = {
    "monotone": (("#57b4e9", "#2a6f9e"), "monotone"),
    "catapult": (("#e69f00", "#a86f00"), "catapult"),
    "unconverged": (("#cb79a7", "#8f4a73"), "unconverged"),
    "dead": (("#bdbdbd", "#5f6368"), "dead"),
    "divergent": (("#d45e00", "#a84300"), "divergent"),
    OTHER: (("#f0f0f0", "#24282e"), "beyond"),
}
MOST_TICKS = 7  # of a logarithmic axis
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.edgecolor": EDGE[0],
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelsize": 8,
    "axes.labelpad": 2,
    "grid.color": GRID[0],
    "grid.linewidth": 0.6,
    "axes.labelcolor": INK[0],
    "text.color": INK[0],
    "text.parse_math": False,  # a title with dollars is no formula
    "xtick.color": EDGE[0],
    "ytick.color": EDGE[0],
    "xtick.labelcolor": SOFT[0],
    "ytick.labelcolor": SOFT[0],
    "xtick.major.size": 2.5,
    "xtick.major.width": 0.7,
    "xtick.major.pad": 2,
    "ytick.major.size": 2.5,
    "ytick.major.width": 0.7,
    "ytick.major.pad": 2,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "axes.unicode_minus": True,
    "lines.linewidth": 1.3,
    "svg.hashsalt": "tangentbench",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "path.simplify": False,
}


def palette() -> list[tuple[str, str, str]]:
    """CSS variable, colour on white and colour on dark, for every colour that `inline_svg` writes."""
    pairs = [INK, SOFT, GRID, EDGE, PAPER, *DISTINCT, *ORDERED, *(pair for pair, _ in OUTCOMES.values())]
    return [(f"--f{k}", *pair) for k, pair in enumerate(dict.fromkeys(pairs))]


def power_of_ten(value: float) -> str:
    """A tick of a logarithmic axis: 0.01, 5, 200, 30k, 10⁻⁵."""
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    digits = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{digits}" if float(mantissa) == 1 else f"{float(mantissa):g}·10{digits}"


def log_ticks(
    limits: tuple[float, float], length: float, size: float, extent: Callable[[str], float], swept: Sequence[float] = ()
) -> list[float]:
    """Ticks of a logarithmic axis whose labels (`power_of_ten`) do not touch: swept values where they are few, else
    1, 2, 5 of each decade, else powers of ten.

    Args:
        limits: of the axis, both positive.
        length: of the axis, in points.
        size: of the font, in points: the least gap between labels is half of it.
        extent: of a label along the axis, in points.
        swept: values that runs have.
    """
    from matplotlib.ticker import LogLocator

    low, high = sorted(limits)
    per_point = math.log(high / low) / length
    swept = [tick for tick in swept if low <= tick <= high]

    def room(a: float, b: float) -> bool:
        half = (extent(power_of_ten(a)) + extent(power_of_ten(b)) + size) / 2
        return math.log(b / a) >= half * per_point

    def roomy(ticks: Sequence[float]) -> list[float]:
        kept: list[float] = []
        for tick in sorted(ticks):
            if not kept or room(kept[-1], tick):
                kept.append(tick)
        return kept

    if 1 < len(swept) <= MOST_TICKS:
        return roomy(swept)
    found: list[float] = []
    for subs in ((1.0, 2.0, 5.0), (1.0,)):
        # short of two ticks it gives those of a linear axis, and none where it would leave decades out of 1, 2, 5
        ticks = LogLocator(subs=subs, numticks=MOST_TICKS).tick_values(low, high)
        found = [float(tick) for tick in ticks if low <= tick <= high]
        if found and len(roomy(found)) == len(found):
            break
    return roomy(found)


def label_width(size: float) -> Callable[[str], float]:
    """The width of a label, in points, as its characters are on average."""
    return lambda text: 0.63 * size * len(text)
