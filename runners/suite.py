"""Tasks to boards: what has to run, in two waves, and what is then read from the store.

The first wave holds every cell that a claim or a tuning needs; the second the scoring of each method at the grid point
that its tuning chose. No jax here: the worker has it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..tasks import load, plug_ins
from ..tasks.spec import Cell
from . import arenas as boards
from . import provenance, schedule
from . import verdicts as judge
from .arenas import Arena
from .results import Lookup, Store
from .verdicts import Verdict

Notify = Callable[[schedule.Event], None]


@dataclass(frozen=True)
class Plan:
    """Loaded tasks with their cells of the first wave, at one tier and choice of seeds."""

    tasks: tuple[load.Task, ...]
    cells: dict[str, tuple[Cell, ...]]
    tier: str
    seeds: int | None
    base_seed: int

    @property
    def first_wave(self) -> list[Cell]:
        return [cell for task in self.tasks for cell in self.cells[task.id]]


def plan(tasks: Iterable[load.Task], tier: str, *, seeds: int | None = None, base_seed: int = 0) -> Plan:
    """The cells of some tasks; ``seeds`` replaces the number of seeds that each task declares."""
    plug_ins.distribution.cache_clear()  # a session may have edited one since
    tasks = tuple(tasks)
    cells = {task.id: tuple(load.cells(task, seeds=seeds, base_seed=base_seed)) for task in tasks}
    return Plan(tasks, cells, tier, seeds, base_seed)


def second_wave(planned: Plan, runs: Lookup) -> list[Cell]:
    """The scoring cell of every method whose tuning is complete."""
    return [cell for task in planned.tasks for cell in _scored(planned, task, runs)]


def _scored(planned: Plan, task: load.Task, runs: Lookup) -> list[Cell]:
    if task.leaderboard is None:
        return []
    choices = boards.choose(task, planned.cells[task.id], runs).values()
    score = _score_cell(planned)
    return [score(task, c.method, c.point) for c in choices if c.state == "chosen" and c.point is not None]


def lookup(store: Store, code: str, *, any_code: bool = False) -> Lookup:
    """Runs by (cell, seed), of the current code or, with ``any_code``, of the newest."""
    return store.lookup(lambda cell: cell.digest, code, any_code=any_code)


def run_missing(
    planned: Plan,
    store: Store,
    *,
    code: str,
    argv: Sequence[str] = (),
    jobs: int | None = None,
    fresh: bool = False,
    notify: Notify = lambda event: None,
    crew: schedule.Crew | None = None,
) -> int:
    """Runs what the store lacks, both waves, and returns how many runs were computed; ``crew``: by its workers."""
    options = {"code": code, "tier": planned.tier, "argv": argv, "jobs": jobs, "fresh": fresh, "notify": notify}
    with contextlib.nullcontext(crew) if crew is not None else schedule.Crew() as crew:
        done = schedule.execute(planned.first_wave, store, crew=crew, title=_first_title(planned), **options)
        scores = second_wave(planned, lookup(store, code))
        if scores:
            done += schedule.execute(scores, store, crew=crew, title="scoring on the arenas", **options)
        return done


def _first_title(planned: Plan) -> str:
    opens = [task.leaderboard is not None for task in planned.tasks]
    words = {"tasks": not all(opens), "tuning for the arenas": any(opens)}
    return " and ".join(word for word, needed in words.items() if needed)


def arenas(planned: Plan, runs: Lookup, code: str | None = None) -> list[Arena]:
    """The leaderboard of every task that opens an arena."""
    score = _score_cell(planned)
    return [
        boards.board(task, planned.cells[task.id], runs, score_cell=score, code=code)
        for task in planned.tasks
        if task.leaderboard is not None
    ]


def verdicts(planned: Plan, runs: Lookup, code: str | None = None) -> list[Verdict]:
    """The verdict of every claim and control."""
    found = []
    for task in planned.tasks:
        scored = _scored(planned, task, runs) if task.claims else []
        found += judge.evaluate(task, [*planned.cells[task.id], *scored], runs, code=code)
    return found


def open_store(results: str | Path) -> tuple[Store, str]:
    """The store and the digest of the current code."""
    return Store(results, create=True), provenance.code_digest()


def _score_cell(planned: Plan) -> Callable[[load.Task, str, dict], Cell]:
    return lambda task, method, point: load.score_cell(
        task, method, point, seeds=planned.seeds, base_seed=planned.base_seed
    )
