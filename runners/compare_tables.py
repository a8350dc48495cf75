"""A comparison as text: what moved and what is undecided for reading, every row as CSV or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from math import expm1, inf
from statistics import median

from ..tasks import registry
from .attribution import Cause
from .compare_rows import Row
from .comparison import Comparison
from .noise import FILE, Noise
from .sides import Side
from .tables import Column, render
from .words import number, seconds

SHOWN = 20
"""Undecided rows that are printed, and thrice as many that moved; CSV and JSON have all."""
ALONE = "what each factor moves alone; × is what several move beyond that"
NOTHING = 5e-5
"""A change whose digits nobody reads."""
CELLS = 3
"""Cells of one task that are listed one by one where they are not compared, for the same reason."""
UNMEASURED = "; where no noise stands, `tangentbench compare RESULTS --self` measures it"
ORDER = (
    "worse", "slower", "changed", "better", "faster", "undecided", "equivalent", "incomparable", "missing",
)  # fmt: skip
COLOURS = {
    "worse": "bold red",
    "slower": "bold red",
    "changed": "bold red",
    "better": "green",
    "faster": "green",
    "undecided": "yellow",
}


def text(found: Comparison, fmt: str = "table", *, causes: Sequence[Cause] = (), width: int | None = None) -> str:
    """The comparison as a table for the terminal, as Markdown for a pull request, as CSV or as JSON.

    With ``causes`` a table more says who is to blame for what moved; CSV has none.

    Raises:
        ValueError: the format is unknown.
    """
    if fmt == "json":
        document = {
            "before": found.before,
            "after": found.after,
            "tier": found.tier,
            "level": found.level,
            "regressed": found.regressed,
            "counts": dict(found.counts),
            "notes": list(found.notes),
            "rows": [asdict(row) for row in found.rows],
            "causes": [asdict(cause) for cause in causes],
        }
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    if fmt == "csv":
        return render([asdict(row) for row in found.rows], [], "csv")
    parts = [_head(found, fmt)]
    for task, rows in groupby((row for row in found.rows if row.kind == "board"), key=lambda row: row.task):
        members = list(rows)
        goal = {"lower": " (lower is better)", "higher": " (higher is better)"}.get(members[0].direction, "")
        title = f"{task} · {members[0].metric}{goal} · {found.tier}"
        parts.append(render(members, BOARD, fmt, title=title, width=width))  # pyright: ignore[reportArgumentType]
    if causes:
        parts.append(render(causes, _causes(causes), fmt, title="who is to blame", footer=ALONE, width=width))  # pyright: ignore[reportArgumentType]
    for title, rows, footer in _sections(found):
        if rows:
            columns = SPEED if rows[0].kind == "speed" else FINDINGS
            parts.append(render(rows, columns, fmt, title=title, footer=footer, width=width))  # pyright: ignore[reportArgumentType]
    return "\n\n".join(parts)


def summary(rows: Iterable[Row]) -> str:
    """`1 worse, 2 undecided, 40 equivalent (36 of them to the last bit)`."""
    rows = list(rows)
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in ORDER}
    exact = sum(row.identical for row in rows)
    words = [f"{n} {verdict}" for verdict, n in counts.items() if n]
    same = f" ({exact} of them to the last bit)" if exact else ""
    return ", ".join(word + (same if word.endswith("equivalent") else "") for word in words) or "nothing to compare"


def noise_text(side: Side, found: Noise, fmt: str = "table", *, width: int | None = None) -> str:
    """The noise that was measured: per task and metric, and per task's time.

    `seeds` is the median over cells of the half-width that other seeds make, `repeats` the largest change of a
    repetition; `blind` counts cells in which other seeds alone move the metric by more than its margin.
    """
    cells = {run.digest: run for run in side.runs if run.digest in found.metrics}
    rows: dict[tuple[str, str], list[tuple[float, dict[str, float]]]] = {}
    for digest, run in cells.items():
        names = {spec["label"]: spec["name"] for spec in run.cell["metrics"]}
        for label, floors in found.metrics[digest].items():
            margin = registry.find("metric", names[label]).margin
            rows.setdefault((run.task, label), []).append((margin, dict(floors)))
    metrics = [
        {
            "task": task,
            "metric": label,
            "cells": len(members),
            "margin": members[0][0],
            "seeds": median(seeds)
            if (seeds := [floors["seeds"] for _, floors in members if "seeds" in floors])
            else None,
            "repeats": max(floors["repeats"] for _, floors in members),
            "blind": sum(floors.get("seeds", inf) > margin for margin, floors in members),
        }
        for (task, label), members in rows.items()
    ]
    times = [
        {
            "task": task,
            "deviation": spread["deviation"],
            "floor": expm1(found.time_floor(task, len(found.times)) or 0.0),
        }
        for task, spread in found.times.items()
    ]
    if fmt == "json":
        return json.dumps({"metrics": metrics, "times": times}, indent=1, ensure_ascii=False, allow_nan=False)
    if fmt == "csv":
        return render([*metrics, *({"metric": "seconds per step", **row} for row in times)], [], "csv")
    footer = (
        f"stored in {side.store.root / FILE}; blind: cells in which other seeds alone move it by more than the margin"
    )
    return "\n\n".join(
        [
            render(metrics, NOISE, fmt, title=f"noise of metrics · {side.tier}", width=width),
            render(times, TIME_NOISE, fmt, title="noise of times", footer=footer, width=width),
        ]
    )


def _head(found: Comparison, fmt: str) -> str:
    parts = {"science": [], "counts": [], "speed": []}
    for row in found.rows:
        parts[{"speed": "speed", "count": "counts"}.get(row.kind, "science")].append(row)
    lines = [f"before: {found.before}", f"after: {found.after}"]
    lines += [f"{name}: {summary(rows)}" for name, rows in parts.items() if rows or name != "counts"]
    lines += [f"note: {note}" for note in found.notes]
    if fmt != "markdown":
        return "\n".join(lines)
    verdict = "a regression" if found.regressed else "no regression"
    return "\n".join([f"## tangentbench: {verdict} ({found.tier})", "", *(f"- {line}" for line in lines)])


def _sections(found: Comparison) -> list[tuple[str, list[Row], str]]:
    """Title, rows and footer of the tables below the boards."""
    rows = [row for row in found.rows if row.kind not in ("board", "speed")]
    apart = _by_task(row for row in rows if row.verdict in ("incomparable", "missing"))
    apart.sort(key=lambda row: ORDER.index(row.verdict))
    moved = [row for row in rows if row.verdict not in ("equivalent", "undecided", "incomparable", "missing")]
    moved.sort(key=lambda row: ORDER.index(row.verdict))
    undecided = [row for row in rows if row.verdict == "undecided"]
    undecided.sort(key=lambda row: -abs(row.change or 0.0))
    note = f"intervals hold for all rows at once, at {100 * found.level:.5g}% each; seeds are "
    paired = {row.paired for row in rows if row.kind == "metric"}
    note += (
        "paired unless the row says otherwise" if len(paired) > 1 else "not paired" if paired == {False} else "paired"
    )
    speed = [row for row in found.rows if row.kind == "speed"]
    stored = [row for row in speed if row.metric.startswith("seconds per")]
    footer = ["the cell and seed of the median change in each task, compilation apart" if stored else ""]
    footer += [UNMEASURED] if any(row.floor is None for row in stored) else []
    return [
        ("what moved", moved[: 3 * SHOWN], "\n".join(filter(None, [_more(moved, 3 * SHOWN), note]))),
        ("undecided", undecided[:SHOWN], _more(undecided)),
        ("not compared", apart[:SHOWN], _more(apart)),
        (
            "speed · time per step, of a run where nothing is trained" if stored else "speed",
            speed,
            "".join(footer),
        ),
    ]


def _by_task(rows: Iterable[Row]) -> list[Row]:
    """One row for many cells of a task that are not compared for one reason."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.kind, row.task, row.verdict, row.metric, row.note), []).append(row)
    found = []
    for members in groups.values():
        many = len(members) > CELLS
        found += [replace(members[0], cell=f"{len(members)} cells")] if many else members
    return found


