"""Boards as text: a table for the terminal, Markdown, CSV or JSON.

`table` and `markdown` are for reading and round to three digits; `csv` and `json` carry every field unrounded.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from typing import Any

from ..tasks.claim_options import LEAST_SEEDS
from .arenas import Arena, Row
from .papers import heading
from .text_table import Head, layout, measure, styled, terminal_width, wrapped
from .verdicts import Verdict, verdict_counts
from .words import interval, number, seconds

FORMATS = ("table", "markdown", "csv", "json")
COLOURS = {
    "holds": "green",
    "rejected": "green",
    "fails": "bold red",
    "not rejected": "bold red",
    "undecided": "yellow",
    "not run": "dim",
}
QUANTITIES = {
    "exponent": "slope", "monotone": "tau", "outcome": "share", "boundary": "boundary", "rank_correlation": "rho",
}  # fmt: skip

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a readable table: its head, the text of a row, and how it is set.

    `style` names the style of a row's cell, used on a terminal only. `keep`: never broken over lines; `least`:
    characters that a breakable column gets at least; with 0 its longest word.
    """

    title: str
    text: Callable[[Any], str]
    right: bool = False
    keep: bool = True
    least: int = 14
    style: Callable[[Any], str] = lambda row: ""


@dataclass(frozen=True)
class Group:
    """Rows under one heading, with a line below them."""

    title: str
    rows: Sequence[Any]
    footer: str = ""


def render(
    rows: Sequence[Record],
    columns: Sequence[Column],
    fmt: str = "table",
    *,
    title: str = "",
    footer: str = "",
    width: int | None = None,
    colour: bool | None = None,
) -> str:
    """One table as text.

    Args:
        rows: mappings from field to value.
        columns: of the readable formats; CSV and JSON have the fields of the rows.
        fmt: table, markdown, csv or json.
        title: line above, footer: line below, in the readable formats.
        width: in characters; by default the terminal's, or 100 in a pipe.
        colour: by default on a terminal that wants it.

    Raises:
        ValueError: the format is unknown.
    """
    if fmt == "json":
        return json.dumps(list(rows), indent=1, ensure_ascii=False, allow_nan=False)
    if fmt == "csv":
        return _csv(rows)
    return _readable([Group(title, rows, footer)], columns, fmt, width, colour)


def leaderboard_table(
    arenas: Sequence[Arena], fmt: str = "table", *, width: int | None = None, colour: bool | None = None
) -> str:
    """The boards of several arenas, each under its own heading; as CSV one line per arena and method."""
    if fmt == "json":
        return json.dumps([asdict(arena) for arena in arenas], indent=1, ensure_ascii=False, allow_nan=False)
    if fmt == "csv":
        return _csv([flat(arena, row) for arena in arenas for row in arena.rows])
    groups = [Group(_arena_title(arena), [(arena, row) for row in arena.rows], arena_note(arena)) for arena in arenas]
    return _readable(groups, ARENA_COLUMNS, fmt, width, colour)


def claims_table(
    verdicts: Sequence[Verdict], fmt: str = "table", *, width: int | None = None, colour: bool | None = None
) -> str:
    """The claims of every paper under its title, and how many of them hold: of each paper, if there are several."""
    if fmt == "json":
        document = {"claims": [record(v) for v in verdicts], "counts": verdict_counts(verdicts)}
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    if fmt == "csv":
        return _csv([record(verdict) for verdict in verdicts])
    # claims without a paper last
    ordered = sorted(verdicts, key=lambda v: (not v.paper, v.paper))
    groups = [Group(heading(paper), list(rows)) for paper, rows in groupby(ordered, key=lambda v: v.paper)]
    by_paper = _readable([Group("", groups)], PAPER_COLUMNS, fmt, width, colour) if len(groups) > 1 else ""
    return "\n\n".join(
        filter(None, [_readable(groups, CLAIM_COLUMNS, fmt, width, colour), by_paper, summary(verdicts)])
    )


def summary(verdicts: Iterable[Verdict]) -> str:
    """`41 holds, 3 undecided, 0 fails; 12/12 controls rejected`, and how many of both were not run, if any."""
    verdicts = list(verdicts)
    counts, few = verdict_counts(verdicts), sum(map(_says_nothing, verdicts))
    controls = counts["rejected"] + counts["not rejected"] - few
    head = f"{counts['holds']} holds, {counts['undecided']} undecided, {counts['fails']} fails"
    waiting = f"; {counts['not run']} not run" if counts["not run"] else ""
    few_seeds = f", {few} with too few seeds" if few else ""
    return f"{head}; {counts['rejected']}/{controls} controls rejected{few_seeds}{waiting}"


