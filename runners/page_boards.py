"""Both boards as a page shows them: texts, what they are sorted by, and small intervals beside the numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from . import provenance, tables
from .arenas import Arena, Row
from .papers import heading
from .plots import interval_places, position
from .verdicts import Verdict
from .words import number

STRIP = 120  # width of the small interval beside a number
STRIP_REACH = 1.0  # widths of the accepted region shown on either side of it


# -- leaderboard ------------------------------------------------------------------------------------------------------


def overview(arenas: Sequence[Arena]) -> dict[str, Any] | None:
    """Rank sets of every method on every arena where something was run; None below two of them."""
    arenas = [arena for arena in arenas if not idle_arena(arena)]
    if len(arenas) < 2:
        return None
    found = {(arena.task, row.method): row for arena in arenas for row in arena.rows}
    methods = sorted({row.method for arena in arenas for row in arena.rows})
    rows = [
        {"method": name, "cells": [_overview_cell(arena, found.get((arena.task, name))) for arena in arenas]}
        for name in methods
    ]
    return {"arenas": [arena.task for arena in arenas], "rows": rows}


def idle_arena(arena: Arena) -> bool:
    """Whether none of its methods was run."""
    return all(row.state == "not run" for row in arena.rows)


def _overview_cell(arena: Arena, row: Row | None) -> dict[str, Any]:
    if row is None:
        return {"text": "–", "sort": None, "first": False}
    text = row.state if row.rank_low is None else tables.rank((arena, row))
    return {"text": text, "sort": row.rank_low, "first": row.rank_low == 1}


def arena_board(arena: Arena, anchor: str) -> dict[str, Any]:
    """The board of one arena, with the texts of the terminal's table and the numbers that they are sorted by."""
    sorts = {
        "method": lambda row: row.method,
        "rank": lambda row: row.rank_low,
        "score": lambda row: row.score,
        "relative": lambda row: row.relative,
        "work to target": lambda row: row.work,
        "time": lambda row: row.seconds,
    }
    scale, axis = _scale(arena)
    rows = []
    for row in arena.rows:
        cells = [
            {
                "text": column.text((arena, row)),
                "sort": sorts.get(column.title, lambda row: None)(row),
                "right": column.right,
                "title": column.title,
            }
            for column in tables.ARENA_COLUMNS
        ]
        rows.append({"cells": cells, "first": row.rank_low == 1, "strip": _score_strip(row, scale)})
    goal = {"lower": "lower is better", "higher": "higher is better"}.get(arena.direction, "")
    note = tables.arena_note(arena).split("\n")
    return {
        "task": arena.task,
        "anchor": anchor,
        "title": arena.title,
        "metric": arena.metric,
        "goal": goal,
        "columns": [(column.title, column.right, column.title in sorts) for column in tables.ARENA_COLUMNS],
        "rows": rows,
        "axis": axis,
        "idle": idle_arena(arena),
        "note": [line if k == 0 else provenance.without_path(line) for k, line in enumerate(note)],
    }


def _scale(arena: Arena) -> Any:
    """Maps scores of an arena onto the width of a strip, logarithmically where they span more than a factor of ten; and
    the two ends in words."""
    ends = [end for row in arena.rows for end in (row.score, row.low, row.high) if end is not None]
    ends.append(arena.reference_score)
    low, high = min(ends), max(ends)
    if low == high:  # one score, which is the reference's
        low, high = low - (abs(low) or 1.0) / 20, high + (abs(high) or 1.0) / 20
    log = low > 0 and high > 10 * low
    digits = next((n for n in range(3, 12) if number(low, n) != number(high, n)), 12)
    a, b = (math.log(low), math.log(high)) if log else (low, high)
    pad = 6

    def place(value: float) -> float:
        x = math.log(value) if log else value
        return round(pad + (STRIP - 2 * pad) * (x - a) / (b - a), 1)

    return (place, arena.reference_score), {"low": number(low, digits), "high": number(high, digits), "log": log}


def _score_strip(row: Row, scale: Any) -> dict[str, Any] | None:
    if row.score is None:
        return None
    place, reference = scale
    bounded = row.low is not None or row.high is not None
    low = place(row.low) if row.low is not None else 0.0 if bounded else place(row.score)
    high = place(row.high) if row.high is not None else float(STRIP) if bounded else place(row.score)
    at, mark = place(row.score), place(reference)
    return {"low": low, "high": high, "at": at, "mark": mark, "region": None, "beyond": False}


# -- claims -----------------------------------------------------------------------------------------------------------


def papers(
    verdicts: Sequence[Verdict],
    anchors: Mapping[str, str],
    claims: Mapping[tuple[str, str], str],
) -> list[dict[str, Any]]:
    """The claims of every paper, those without one last; `anchors`, `claims`: where tasks and claims are explained.

    Tasks of which nothing was run are only named, with how many claims and controls they have.
    """
    idle = {v.task for v in verdicts} - {v.task for v in verdicts if v.verdict != "not run"}
    ordered = sorted(verdicts, key=lambda v: (not v.paper, v.paper))
    found = []
    for paper, of_paper in groupby(ordered, key=lambda v: v.paper):
        group = list(of_paper)
        rows = [
            {**claim_row(v), "anchor": anchors[v.task], "link": claims.get((v.task, v.claim), anchors[v.task])}
            for v in group
            if v.task not in idle
        ]
        counts = Counter(v.task for v in group if v.task in idle)
        waiting = [{"task": task, "anchor": anchors[task], "claims": n} for task, n in counts.items()]
        found.append({"paper": paper, "title": heading(paper), "rows": rows, "waiting": waiting})
    return found


def claim_row(verdict: Verdict) -> dict[str, Any]:
    """A verdict in words, with the numbers that it is sorted by and its strip."""
    notes = [*map(provenance.without_path, (verdict.reason, verdict.missing)), verdict.explanation]
    return {
        "task": verdict.task,
        "claim": verdict.claim,
        "says": verdict.says,
        "notes": "; ".join(filter(None, notes)),
        "where_in_paper": verdict.where_in_paper,
        "kind": verdict.kind,
        "metric": verdict.metric,
        "control": verdict.control,
        "verdict": verdict.verdict,
        "measured": tables.measured(verdict).replace("\u00a0", " "),
        "value": verdict.value,
        "region": verdict.region,
        "power": power(verdict),
        "seeds": verdict.seeds,
        "stale": bool(verdict.stale),
        "strip": _claim_strip(verdict),
    }


def power(verdict: Verdict) -> str:
    """How far from the region the truth would have to lie to be found out, in words."""
    if verdict.detectable is None:
        return ""
    distance = f"a factor of {number(verdict.detectable)}" if verdict.scale == "log" else number(verdict.detectable)
    return f"a true value outside by {distance} would, with as many seeds, be found to fail in four of five cases"


def _claim_strip(verdict: Verdict) -> dict[str, Any] | None:
    if verdict.value is None:
        return None

    def place(p: float) -> float:
        return round(STRIP * min(max((p + STRIP_REACH) / (1 + 2 * STRIP_REACH), 0.04), 0.96), 1)

    two_sided = verdict.region_low is not None and verdict.region_high is not None
    low, high = map(place, interval_places(verdict))
    at = position(verdict.value, verdict)
    region = (place(0.0), place(1.0) if two_sided else float(STRIP))
    beyond = not -STRIP_REACH <= at <= 1 + STRIP_REACH
    return {"low": low, "high": high, "at": place(at), "mark": None, "region": region, "beyond": beyond}
