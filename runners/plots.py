"""The two boards as one figure: methods with their intervals, claims against their acceptance regions."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arenas import Arena, Row
from .figure_style import label_width, log_ticks, power_of_ten
from .papers import heading
from .verdicts import Verdict
from .words import interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with every kind of colour vision; each verdict has its own marker besides
COLOURS = {
    "holds": "#0072B2",
    "rejected": "#56B4E9",
    "undecided": "#999999",
    "fails": "#D55E00",
    "not rejected": "#E69F00",
    "not run": "#cccccc",
}
MARKERS = {"holds": "o", "rejected": "D", "undecided": "s", "fails": "X", "not rejected": "P", "not run": "."}
AXIS_POINTS = 240.0  # of an arena's axis, at least
ARENA_LINES = 4.0  # title, axis and its label, in lines of text
REACH = 2.0  # widths of the acceptance region shown on either side of it
INK, FAINT = "#222222", "#dddddd"
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#888888",
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": "#555555",
    "ytick.color": INK,
    "svg.hashsalt": "tangentbench",
    "svg.fonttype": "path",
}


def boards_figure(arenas: Sequence[Arena], verdicts: Sequence[Verdict]) -> Figure:
    """Left: per arena the methods, best first, with median and 95% interval. Right: every claim against its region.

    Scores stand on a logarithmic axis where all are positive and they span more than a factor of ten. A claim's
    interval is shifted and scaled so that its region is the shaded band: a two-sided region spans 0 to 1; a one-sided
    one starts at 0, is drawn with the accepted side to the right, and its unit is the far end of the interval.

    Args:
        arenas, verdicts: either may be empty, then its side is left out.

    Returns:
        A figure that belongs to no window; `save` writes it.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        lines = (
            sum(len(arena.rows) + ARENA_LINES for arena in arenas),
            len(verdicts) + 1.6 * len(_papers(verdicts)) + 3,
        )
        height = max(3.0, 0.21 * max(lines) + 0.9)
        both = bool(arenas) and bool(verdicts)
        figure = Figure(figsize=(15.0 if both else 8.5, height), layout="constrained")
        sides: Any = figure.subfigures(1, 2, width_ratios=(0.85, 1.15)) if both else [figure, figure]
        if arenas:
            ratios = [len(arena.rows) + ARENA_LINES for arena in arenas]
            for ax, arena in zip(_stack(sides[0], ratios, max(lines)), arenas, strict=True):
                _arena(ax, arena)
        if verdicts:
            _claims(_stack(sides[1], [lines[1]], max(lines))[0], verdicts)
    return figure


def save(figure: Figure, path: Path | str) -> None:
    """Write a figure by its suffix, .svg or .png; the same figure gives the same bytes.

    Raises:
        ValueError: another suffix.
        OSError: the file cannot be written.
    """
    import matplotlib

    suffix = Path(path).suffix.lower()
    if suffix not in (".svg", ".png"):
        raise ValueError(f"got {Path(path).name}; a figure is saved as .svg or .png")
    with matplotlib.rc_context(_STYLE):
        metadata = {"Date": None, "Creator": None} if suffix == ".svg" else {"Software": None}
        figure.savefig(path, dpi=150, metadata=metadata, facecolor="white")


def position(value: float, verdict: Verdict) -> float:
    """Where a value of a claim stands on the shared axis, clipped to a little beyond the axis's ends."""
    low, high = verdict.region_low, verdict.region_high
    log = verdict.scale == "log" and all(end is None or end > 0 for end in (low, high))

    def scaled(x: float) -> float:
        return (math.log(x) if x > 0 else -math.inf) if log else x

    if low is not None and high is not None and high > low:
        place = (scaled(value) - scaled(low)) / (scaled(high) - scaled(low))
    else:
        edge = scaled(low if low is not None else high if high is not None else 0.0)
        inward = 1 if low is not None else -1
        ends = [abs(scaled(end) - edge) for end in (verdict.low, verdict.high, verdict.value) if end is not None]
        unit = max((end for end in ends if math.isfinite(end)), default=1.0) or 1.0
        place = inward * (scaled(value) - edge) / unit
    return min(max(place, -REACH - 0.05), 1 + REACH + 0.05)


def interval_places(verdict: Verdict) -> list[float]:
    """Where the two ends of a claim's interval stand on the shared axis, the left one first; None is unbounded."""
    low = -math.inf if verdict.low is None else verdict.low
    high = math.inf if verdict.high is None else verdict.high
    return sorted(position(end, verdict) for end in (low, high))


def _stack(figure: Any, lines: Sequence[float], total: float) -> list[Axes]:
    """Axes above each other with heights by their lines, and an empty rest so that a line is as high on both sides."""
    heights = [*lines, max(total - sum(lines), 0.01)]
    axes = figure.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    axes[-1].remove()
    return list(axes[:-1])


