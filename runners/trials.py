"""What `validate --run` finds out by running: whether a task runs, what its claims say, and what that is worth.

A claim that also holds where nothing is trained says nothing about training, and one that plain gradient descent does
not share says something about the method. So each task runs as it is written, with a null method (gradient descent at a
rate of 0: weights stay as they were drawn) and with a reference (full-batch gradient descent, at the task's own rate
where that is a rate of gradient descent, else at half the critical one; in an arena its frozen reference).

What a task costs is timed with workers of its own that find nothing compiled, as on a machine that never ran it.
"""

from __future__ import annotations

import statistics as stdlib_statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..tasks import load, registry
from ..tasks.spec import Cell
from . import cache, provenance, schedule, suite, verdicts
from .arenas import Row as Ranked
from .cost import BUDGET
from .results import Lookup, Store
from .suite import Plan
from .verdicts import Verdict
from .words import number

BROKEN = ("error", "timeout", "out_of_memory")
COLUMNS = ("task", "what", "as written", "null", "reference", "remark")
SHARING = ("gd", "sgd", "momentum", "nesterov")
"""Methods whose rate gradient descent can be run at, too; a step of Adam, say, has another length."""
REFERENCE_RATE = {"critical": 0.5}
NOTHING_COMPILED = {cache.VARIABLE: cache.OFF, "JAX_ENABLE_COMPILATION_CACHE": "false"}
Notify = Callable[[schedule.Event], None]


@dataclass(frozen=True)
class Trial:
    """What one task gave: rows of `COLUMNS`, and the exit code that they deserve.

    It is 2 if a run ended in error, timeout or out of memory, else 3 if a claim fails or a control is not rejected.
    """

    rows: tuple[dict[str, str], ...]
    exit_code: int


def run(
    names: Sequence[str], tier: str, *, jobs: int | None = None, notify: Notify = lambda event: None
) -> list[Trial]:
    """Runs valid tasks, given by id or path, at the smoke tier and at another; nothing is kept.

    Where the smoke tier fails, no other is tried.
    """
    return [_trial(name, tier, {"jobs": jobs, "notify": notify}) for name in names]


def _trial(name: str, tier: str, options: dict[str, Any]) -> Trial:
    tiers = load.load_tiers(name)
    rows: list[dict[str, str]] = []
    for each in dict.fromkeys(("smoke", tier)):
        task = tiers[each]
        with tempfile.TemporaryDirectory() as folder, schedule.Crew(NOTHING_COMPILED) as crew:
            store = Store(folder, create=True)
            planned, given = suite.plan([task], each), {**options, "crew": crew}
            began = time.monotonic()
            suite.run_missing(planned, store, code=provenance.code_digest(), **given)
            took = time.monotonic() - began
            found = list(store.runs())
            rows.append(_row(task, f"{each} tier", written=_ended(found), remark=_cost(took, each, found)))
            if any(run.status in BROKEN for run in found):
                return Trial(tuple(rows), 2)
            if each != tier:
                continue
            compare = _claims if task.leaderboard is None else _arena
            more, code = compare(planned, task, store, given)
            return Trial((*rows, *more), code)
    raise AssertionError("unreachable")  # the last of the tiers returns


# -- claims ------------------------------------------------------------------------------------------------------------


def _claims(planned: Plan, task: load.Task, store: Store, options: dict[str, Any]) -> tuple[list[dict[str, str]], int]:
    cells = planned.cells[task.id]
    written = suite.verdicts(planned, _lookup(store))
    if not written:
        return [], 0
    trained = any(cell.stop["steps"] for cell in cells)
    null = reference = None
    if trained:
        still, plain = [nullified(cell) for cell in cells], [referenced(cell) for cell in cells]
        _execute([*still, *plain], planned.tier, store, "the null and the reference method", options)
        null = _verdicts(planned, task, still, store)
        own = [cell.digest for cell in plain] == [cell.digest for cell in cells]
        reference = None if own else _verdicts(planned, task, plain, store)
    no = "its own method" if trained else "nothing is trained"
    said = [_said(verdict) for verdict in reference] if reference else [no] * len(written)
    return _judged(task, written, null, said, cells), verdicts.exit_code(written)


def _judged(
    task: load.Task, written: Sequence[Verdict], null: Sequence[Verdict] | None, reference: Sequence[str],
    cells: Sequence[Cell],
) -> list[dict[str, str]]:  # fmt: skip
    """A row for every claim and control, as it is written, under the null method, and under the reference."""
    of = {claim.id: claim.control for claim in task.claims}
    rejected = {of[verdict.claim] for verdict in written if verdict.verdict == "rejected"}
    return [
        _row(
            task,
            f"{verdict.claim} (control)" if verdict.control else verdict.claim,
            written=_said(verdict),
            null=_said(null[k]) if null else "nothing is trained",
            reference=reference[k],
            remark=_worth(verdict, null[k], cells, decided=verdict.claim in rejected) if null else "",
        )
        for k, verdict in enumerate(written)
    ]


def _worth(written: Verdict, null: Verdict, cells: Sequence[Cell], *, decided: bool) -> str:
    """What a claim is worth that holds under the null method, too; `decided`: a control of it is rejected."""
    if written.control or null.verdict != "holds":
        return ""
    at = {metric["at"] for cell in cells for metric in cell.metrics if metric["label"] == written.metric}
    if at == {"start"}:
        return "measured before training, whatever the method"
    worth = "its control decides" if decided else "alone it is worth nothing"
    return f"holds where nothing is trained, too: {worth}"


