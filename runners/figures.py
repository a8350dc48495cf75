"""Charts drawn with matplotlib, and written as PNG, SVG and PDF; the same chart gives the same bytes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .charts import AnyChart, Chart, Phase, Series
from .figure_style import (
    DISTINCT,
    INK,
    ORDERED,
    OUTCOMES,
    PAPER,
    SOFT,
    STYLE,
    label_width,
    log_ticks,
    power_of_ten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")

MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
FILLS: tuple[Any, ...] = ("full", "none", "left")
SIZES = {"o": 1.0, "s": 0.95, "D": 0.9, "P": 1.2, "X": 1.2, "*": 1.5}
"""Of markers that look as large as a circle; triangles are between."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)))

WIDTH = 3.9  # inches: of a column, and small enough for a phone
_LEFT, _RIGHT = 0.72, 0.1
_PLOT = 2.0  # height of the axes


def draw(chart: AnyChart, source: str) -> Figure:
    """A figure of one chart that belongs to no window.

    Args:
        chart: what to draw.
        source: where its numbers come from, written small below it.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        return _phase(chart, source) if isinstance(chart, Phase) else _axes(chart, source)


def save(chart: AnyChart, source: str, folder: Path, stem: str) -> list[Path]:
    """Writes the chart as PNG, SVG and PDF (`save_figure`)."""
    return save_figure(draw(chart, source), chart.title, source, folder, stem)


def save_figure(figure: Figure, title: str, source: str, folder: Path, stem: str) -> list[Path]:
    """Writes a figure as PNG, SVG and PDF with title and provenance in their metadata; returns the files.

    Raises:
        OSError: a file cannot be written.
    """
    import matplotlib

    written = []
    with matplotlib.rc_context({**STYLE, "svg.fonttype": "path"}):
        for suffix in FORMATS:
            path = folder / f"{stem}.{suffix}"
            figure.savefig(path, dpi=300, metadata=_metadata(suffix, title, source), facecolor="white")
            written.append(path)
    return written


def _metadata(suffix: str, title: str, source: str) -> dict[str, Any]:
    if suffix == "png":
        return {"Title": title, "Description": source, "Software": None}
    if suffix == "pdf":
        return {"Title": title, "Subject": source, "Creator": None, "Producer": None, "CreationDate": None}
    return {"Title": title, "Description": source, "Date": None, "Creator": None}


# -- axes -------------------------------------------------------------------------------------------------------------


class _Sheet:
    """A figure of fixed margins: title, axes, legend below them and provenance, all in inches from the top."""

    def __init__(self, title: str, source: str, plot: float, legend: float, bottom: float, left: float = _LEFT):
        from matplotlib.figure import Figure

        titles, sources = textwrap.wrap(title, 52), textwrap.wrap(source, 104)
        top = 0.1 + 0.15 * len(titles)
        foot = 0.07 + 0.09 * len(sources)
        self.height = top + 0.06 + plot + bottom + legend + foot
        self.legend_top = 1 - (top + 0.06 + plot + bottom) / self.height
        self.figure = Figure(figsize=(WIDTH, self.height))
        box = (left / WIDTH, 1 - (top + 0.06 + plot) / self.height, 1 - (left + _RIGHT) / WIDTH, plot / self.height)
        self.ax: Axes = self.figure.add_axes(box)
        head = {"ha": "left", "va": "top", "weight": "bold", "fontsize": 8.5, "linespacing": 1.15}
        self.figure.text(0.08 / WIDTH, 1 - 0.06 / self.height, "\n".join(titles), **head)
        small = {"ha": "left", "va": "bottom", "fontsize": 5, "color": SOFT[0], "linespacing": 1.2}
        self.figure.text(0.08 / WIDTH, 0.04 / self.height, "\n".join(sources), **small)

    def legend(self, handles: Sequence[Any], labels: Sequence[str], columns: int) -> None:
        self.figure.legend(
            handles, labels, loc="upper left", bbox_to_anchor=(0.05 / WIDTH, self.legend_top), ncols=columns,
            frameon=False, fontsize=7, handlelength=1.8, borderpad=0.1, labelspacing=0.25, columnspacing=1.2,
            handletextpad=0.5,
        )  # fmt: skip


def _axes(chart: Chart, source: str) -> Figure:
    labels = ["\n".join(textwrap.wrap(series.name, 62)) for series in chart.series]
    shown = any(labels)
    widest = max(map(len, labels), default=0)
    columns = 1 if widest > 26 else 2 if widest > 15 else 3
    lines = [label.count("\n") + 1 for label in labels]
    rows = sum(lines) if columns == 1 else -(-len(labels) // columns)
    bottom = 0.37 if chart.x.label else 0.24
    slanted = chart.x.names and max(map(len, chart.x.names)) * len(chart.x.names) > 50
    sheet = _Sheet(chart.title, source, _PLOT, 0.155 * rows + 0.08 if shown else 0.0, bottom + (0.45 if slanted else 0))
    # before anything is drawn: a change of scale makes all ticks anew
    if chart.x.log:
        sheet.ax.set_xscale("log")
    if chart.y.log:
        sheet.ax.set_yscale("log")
    handles = [_series(sheet.ax, chart, series, k) for k, series in enumerate(chart.series)]
    sheet.ax.autoscale_view()
    _label(sheet.ax, chart, bool(slanted))
    if shown:
        sheet.legend(handles, labels, columns)
    return sheet.figure


def _colour(series: Series, position: int) -> str:
    if series.place is not None:
        return ORDERED[round(series.place * (len(ORDERED) - 1))][0]
    return DISTINCT[position % len(DISTINCT)][0]


def _marker(position: int, size: float) -> dict[str, Any]:
    """The marker of a series by its place: filled shapes, then open ones, then half filled.

    Where colours come again the shape is another, so that neither colour nor filling has to be told apart alone.
    """
    again = position // len(MARKERS)
    shape = MARKERS[(position + 3 * again) % len(MARKERS)]
    fill = FILLS[again % len(FILLS)]
    edge = 0.0 if fill == "full" else 0.9
    return {
        "marker": shape, "markersize": size * SIZES.get(shape, 1.1), "fillstyle": fill, "markeredgewidth": edge,
        "markerfacecoloralt": "none",
    }  # fmt: skip


def _series(ax: Axes, chart: Chart, series: Series, position: int) -> Any:
    """Draws one series and returns its handle for the legend."""
    from matplotlib.lines import Line2D

    colour = _colour(series, position)
    dash = DASHES[position // len(DISTINCT) % len(DASHES)]
    curves = chart.kind == "curves"
    place = ax.transData if curves or chart.kind == "scatter" else _beside(ax, chart, position)
    if series.guide is not None:
        ax.axhline(series.guide, color=colour, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    if series.fan:
        xs, low, high = zip(*series.fan, strict=True)
        ax.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0, zorder=1)
    handle = None
    if series.line:
        xs, ys = [p.x for p in series.line], [p.y for p in series.line]
        style = {"linewidth": 1.0 if curves else 1.3, "linestyle": dash, "zorder": 2, "transform": place}
        (handle,) = ax.plot(xs, ys, color=colour, **style)
    if series.points:
        ax.update_datalim([(p.x, p.y) for p in series.points])
        xs, ys = [p.x for p in series.points], [p.y for p in series.points]
        seen = chart.kind == "scatter"
        look = _marker(position, 4) if seen else {"marker": "o", "markersize": 2.2, "markeredgewidth": 0}
        dots = {"alpha": 0.85 if seen else 0.45, "linestyle": "none", "zorder": 2.5, **look}
        (handle_dots,) = ax.plot(xs, ys, color=colour, transform=place, **dots)
        handle = handle or handle_dots
    if series.centre:
        xs, ys = [c.x for c in series.centre], [c.y for c in series.centre]
        ends = [[c.y if end is None else end for end in (c.low, c.high)] for c in series.centre]
        low, high = zip(*ends, strict=True)
        ax.vlines(xs, low, high, color=colour, linewidth=1.6, capstyle="round", zorder=3, transform=place)
        look = _marker(position, 4.2)
        if look["fillstyle"] == "full":
            look |= {"markeredgecolor": PAPER[0], "markeredgewidth": 0.5}
        ax.plot(xs, ys, color=colour, transform=place, linestyle="none", zorder=4, **look)
        ax.update_datalim([(x, y) for x, pair in zip(xs, ends, strict=True) for y in pair])  # moved marks set no limits
        line = dash if series.line else "none"
        handle = Line2D([], [], color=colour, linestyle=line, **_marker(position, 4))
    return handle or Line2D([], [], color=colour)


def _beside(ax: Axes, chart: Chart, position: int) -> Any:
    """Moves one of several series sideways by a few points, so that their intervals at one place are seen."""
    from matplotlib.transforms import ScaledTranslation

    many, step = len(chart.series), 12 if chart.x.names else 3
    shift = (position - (many - 1) / 2) * min(step, 24 / many)
    return ax.transData + ScaledTranslation(shift / 72, 0, ax.figure.dpi_scale_trans)


def _label(ax: Axes, chart: Chart, slanted: bool) -> None:
    """Labels, limits and few ticks."""
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel(chart.x.label)
    ax.set_ylabel("\n".join(textwrap.wrap(chart.y.label, 32)))
    low, high = chart.limits
    ax.set_ylim(bottom=low, top=high)
    if chart.x.names:
        names = [textwrap.shorten(name, 24, placeholder="…") for name in chart.x.names]
        turned = {"rotation": 20, "ha": "right"} if slanted else {}
        ax.set_xticks(range(len(names)), names, **turned)
        ax.set_xlim(-0.5, len(names) - 0.5)
    elif chart.x.log:
        _few(ax.xaxis, ax.get_xlim(), sorted({c.x for s in chart.series for c in s.centre}))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(6))
    if chart.y.log:
        _few(ax.yaxis, ax.get_ylim(), [])
    else:
        ax.yaxis.set_major_locator(MaxNLocator(5))


def _few(axis: Any, limits: tuple[float, float], swept: Sequence[float]) -> None:
    """Few ticks on a logarithmic axis, at the swept values where they are few."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    size = STYLE["xtick.labelsize"]
    if axis.axis_name == "x":
        length, extent = 72 * (WIDTH - _LEFT - _RIGHT), label_width(size)
    else:
        length, extent = 72 * _PLOT, lambda text: size
    axis.set_major_locator(FixedLocator(log_ticks(limits, length, size, extent, swept)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axis.set_minor_locator(NullLocator())  # dozens of marks without numbers take as long as all the rest


# -- phase diagrams ---------------------------------------------------------------------------------------------------


def _phase(phase: Phase, source: str) -> Figure:
    from matplotlib.patches import Patch, Rectangle

    from .words import interval

    names = ["\n".join(textwrap.wrap(row.name, 17)) for row in phase.rows]
    shown = [name for name in OUTCOMES if any(b.outcome == name for row in phase.rows for b in row.blocks)]
    plot = max(0.8, 0.36 * len(phase.rows))
    sheet = _Sheet(phase.title, source, plot, 0.155 * -(-len(shown) // 3) + 0.08, 0.36, left=1.05)
    ax = sheet.ax
    searched = any(block.x is None for row in phase.rows for block in row.blocks)
    texts: list[list[str]] = [[] for _ in phase.rows]
    for k, row in enumerate(phase.rows):
        for block in row.blocks:
            bottom, height = k + 0.38 - 0.76 * block.top, 0.76 * (block.top - block.bottom)
            (colour, _), _ = OUTCOMES[block.outcome]
            box = Rectangle((block.left, bottom), block.right - block.left, height)
            box.set(facecolor=colour, edgecolor=PAPER[0], linewidth=0.6)
            ax.add_patch(box)
        for edge in row.edges:
            if searched:
                ax.plot([edge.x] * 2, [k - 0.38, k + 0.38], color=INK[0], linewidth=1.4)
                text = interval(edge.x, edge.low, edge.high)
                if text not in texts[k]:  # two boundaries may coincide
                    ax.text(edge.x, k, f" {text}", fontsize=6, va="center", ha="left", color=INK[0], clip_on=True)
                texts[k].append(text)
            elif edge.low is not None and edge.high is not None:
                ax.plot([edge.low, edge.high], [k - 0.43] * 2, color=INK[0], linewidth=2, solid_capstyle="butt")
    ends = [end for row in phase.rows for block in row.blocks for end in (block.left, block.right)]
    ax.set_xlim(min(ends), max(ends))
    ax.set_ylim(len(phase.rows) - 0.5, -0.55)
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel(phase.x.label)
    rates = sorted({block.x for row in phase.rows for block in row.blocks if block.x is not None})
    if 1 < len(rates) <= 8:
        ax.set_xticks(rates, [f"{rate:g}" for rate in rates])
    if phase.critical is not None and min(ends) < phase.critical < max(ends):
        ax.axvline(phase.critical, color=INK[0], linewidth=0.8, linestyle=(0, (4, 3)))
    ax.spines["left"].set_visible(False)
    ax.grid(False)
    ax.tick_params(axis="y", length=0, labelcolor=INK[0])
    handles = [Patch(facecolor=OUTCOMES[name][0][0]) for name in shown]
    sheet.legend(handles, [OUTCOMES[name][1] for name in shown], 3)
    return sheet.figure