def _arena(ax: Axes, arena: Arena) -> None:
    scored = [row for row in arena.rows if row.score is not None]
    ends = [end for row in scored for end in (row.score, row.low, row.high) if end is not None]
    ends += [arena.reference_score]
    log = min(ends) > 0 and max(ends) > 10 * min(ends)
    if log:
        ax.set_xscale("log")
    limits = _pad(ax, ends, log)
    if log:
        _log_axis(ax, limits)
    else:
        ax.ticklabel_format(axis="x", useOffset=False)  # a number is read where it stands
    ax.axvline(arena.reference_score, color="#888888", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for place, row in enumerate(arena.rows):
        if row.score is None:
            ax.text(
                0.01, place, row.state, transform=ax.get_yaxis_transform(), va="center", style="italic", color="#777777"
            )
            continue
        first = row.rank_low == 1
        colour = COLOURS["holds"] if first else "#555555"
        low, high = _drawn_ends(row, *limits)
        ax.plot([low, high], [place, place], color=colour, linewidth=2, solid_capstyle="round", zorder=2)
        ax.plot(row.score, place, "o", color=colour, markersize=5.5, zorder=3)
    for place, row in enumerate(arena.rows):
        ax.text(
            1.015, place, _row_note(row), transform=ax.get_yaxis_transform(), va="center", fontsize=7.5, color="#555555"
        )
    ax.set_yticks(range(len(arena.rows)), [_ranked_name(row) for row in arena.rows])
    ax.set_ylim(len(arena.rows) - 0.4, -0.6)
    _clean(ax)
    goal = {"lower": "lower is better", "higher": "higher is better"}.get(arena.direction, "")
    ax.set_xlabel(f"{arena.metric}, median and 95% interval ({goal}; dashed: {arena.reference}, frozen)", fontsize=7.5)
    ax.set_title(arena.task)


def _log_axis(ax: Axes, limits: tuple[float, float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    size = _STYLE["font.size"]
    ax.xaxis.set_major_locator(FixedLocator(log_ticks(limits, AXIS_POINTS, size, label_width(size))))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _row_note(row: Row) -> str:
    failures = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in row.failures)
    score = "" if row.score is None else interval(row.score, row.low, row.high)
    return "  ".join(filter(None, (score, failures)))


def _ranked_name(row: Row) -> str:
    if row.rank_low is None:
        return row.method
    ranks = f"{row.rank_low}" if row.rank_low == row.rank_high else f"{row.rank_low}–{row.rank_high}"
    return f"{row.method}  ({ranks})"


def _drawn_ends(row: Row, left: float, right: float) -> tuple[float, float]:
    """Ends of the line: an unbounded end runs off the axis, an interval that does not exist is the point itself."""
    if row.low is None and row.high is None:
        return row.score or 0.0, row.score or 0.0
    return left if row.low is None else row.low, right if row.high is None else row.high


def _pad(ax: Axes, ends: Sequence[float], log: bool) -> tuple[float, float]:
    low, high = min(ends), max(ends)
    if log:
        limits = low / (high / low) ** 0.05, high * (high / low) ** 0.05
    else:
        pad = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        limits = low - pad, high + pad
    ax.set_xlim(*limits)
    return limits


def _claims(ax: Axes, verdicts: Sequence[Verdict]) -> None:
    place, ticks, labels = 0.0, [], []
    for paper in _papers(verdicts):
        title = textwrap.shorten(heading(paper), 88, placeholder=" …")
        anchor = {"transform": ax.get_yaxis_transform(), "va": "center", "ha": "right"}
        text = ax.text(1.0, place, title, weight="bold", fontsize=8, **anchor)
        text.set_in_layout(False)
        place += 1.15
        for verdict in (v for v in verdicts if v.paper == paper):
            _claim(ax, place, verdict)
            ticks.append(place)
            labels.append(f"{verdict.task}: {verdict.claim}")
            place += 1
        place += 0.45
    ax.set_yticks(ticks, labels, fontsize=7.5)
    ax.set_ylim(place - 0.2, -0.9)
    ax.set_xlim(-REACH, 1 + REACH)
    ax.set_xticks([0.5], ["accepted"])
    ax.set_xlabel("shaded: accepted region; a region with one edge is drawn with its accepted side right", fontsize=7.5)
    _clean(ax)
    ax.set_title("Claims: interval over seeds against the accepted region", pad=22, loc="right")
    shown = [name for name in COLOURS if any(v.verdict == name for v in verdicts)]
    handles = [ax.plot([], [], MARKERS[name], color=COLOURS[name], label=_legend(name))[0] for name in shown]
    ax.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(shown), frameon=False, fontsize=8)


def _claim(ax: Axes, place: float, verdict: Verdict) -> None:
    colour = COLOURS[verdict.verdict]
    two_sided = verdict.region_low is not None and verdict.region_high is not None
    ax.barh(place, 1.0 if two_sided else 1 + REACH, height=0.76, color="#e3eef7", linewidth=0, zorder=0.5)
    note = f"{interval(verdict.value, verdict.low, verdict.high)}   {verdict.region}"
    if verdict.value is None:
        note = verdict.reason or verdict.missing
        ax.plot(0.5, place, MARKERS[verdict.verdict], color="white", markeredgecolor=colour, markersize=5.5, zorder=3)
    else:
        low, high = interval_places(verdict)
        middle = min(max(position(verdict.value, verdict), -REACH), 1 + REACH)
        ax.plot([low, high], [place, place], color=colour, linewidth=2, solid_capstyle="round", zorder=2)
        if -REACH < middle < 1 + REACH:
            ax.plot(middle, place, MARKERS[verdict.verdict], color=colour, markersize=5.5, zorder=3)
        else:
            ax.plot(middle, place, "<" if middle < 0 else ">", color=colour, markersize=7, clip_on=False, zorder=3)
    ax.text(1.015, place, note, transform=ax.get_yaxis_transform(), va="center", fontsize=7.5, color="#555555")


def _legend(name: str) -> str:
    return f"control {name}" if "rejected" in name else name


def _papers(verdicts: Sequence[Verdict]) -> list[str]:
    return sorted({v.paper for v in verdicts}, key=lambda paper: (not paper, paper))


def _clean(ax: Axes) -> None:
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", color=FAINT, linewidth=0.6)
    ax.set_axisbelow(True)
