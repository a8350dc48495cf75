"""Arenas then and now: score, rank set and change of every method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..tasks import load, registry
from . import arenas as boards
from . import suite
from .compare_cells import values
from .compare_rows import Finding, Pair, Row, moved
from .records import Run
from .sides import Side


def arenas(
    before: Side, after: Side, folder: str | None, unpaired: frozenset[str] | None
) -> tuple[list[boards.Arena], list[Finding]]:
    """The boards as they are after, best method first, and one finding per method that both sides have.

    A task that this suite does not have, or whose file is invalid now, has no board here.

    Args:
        before, after: the sides.
        folder: of more task files.
        unpaired: tasks whose seeds are no pairs; None for all.
    """
    found: list[boards.Arena] = []
    rows: list[Finding] = []
    for name in sorted({run.task for run in before.runs if run.role == "score"}):
        try:
            task = load.load_task(name, before.tier, folder)
        except (registry.UnknownName, load.TaskFileError):
            continue
        if task.leaderboard is None:
            continue
        plans = [(_planned(task, side), side) for side in (before, after)]
        then, now = (suite.arenas(plan, side.lookup)[0] for plan, side in plans)
        labels = {metric["label"]: metric["name"] for cell in plans[1][0].first_wave for metric in cell.metrics}
        entry = registry.find("metric", labels.get(now.metric, now.metric))
        a, b = (_scored(plan, side) for plan, side in plans)
        old = {row.method: row for row in then.rows}
        found.append(now)
        for row in (row for row in now.rows if row.method in old):
            pair = Pair(a[row.method], b[row.method]) if row.method in a.keys() & b.keys() else None
            if pair is not None and (unpaired is None or name in unpaired or not pair.common):
                pair = replace(pair, paired=False)
            rows.append(_finding(old[row.method], row, pair, now, entry))
    return found, rows


def _planned(task: load.Task, side: Side) -> suite.Plan:
    """The task's cells with the seeds that the side scored."""
    seeds = sorted({run.seed for run in side.runs if run.task == task.id and run.role == "score"})
    if not seeds:
        return suite.plan([task], side.tier)
    count = next((k for k, seed in enumerate(seeds) if seed != seeds[0] + k), len(seeds))
    return suite.plan([task], side.tier, seeds=count, base_seed=seeds[0])


def _scored(plan: suite.Plan, side: Side) -> dict[str, dict[int, Run]]:
    """Method -> seed -> scoring run; a method without any, such as one that no grid point suits, is not there."""
    found = {}
    for cell in suite.second_wave(plan, side.lookup):
        runs = {seed: run for seed in cell.seeds if (run := side.lookup(cell, seed)) is not None}
        if runs:
            found[cell.method["name"]] = runs
    return found


def _finding(old: boards.Row, new: boards.Row, pair: Pair | None, arena: boards.Arena, entry: Any) -> Finding:
    notes = [f"{when}: {row.state}" for when, row in (("before", old), ("after", new)) if row.state != "scored"]
    if old.point and new.point and old.point != new.point:
        notes.append(f"tuned to {_point(new)}, before to {_point(old)}")
    shown = {
        "before": old.score,
        "after": new.score,
        "rank_before": _rank(old),
        "rank_after": _rank(new),
        "note": "; ".join(notes),
    }
    a, b = (values(side, arena.metric) for side in pair.sides) if pair is not None else ({}, {})
    if pair is not None and (a or b):
        sizes = len(pair.sides[0]), len(pair.sides[1])
        finding = moved(pair.row("board", arena.metric, ""), a, b, entry, sizes)
        return replace(finding, row=replace(finding.row, cell=new.method, **shown))
    # a method that cannot be tuned has no scoring runs at all
    lost, gained = (row.state in ("no stable point", "failed") for row in (new, old))
    verdict = "missing" if lost == gained else "worse" if lost else "better"
    row = Row("board", arena.task, new.method, arena.metric, verdict, direction=arena.direction)
    return Finding(replace(row, **shown))


def _point(row: boards.Row) -> str:
    rate = (row.point or {}).get("learning_rate")
    return ", ".join(f"{name} {value:g}" for name, value in rate.items()) if isinstance(rate, dict) else str(row.point)


def _rank(row: boards.Row) -> str:
    if row.rank_low is None:
        return ""
    return str(row.rank_low) if row.rank_low == row.rank_high else f"{row.rank_low}–{row.rank_high}"
