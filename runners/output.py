"""What commands print: both boards in one document, the list of runs, and the plan of a dry run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..tasks.problem import counted
from . import batches, tables
from .arenas import Arena
from .certificates import UNCERTIFIED, uncertified
from .results import Run, Store
from .schedule import missing
from .tables import Column
from .verdicts import Verdict


def boards(arenas: Sequence[Arena], verdicts: Sequence[Verdict], fmt: str) -> str:
    """The leaderboard, the claims or both, whichever is there; with ``json`` one document."""
    if fmt == "json":
        document: dict[str, Any] = {"leaderboard": json.loads(tables.leaderboard_table(arenas, "json"))}
        return json.dumps(
            document | json.loads(tables.claims_table(verdicts, "json")), indent=1, ensure_ascii=False, allow_nan=False
        )
    parts = []
    if arenas:
        parts.append(tables.leaderboard_table(arenas, fmt))
    if verdicts:
        parts.append(tables.claims_table(verdicts, fmt))
    return "\n\n".join(parts) if parts else "no arena and no claim among these tasks"


def runs(found: Sequence[Run], fmt: str) -> str:
    """One row per cell: how its runs ended and its metrics' medians over seeds; with ``json`` and ``csv`` every run."""
    if fmt in ("json", "csv"):
        records = [_record(run) for run in found]
        if fmt == "csv":
            return tables.render([{**row, "uncertified": " ".join(row["uncertified"])} for row in records], [], "csv")
        documents = [{**row, "certificates": run.certificates} for row, run in zip(records, found, strict=True)]
        return json.dumps(documents, indent=1, ensure_ascii=False, allow_nan=False)
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in found:
        groups.setdefault((run.task, cell_name(run)), []).append(run)
    rows = [{"task": task, "cell": coords, "runs": members} for (task, coords), members in groups.items()]
    columns = [
        Column("task", lambda row: row["task"]),
        Column("cell", lambda row: row["cell"], keep=False),
        Column("seeds", lambda row: str(len(row["runs"])), right=True),
        Column("ended", lambda row: _counts(row["runs"])),
        Column("median over seeds", lambda row: _medians(row["runs"]), keep=False),
    ]
    return tables.render(rows, columns, fmt, footer=f"{counted(len(found), 'run')} in {counted(len(rows), 'cell')}")


def dry_run(planned: Any, store: Store | None, code: str, fmt: str) -> str:
    """What a command would run: cells, programs to compile, runs stored and missing, per task."""
    rows = []
    for task in planned.tasks:
        cells = planned.cells[task.id]
        total = sum(len(cell.seeds) for cell in cells)
        lanes = [(c, s) for c in cells for s in c.seeds] if store is None else missing(cells, store, code)
        rows.append(
            {
                "task": task.id,
                "cells": len(cells),
                "programs": len(batches.group(cells)),
                "runs": total,
                "missing": len(lanes),
                "then": f"score {len({c.method['name'] for c in cells})} methods" if task.leaderboard else "",
            }
        )
    columns = [
        Column("task", lambda row: row["task"]),
        *(
            Column(name, lambda row, name=name: str(row[name]), right=True)
            for name in ("cells", "programs", "runs", "missing")
        ),
        Column("then", lambda row: row["then"]),
    ]
    total, lacking = (sum(row[name] for row in rows) for name in ("runs", "missing"))
    footer = f"{lacking} of {counted(total, 'run')} would be computed at tier {planned.tier}"
    return tables.render(rows, columns, fmt, footer=footer)


def cell_name(run: Run) -> str:
    """Where in its task's sweep a run stands."""
    if run.coords:
        return ", ".join(f"{axis.rsplit('.', 1)[-1]}={value}" for axis, value in run.coords.items())
    return f"{run.cell['method']['name']} ({run.role})" if run.role != "claim" else "–"


def _counts(runs: Sequence[Run]) -> str:
    names = [run.outcome or run.status if run.status == "ok" else run.status for run in runs]
    return ", ".join(f"{names.count(name)} {name.replace('_', ' ')}" for name in sorted(set(names)))


def _medians(runs: Sequence[Run]) -> str:
    from statistics import median

    labels = {label: None for run in runs for label in run.scalars}
    parts = []
    for label in labels:
        found = [(run, value) for run in runs if (value := run.scalars.get(label)) is not None]
        values = [value for _, value in found]
        doubtful = sum(1 for run, _ in found if uncertified(run, label))
        notes = [f"{len(values)} of {len(runs)} seeds"] if 0 < len(values) < len(runs) else []
        notes += [f"{doubtful} {UNCERTIFIED}"] if doubtful else []
        text = f"{label} {tables.number(median(values)) if values else '–'}"
        parts.append(f"{text} ({', '.join(notes)})" if notes else text)
    return ", ".join(parts)


def _record(run: Run) -> dict[str, Any]:
    return {
        "task": run.task,
        **run.coords,
        "method": run.cell["method"]["name"],
        "role": run.role,
        "seed": run.seed,
        "status": run.status,
        "outcome": run.outcome,
        "message": run.message,
        **run.scalars,
        "uncertified": [label for label, value in run.scalars.items() if value is not None and uncertified(run, label)],
        "steps": run.steps,
        "work": run.work,
        "digest": run.digest,
        "code": run.code,
    }
