"""How a task is answered: methods, compiled training, the store, and the boards read from it.

The four functions are the command line in Python. They import no jax; the worker process does.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

    from .claims import Verdict
    from .leaderboard import Arena

__all__ = ["claims_board", "leaderboard_board", "run"]

DEFAULT_RESULTS = "results"


def _planned(tasks: str | Iterable[str] | None, tier: str, seeds: int | None, base_seed: int) -> Any:
    from ..tasks import load
    from . import suite

    names = [tasks] if isinstance(tasks, str) else list(tasks or load.suite())
    return suite.plan([t for name in names for t in load.find([name], tier=tier)], tier, seeds=seeds, base_seed=base_seed)


def run(
    tasks: str | Iterable[str] | None = None,
    *,
    tier: str = "laptop",
    results: str | Path = DEFAULT_RESULTS,
    seeds: int | None = None,
    base_seed: int = 0,
    jobs: int = 1,
    fresh: bool = False,
) -> pandas.DataFrame:
    """Runs what is missing of some tasks (ids, globs or paths; the whole suite by default) and returns all their runs.

    Returns:
        One row per run and metric: task, sweep axes, method, seed, status, outcome, metric, value, and more
        (see `results.Store.frame`).

    Raises:
        tasks.load.TaskFileError: a task file is invalid.
        results.StoreError: the folder cannot be used.
    """
    from . import suite

    planned = _planned(tasks, tier, seeds, base_seed)
    store, code = suite.open_store(results)
    suite.run_missing(planned, store, code=code, jobs=jobs, fresh=fresh)
    runs = suite.lookup(store, code)
    cells = planned.first_wave + suite.second_wave(planned, runs)
    found = [runs(cell, seed) for cell in cells for seed in cell.seeds]
    return store.frame([r for r in found if r is not None])
