"""The suite's claims on the number of catapults, decided from planted runs with 0, 1 and 2 of them."""

import numpy as np
import pytest

from tangentbench.runners.verdicts import evaluate
from tangentbench.tasks import load
from tangentbench.tasks.metrics import count_catapults_gd

from .boards import make_run

EXPECTED = {
    "one_raise_catapults_once": "holds",
    "two_raises_catapult_twice": "holds",
    "raises_below_critical_do_not_catapult": "rejected",
}


def planted(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Loss and kernel of a run with `count` catapults, and what is none beside them: rounding noise of 1e-8, a rise
    to twice the loss while the kernel falls, and a tall one while it falls by 1% only."""
    rng = np.random.default_rng(seed)
    loss, kernel, level = [1.0], [1.0], 0.5
    plan = [(2.0, 0.9), (100.0, 0.99)] + [(rng.uniform(4, 400), rng.uniform(0.3, 0.9)) for _ in range(count)]
    for height, factor in [plan[i] for i in rng.permutation(len(plan))]:
        up = np.geomspace(level, level * height, 8)
        loss += [*np.geomspace(loss[-1], level, 10), *np.full(10, level), *up, *up[-2:0:-1]]
        kernel += [*np.full(20, kernel[-1]), *(kernel[-1] * np.geomspace(1, factor, 14))]
        level *= 0.4
    loss, kernel = np.array([*loss, level]), np.array([*kernel, kernel[-1]])
    return tuple(curve * (1 + 1e-8 * rng.uniform(-1, 1, curve.shape)) for curve in (loss, kernel))


def rising_runs(loss, kernel):
    return int(np.sum(np.diff(np.r_[0, np.diff(loss) > 0]) == 1))


def any_kernel(loss, kernel):
    return count_catapults_gd(loss, 0.5 ** np.arange(len(loss)))


def first_only(loss, kernel):
    return min(1, count_catapults_gd(loss, kernel))


def none(loss, kernel):
    return 0


def verdicts(rule, task_id: str) -> dict[str, str]:
    task = load.load_task(task_id)
    cells = load.cells(task)

    def run(cell, seed):
        raised = cell.coords["method.multiple"] > 1
        count = rule(*planted(cell.coords["method.raises"] if raised else 0, seed))
        return make_run(cell, seed, scalars={"catapults": float(count)})

    return {v.claim: v.verdict for v in evaluate(task, cells, run) if v.claim in EXPECTED}


@pytest.mark.parametrize("task_id", ["catapults/induced", "catapults/induced_digits"])
def test_counts_decide_the_claims(task_id):
    assert verdicts(count_catapults_gd, task_id) == EXPECTED
    for wrong in (rising_runs, any_kernel, first_only, none):
        assert verdicts(wrong, task_id) != EXPECTED