def _more(rows: Sequence[Row], shown: int = SHOWN) -> str:
    return f"and {len(rows) - shown} more, with --format csv" if len(rows) > shown else ""


def change(row: Row) -> str:
    """`+10.5% [+9.1%, +12%]`; an unbounded end is ∞."""
    if row.change is None:
        return ""
    if row.low is None and row.high is None:
        return _percent(row.change)
    low = "−∞" if row.low is None else _percent(row.low)
    high = "∞" if row.high is None else _percent(row.high)
    return f"{_percent(row.change)} [{low},\u00a0{high}]"


def _percent(value: float) -> str:
    if abs(value) >= 10:
        return f"×{number(1 + value)}"
    if 0 < abs(value) < NOTHING:
        return "~0%"
    return f"{'+' if value > 0 else ''}{number(100 * value, 2)}%"


def _margin(row: Row) -> str:
    if row.margin is None:
        return ""
    floor = "" if row.floor is None else f", noise {number(100 * row.floor, 2)}%"
    return f"±{number(100 * row.margin, 2)}%" + floor


def _value(value: float | str | None) -> str:
    return value if isinstance(value, str) else "" if value is None else number(value)


def _time(value: float | str | None, row: Row) -> str:
    if isinstance(value, str) or value is None:
        return _value(value)
    return f"{number(1000 * value)} ms/step" if row.metric == "seconds per step" else seconds(value)