def nullified(cell: Cell) -> Cell:
    """The cell with weights that stay as they are: gradient descent at a rate of 0, and no search for a rate."""
    return cell.model_copy(update={"method": _gd({"value": 0.0}), "bisect": None}) if cell.stop["steps"] else cell


def referenced(cell: Cell) -> Cell:
    """The cell trained by full-batch gradient descent at the rate that it has, or at half the critical one.

    A rate of another method is none of gradient descent's, and neither is a search for one.
    """
    if not cell.stop["steps"]:
        return cell
    if cell.method["name"] in SHARING:
        return cell.model_copy(update={"method": _gd(cell.method["learning_rate"])})
    return cell.model_copy(update={"method": _gd(REFERENCE_RATE), "bisect": None})


def _gd(rate: dict[str, float]) -> dict[str, Any]:
    entry = registry.find("method", "gd")
    options = entry.schema()(learning_rate={"value": 1.0}).model_dump(mode="json")  # the schema refuses a rate of 0
    return {"name": "gd", **options, "learning_rate": rate}


def _verdicts(planned: Plan, task: load.Task, cells: Sequence[Cell], store: Store) -> list[Verdict]:
    """The verdicts of the task's claims with these cells in place of its own."""
    return suite.verdicts(replace(planned, cells={task.id: tuple(cells)}), _lookup(store))


def _said(verdict: Verdict) -> str:
    return f"{verdict.verdict} {number(verdict.value)}" if verdict.value is not None else verdict.verdict


# -- arenas ------------------------------------------------------------------------------------------------------------


def _arena(planned: Plan, task: load.Task, store: Store, options: dict[str, Any]) -> tuple[list[dict[str, str]], int]:
    """The frozen reference against what its method scores now, the target against weights that were never trained."""
    (arena,) = suite.arenas(planned, _lookup(store))
    rules = task.leaderboard
    assert rules is not None
    point = dict(registry.find("method", rules.reference.method).grid[0])
    cell = nullified(load.score_cell(task, rules.reference.method, point))
    _execute([cell], planned.tier, store, "the null method", options)
    runs = [_lookup(store)(cell, seed) for seed in cell.seeds]
    values = [run.scalars.get(rules.metric) for run in runs if run is not None and run.status == "ok"]
    known = [value for value in values if value is not None]
    untrained = stdlib_statistics.median(known) if known else None
    best = arena.rows[0]
    row = next((row for row in arena.rows if row.method == rules.reference.method), None)
    reached = untrained is not None and _reaches(untrained, rules.target, arena.direction)
    rows = [
        _row(task, rules.metric, written=f"{best.method} {_score(best)}", null=number(untrained),
             reference=f"{rules.reference.method} {_score(row)}", remark=_frozen(row, rules.reference.score)),
        _row(task, f"target {number(rules.target)}", written=_work(best), null="reached" if reached else "not reached",
             reference=_work(row), remark="reached where nothing is trained, too: worth nothing" if reached else ""),
    ]  # fmt: skip
    if not task.claims:
        return rows, 0
    competing = [*planned.cells[task.id], *suite.second_wave(planned, _lookup(store))]
    _execute([nullified(cell) for cell in competing], planned.tier, store, "the null method", options)
    still = verdicts.evaluate(task, competing, lambda cell, seed: _lookup(store)(nullified(cell), seed))
    own = suite.verdicts(planned, _lookup(store))
    return rows + _judged(task, own, still, [""] * len(own), competing), verdicts.exit_code(own)


def _reaches(value: float, target: float, direction: str) -> bool:
    return value >= target if direction == "higher" else value <= target


def _score(row: Ranked | None) -> str:
    return "–" if row is None else row.state if row.score is None else number(row.score)


def _work(row: Ranked | None) -> str:
    return "–" if row is None else f"reached by {row.reached} of {row.seeds} seeds"


def _frozen(row: Ranked | None, score: float) -> str:
    if row is None or row.low is None or row.high is None:
        return f"frozen at {number(score)}"
    if row.low <= score <= row.high:
        return f"frozen at {number(score)}, within its interval now"
    return f"frozen at {number(score)}, outside its interval now: [{number(row.low)}, {number(row.high)}]"


# -- both --------------------------------------------------------------------------------------------------------------


def _execute(cells: Sequence[Cell], tier: str, store: Store, title: str, options: dict[str, Any]) -> None:
    schedule.execute(cells, store, code=provenance.code_digest(), tier=tier, title=title, **options)


def _lookup(store: Store) -> Lookup:
    return suite.lookup(store, provenance.code_digest())


def _ended(runs: Iterable[Any]) -> str:
    counts = Counter(run.status.replace("_", " ") for run in runs)
    return ", ".join(f"{n} {status}" for status, n in counts.most_common()) or "no run"


def _cost(took: float, tier: str, runs: Sequence[Any]) -> str:
    failed = next((run for run in runs if run.status in BROKEN), None)
    if failed is not None:
        return failed.message
    allowed = BUDGET[tier]
    said = f"{took:.1f} s of {allowed:g} s"
    return said if took <= allowed else f"{said}: too slow for this tier, make it smaller"


def _row(
    task: load.Task, what: str, *, written: str = "", null: str = "", reference: str = "", remark: str = ""
) -> dict[str, str]:
    return dict(zip(COLUMNS, (task.id, what, written, null, reference, remark), strict=True))