def _count(word: str, group: Group) -> str:
    """How many verdicts of a group are this; nothing where none is `not run`."""
    return str(sum(v.verdict == word for v in group.rows) or ("" if word == "not run" else 0))


def _word(verdict: Verdict) -> str:
    return "too few seeds" if _says_nothing(verdict) else verdict.verdict


def _says_nothing(verdict: Verdict) -> bool:
    """Whether a control is not rejected for want of seeds, which is no evidence (`verdicts.exit_code`)."""
    return verdict.verdict == "not rejected" and verdict.value is None and verdict.finished < LEAST_SEEDS


def _arena_title(arena: Arena) -> str:
    goal = {"lower": " (lower is better)", "higher": " (higher is better)"}.get(arena.direction, "")
    return f"{arena.task}: {arena.title} · {arena.metric}{goal}" + (f" · {arena.tier}" if arena.tier else "")


def arena_note(arena: Arena) -> str:
    """What a reader of the board has to know: target, budget, reference, marks, and what happened to single methods."""
    reference = f"{arena.reference} at {number(arena.reference_score)}"
    notes = [f"target {number(arena.target)}", f"budget {number(arena.budget)} gradient evaluations"]
    notes += [f"relative to {reference}, frozen"]
    seeds = {row.expected_seeds for row in arena.rows if row.expected_seeds}
    notes += [f"{max(seeds)} seeds"] if seeds else []
    if any(row.edge for row in arena.rows):
        notes.append("*: the edge of its grid")
    if any(row.stale for row in arena.rows):
        notes.append("†: from other code than the current")
    lines = ["; ".join(notes)]
    happened: dict[str, list[str]] = {}
    for row in arena.rows:
        remarks = [f"{n} {name.replace('_', ' ')}" for name, n in row.failures] + ([row.detail] if row.detail else [])
        if remarks:
            happened.setdefault(", ".join(remarks), []).append(row.method)
    return "\n".join([*lines, *(f"{', '.join(methods)}: {text}" for text, methods in happened.items())])


def rank(pair: tuple[Arena, Row]) -> str:
    """The ranks that cannot be excluded: `3`, `1–4`."""
    row = pair[1]
    if row.rank_low is None:
        return "–"
    return str(row.rank_low) if row.rank_low == row.rank_high else f"{row.rank_low}–{row.rank_high}"


def _score(pair: tuple[Arena, Row]) -> str:
    row = pair[1]
    if row.score is None:
        return row.state
    return _measured(row.score, row.low, row.high) + ("†" if row.stale else "")


def _measured(value: float | None, low: float | None, high: float | None) -> str:
    """A value with its interval, which a narrow column breaks between the two only."""
    return interval(value, low, high).replace(", ", ",\u00a0")


def _work(pair: tuple[Arena, Row]) -> str:
    arena, row = pair
    if not row.seeds:
        return "–"
    shown = f"> {number(arena.budget)}" if row.work is None else number(row.work)
    return f"{shown} ({row.reached}/{row.seeds})"


def _rate(pair: tuple[Arena, Row]) -> str:
    row = pair[1]
    rate = (row.point or {}).get("learning_rate")
    if rate is None:
        return "–"
    if isinstance(rate, Mapping):
        text = f"{rate['critical']:g} critical" if "critical" in rate else f"{rate['value']:g}"
    else:
        text = f"{rate:g}"
    return text + ("*" if row.edge else "")


ARENA_COLUMNS = (
    Column("method", lambda pair: pair[1].method, style=lambda pair: "bold" if pair[1].rank_low == 1 else ""),
    Column("rank", rank, right=True),
    Column("score", _score, keep=False, least=0),
    Column("relative", lambda pair: number(pair[1].relative), right=True),
    Column("work to target", _work, right=True, keep=False, least=0),
    Column("time", lambda pair: seconds(pair[1].seconds), right=True),
    Column("rate", _rate, keep=False, least=0),
)


def _claim(verdict: Verdict) -> str:
    name = f"{verdict.task}: {verdict.claim}"
    words = [("control: " if verdict.control else "") + verdict.says] if verdict.says or verdict.control else []
    notes = "; ".join(text for text in (verdict.reason, verdict.missing, verdict.explanation) if text)
    words += [f"({notes})"] if notes else []
    return "\n".join([name, " ".join(words)]) if words else name