def _timed(row: Row) -> str:
    return row.task if row.metric.startswith("seconds per") else f"{row.task}: {row.metric}"


def _what(row: Row) -> str:
    where = f"{row.task}: {row.cell}" if row.cell else row.task
    notes = [row.note] if row.note else []
    if row.kind in ("metric", "outcome") and not row.paired:
        notes.append("seeds not paired")
    return "\n".join([where, *([f"({'; '.join(notes)})"] if notes else [])])


def _ranks(row: Row) -> str:
    return f"{row.rank_before or '–'} → {row.rank_after or '–'}"


def _causes(causes: Sequence[Cause]) -> list[Column]:
    """The columns of the causes' table: one for each factor, and for each interaction that was found."""

    def effect(name: str) -> Column:
        return Column(name, lambda cause: _effect(cause.effects.get(name)), keep=False, least=0)

    names = dict.fromkeys(name for cause in causes for name in cause.effects)
    return [
        Column("where", lambda cause: _what(cause.row), keep=False, least=28),
        Column("what", lambda cause: cause.row.metric),
        Column("in all", lambda cause: _effect(cause.row), keep=False, least=0),
        *map(effect, names),
        Column("to blame", lambda cause: cause.cause),
    ]


def _effect(row: Row | None) -> str:
    if row is None:
        return ""
    return change(row) or f"{row.verdict}{f': {row.after}' if isinstance(row.after, str) else ''}"


def _share(name: str) -> Column:
    return Column(name, lambda row: "" if row[name] is None else f"±{number(100 * row[name], 2)}%", right=True)


def _style(row: Row) -> str:
    return COLOURS.get(row.verdict, "")


BOARD = (
    Column("method", lambda row: row.cell),
    Column("verdict", lambda row: row.verdict, style=_style),
    Column("rank", _ranks),
    Column("score before", lambda row: _value(row.before), right=True),
    Column("after", lambda row: _value(row.after), right=True),
    Column("change", change, keep=False, least=0),
    Column("note", lambda row: row.note, keep=False),
)
FINDINGS = (
    Column("where", _what, keep=False, least=28),
    Column("what", lambda row: row.metric, keep=False, least=0),
    Column("verdict", lambda row: row.verdict, style=_style),
    Column("before", lambda row: _value(row.before), keep=False, least=0),
    Column("after", lambda row: _value(row.after), keep=False, least=0),
    Column("change", change, keep=False, least=0),
    Column("margin", _margin, keep=False, least=0),
)
NOISE = (
    Column("task", lambda row: row["task"]),
    Column("metric", lambda row: row["metric"]),
    *map(_share, ("margin", "seeds", "repeats")),
    Column("blind", lambda row: f"{row['blind']}/{row['cells']}", right=True),
)
TIME_NOISE = (Column("task", lambda row: row["task"]), _share("deviation"), _share("floor"))
SPEED = (
    Column("task", lambda row: _timed(row) + (f"\n({row.note})" if row.note else ""), keep=False, least=28),
    Column("verdict", lambda row: row.verdict, style=_style),
    Column("before", lambda row: _time(row.before, row), right=True),
    Column("after", lambda row: _time(row.after, row), right=True),
    Column("change", change, keep=False, least=0),
    Column("margin", _margin, keep=False, least=0),
)
