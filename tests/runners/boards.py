"""Stand-ins for a loaded task: real cells and claims, and runs that were never computed."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tangentbench.runners.results import Run
from tangentbench.tasks.spec import Cell, Claim, Leaderboard, Paper

SEEDS = list(range(8))


def make_cell(coords: dict[str, Any] | None = None, **changes: Any) -> Cell:
    fields: dict[str, Any] = {
        "task": "family/task", "version": 1, "stream": 1, "dataset": {"name": "sphere"}, "model": {"name": "wide"},
        "loss": "mse", "method": {"name": "gd"}, "stop": {"steps": 0}, "record": {"every": 1},
        "precision": "float32", "metrics": [], "coords": coords or {}, "seeds": SEEDS,
    }  # fmt: skip
    return Cell(**{**fields, **changes})


def make_task(*claims: dict[str, Any], leaderboard: Leaderboard | None = None) -> Any:
    built = tuple(Claim(**{"says": "It is so.", **claim}) for claim in claims)
    paper = Paper(arxiv="2205.11787")
    return SimpleNamespace(
        id="family/task", title="A task", paper=paper, claims=built, leaderboard=leaderboard, tier="smoke"
    )


def make_run(cell: Cell, seed: int, **changes: Any) -> Run:
    fields: dict[str, Any] = {
        "task": cell.task, "cell": cell.model_dump(mode="json"), "coords": cell.coords, "digest": cell.digest,
        "code": "current", "seed": seed, "tier": "smoke", "role": cell.role, "status": "ok", "outcome": "monotone",
        "certificates": {"learning_rate.critical.residual": 0.0},
    }  # fmt: skip
    return Run(**{**fields, **changes})


def runs_of(values: Callable[[Cell, int], Any]) -> Callable[[Cell, int], Run | None]:
    """A lookup: `values(cell, seed)` is a number for the metric `m`, fields of a run, or None for no run."""

    def find(cell: Cell, seed: int) -> Run | None:
        value = values(cell, seed)
        if value is None:
            return None
        return make_run(cell, seed, **(value if isinstance(value, dict) else {"scalars": {"m": value}}))

    return find