def quantity(verdict: Verdict) -> str:
    """What the measured number is, in a word; empty for a threshold, whose number is the metric itself."""
    if verdict.kind == "contrast":
        return "ratio" if verdict.scale == "log" else "difference"
    return QUANTITIES.get(verdict.kind, "")


def measured(verdict: Verdict) -> str:
    """`slope -0.479 [-0.496, -0.462]`, broken before the interval only."""
    text = _measured(verdict.value, verdict.low, verdict.high)
    return "\u00a0".join(filter(None, (quantity(verdict), text))) if verdict.value is not None else text


def record(verdict: Verdict) -> dict[str, Any]:
    """Every field of a verdict, unrounded, and what its number is."""
    return {**asdict(verdict), "quantity": quantity(verdict)}


def _used(verdict: Verdict) -> str:
    return f"{verdict.seeds}" + ("†" if verdict.stale else "")


CLAIM_COLUMNS = (
    Column("claim", _claim, keep=False, least=28),
    Column("verdict", lambda v: _word(v), keep=False, least=0, style=lambda v: COLOURS.get(_word(v), "")),
    Column("measured", measured, keep=False, least=0),
    Column("expected", lambda v: v.region, keep=False, least=13),
    Column("seeds", _used, right=True),
)


PAPER_COLUMNS = (
    Column("paper", lambda group: group.title, keep=False),
    Column("claims", lambda group: str(sum(not v.control for v in group.rows)), right=True),
    *(Column(word, partial(_count, word), right=True) for word in ("holds", "fails", "undecided")),
    Column("controls", lambda group: str(sum(v.control for v in group.rows)), right=True),
    *(Column(word, partial(_count, word), right=True) for word in ("rejected", "not run")),
)
"""Of a group: the claims of one paper."""


def flat(arena: Arena, row: Row) -> dict[str, Any]:
    """Every field of one method in one arena, unrounded."""
    shared = {name: value for name, value in asdict(arena).items() if name != "rows"}
    return {**shared, **{name: value for name, value in asdict(row).items()}}


def _readable(
    groups: Sequence[Group], columns: Sequence[Column], fmt: str, width: int | None, colour: bool | None
) -> str:
    if fmt == "markdown":
        return "\n\n".join(_markdown(group, columns) for group in groups)
    if fmt != "table":
        raise ValueError(f"got the format {fmt!r}; expected one of {', '.join(FORMATS)}")
    return _table(groups, columns, width or terminal_width(), _wants_colour() if colour is None else colour)


def _table(groups: Sequence[Group], columns: Sequence[Column], width: int, colour: bool) -> str:
    shown = _filled(groups, columns)
    heads = [Head(column.title, column.right, column.keep, column.least) for column in shown]
    texts = [[[column.text(row) for column in shown] for row in group.rows] for group in groups]
    widths = measure(heads, [row for rows in texts for row in rows], width)  # columns of all groups line up
    lines: list[str] = []
    for group, rows in zip(groups, texts, strict=True):
        styles = [[column.style(row) for column in shown] for row in group.rows] if colour else None
        lines += [styled(line, "bold" if colour else "") for line in wrapped(group.title, width) if line]
        lines += layout(heads, rows, width, styles, widths)
        lines += [styled(line, "dim" if colour else "") for line in wrapped(group.footer, width) if line]
        lines.append("")
    return "\n".join(lines).rstrip()


def _filled(groups: Sequence[Group], columns: Sequence[Column]) -> list[Column]:
    """The columns that say something in some row."""
    return [column for column in columns if any(column.text(row) for group in groups for row in group.rows)]


def _markdown(group: Group, columns: Sequence[Column]) -> str:
    shown = _filled([group], columns)
    lines = [
        _markdown_row([column.title for column in shown]),
        _markdown_row(["---:" if column.right else "---" for column in shown]),
        *(_markdown_row([_escaped(column.text(row)) for column in shown]) for row in group.rows),
    ]
    parts = [f"### {group.title}"] if group.title else []
    return "\n\n".join([*parts, "\n".join(lines), *([group.footer.replace("\n", "  \n")] if group.footer else [])])


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    for character in "\\|*_<>`":
        text = text.replace(character, "\\" + character)
    return text.replace("\n", "<br>").replace("\u00a0", " ")


def _csv(rows: Sequence[Record]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_csv_value(row.get(name)) for name in names])
    return out.getvalue().rstrip("\n")


def _csv_value(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False, allow_nan=False) if isinstance(value, (dict, list, tuple)) else value


def _wants_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
