"""Two scientific metrics over commits, with seeds as samples.

asv takes smaller for better, and compares ratios: only positive metrics of which less is better are exported here.
The boards of `tangentbench` know directions, intervals and pairs; asv's pages show the history. A failed or diverged
seed fails the benchmark: it has a status and an outcome in the store, and no number here may stand for it.
"""

import hashlib
from pathlib import Path
from typing import Any

SUITE = Path(__file__).resolve().parent.parent / "tasks" / "suite"
HESSIAN, DIGITS = "constant_kernel/hessian_norm", "quadratic/expansions_digits"
Samples = dict[str, Any]


def task_file(task: str) -> str:
    """The task as the working tree has it: the same question to the package of every commit."""
    return str(SUITE / f"{task}.yaml")


def task_digest(task: str) -> str:
    """What the task means at the smoke tier; asv never compares results of two versions."""
    from tangentbench.tasks import load

    cells = load.cells(load.load_task(task_file(task), tier="smoke"))
    return hashlib.sha256("".join(cell.digest for cell in cells).encode()).hexdigest()[:24]


def setup_cache() -> dict[str, Any]:
    """Run the tasks once for all benchmarks below; their runs lie in asv's temporary folder."""
    from tangentbench.runners import run

    return {task: run(task_file(task), tier="smoke", results="results") for task in (HESSIAN, DIGITS)}


setup_cache.timeout = 900  # pyright: ignore[reportFunctionMemberAccess]


def samples(table: Any, metric: str, **where: Any) -> Samples:
    """The metric's value for every seed of one cell, in the form that asv keeps as samples.

    Raises:
        ValueError: a seed is missing, failed, diverged, or has no number.
    """
    rows = table[table["metric"] == metric]
    for axis, value in where.items():
        rows = rows[rows[axis.replace("__", ".")] == value]
    values = [float(value) for value in rows.sort_values("seed")["value"]]
    failed = set(rows["status"]) != {"ok"} or "divergent" in set(rows["outcome"])
    if len(values) < 8 or failed or any(value != value for value in values):
        raise ValueError(f"{metric}: expected numbers from 8 seeds, got\n{rows}")
    return {"samples": values, "number": 1}


def track_hessian_norm(cache: dict[str, Any]) -> Samples:
    """Norm of the predictor Hessian of the widest network: how far from linear."""
    return samples(cache[HESSIAN], "hessian_norm", model="wide", model__width=256)


def track_test_loss(cache: dict[str, Any]) -> Samples:
    """Test loss of the network that catapulted, on handwritten digits."""
    return samples(cache[DIGITS], "test_loss", model="network", method__learning_rate__critical=1.5)


for _function, _task, _unit in ((track_hessian_norm, HESSIAN, "norm"), (track_test_loss, DIGITS, "loss")):
    _function.unit = _unit  # pyright: ignore[reportFunctionMemberAccess]
    _function.timeout = 60  # pyright: ignore[reportFunctionMemberAccess]
    _function.version = task_digest(_task)  # pyright: ignore[reportFunctionMemberAccess]
