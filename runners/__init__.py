"""How a task is answered: methods, compiled training, the store, and the boards read from it.

The functions are the command line in Python. They import no jax; the worker process does.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

__all__ = ["claims", "compare", "leaderboard", "run"]

DEFAULT_RESULTS = "results"


def run(
    tasks: str | Iterable[str] | None = None,
    *,
    tier: str = "laptop",
    results: str | Path = DEFAULT_RESULTS,
    seeds: int | None = None,
    base_seed: int = 0,
    jobs: int | None = None,
    fresh: bool = False,
) -> pandas.DataFrame:
    """Runs what is missing of some tasks (ids, globs or paths; the whole suite by default) and returns all their runs.

    Returns:
        One row per run and metric: task, sweep axes, method, seed, status, outcome, metric, value, and more
        (see `results.Store.frame`).

    Raises:
        tasks.load.TaskFileError: a task file is invalid.
        tasks.registry.UnknownName: no task has this name.
        results.StoreError: the folder cannot be used.
    """
    from . import suite

    planned = _planned(tasks, tier, seeds, base_seed)
    store, code = suite.open_store(results)
    suite.run_missing(planned, store, code=code, argv=["tangentbench.runners.run"], jobs=jobs, fresh=fresh)
    runs = suite.lookup(store, code)
    cells = planned.first_wave + suite.second_wave(planned, runs)
    found = [runs(cell, seed) for cell in cells for seed in cell.seeds]
    return store.frame([r for r in found if r is not None])


def leaderboard(
    tasks: str | Iterable[str] | None = None,
    *,
    results: str | Path = DEFAULT_RESULTS,
    tier: str = "laptop",
    seeds: int | None = None,
    base_seed: int = 0,
) -> pandas.DataFrame:
    """The boards of the arenas among some tasks, from stored runs: one row per arena and method, best first.

    Columns are those of `arenas.Row`, with the task in front. Nothing is run; what is missing says so in ``state``.

    Raises:
        results.StoreError: there is no such results folder.
    """
    import pandas

    from . import suite

    planned, runs, code = _read(results, tasks, tier, seeds, base_seed)
    return pandas.DataFrame(
        [{"task": arena.task, **vars(row)} for arena in suite.arenas(planned, runs, code) for row in arena.rows]
    )


def claims(
    tasks: str | Iterable[str] | None = None,
    *,
    results: str | Path = DEFAULT_RESULTS,
    tier: str = "laptop",
    seeds: int | None = None,
    base_seed: int = 0,
) -> pandas.DataFrame:
    """The verdict of every claim and control of some tasks, from stored runs: one row each (`verdicts.Verdict`)."""
    import pandas

    from . import suite

    planned, runs, code = _read(results, tasks, tier, seeds, base_seed)
    return pandas.DataFrame([vars(verdict) for verdict in suite.verdicts(planned, runs, code)])


def compare(
    before: str | Path,
    after: str | Path,
    *,
    results: str | Path = DEFAULT_RESULTS,
    tier: str | None = None,
    folder: str | None = None,
) -> pandas.DataFrame:
    """What moved between two sides, from stored runs: one row per board place, metric, outcome, task's time, and so on.

    Columns are those of `compare_rows.Row`, and ``attrs`` says what was compared.

    Args:
        before, after: a results folder (also as ``dir:PATH``), or ``commit:REV``, whose runs are looked for in results.
        results: the store of commits.
        tier: which runs count; by default the only tier that a side has.
        folder: of more task files, for their arenas.

    Raises:
        results.StoreError: there are no such runs, or they cannot be compared.
    """
    import pandas

    from . import compare_rows, comparison

    found = comparison.between(str(before), str(after), results, tier, folder)
    table = pandas.DataFrame([vars(row) for row in found.rows], columns=list(compare_rows.Row.__dataclass_fields__))
    table.attrs.update(before=found.before, after=found.after, tier=found.tier, regressed=found.regressed)
    return table


def _planned(tasks: str | Iterable[str] | None, tier: str, seeds: int | None, base_seed: int) -> Any:
    from ..tasks import load
    from . import suite

    names = [tasks] if isinstance(tasks, str) else list(tasks or ())
    if seeds is not None and seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    found = load.find(names, tier=tier)
    if not found:
        raise LookupError(f"no task matches {', '.join(names)}; `tangentbench list` shows them all")
    return suite.plan(found, tier, seeds=seeds, base_seed=base_seed)


def _read(folder: str | Path, tasks: Any, tier: str, seeds: int | None, base_seed: int) -> tuple[Any, Any, str]:
    from . import provenance, suite
    from .results import StoreError

    planned, code = _planned(tasks, tier, seeds, base_seed), provenance.code_digest()
    if not Path(folder).is_dir():
        raise StoreError(f"there is no results folder {folder}; `run` makes it")
    return planned, suite.lookup(suite.Store(folder), code), code
