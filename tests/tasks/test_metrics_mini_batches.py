"""Metrics of the steps on their own batches: planted runs, and a network's steps written out."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from tangentbench.tasks.metrics import Series, mini_batches

AMONG = ("above", "below", "sharpest")


def run(batch, rate: Any = 1.0) -> Series:
    steps = len(batch["batch_critical_rate"])
    return Series(
        loss=np.array([1.0, 0.5]),
        steps=np.array([0, steps]),
        curves={},
        record_steps=np.array([0, steps]),
        learning_rate=np.broadcast_to(np.asarray(rate, float), steps),
        work_per_step=5,
        n=20,
        outcome="monotone",
        converged=True,
        batch={label: np.asarray(curve, float) for label, curve in batch.items()},
    )


FOUR = {
    "batch_loss_before": np.ones(4),
    "batch_loss_after": np.array([2.0, 0.5, 2.0, 2.0]),
    "batch_critical_rate": np.array([0.5, 0.5, 2.0, 0.5]),
    "batch_top_before": np.full(4, 0.25),
    "batch_top_after": np.array([0.5, 0.5, 0.1, 0.1]),
}
EMPTY = {label: np.zeros(0) for label in FOUR}


def test_sgd_catapults_in_number_and_per_step():
    assert mini_batches.sgd_catapults(run(FOUR)) == 2.0
    assert mini_batches.sgd_catapult_rate(run(FOUR)) == 0.5
    longer = run({label: np.tile(curve, 3) for label, curve in FOUR.items()})
    assert mini_batches.sgd_catapults(longer) == 6.0
    assert mini_batches.sgd_catapult_rate(longer) == 0.5
    assert mini_batches.sgd_catapults(run(EMPTY)) == 0.0
    assert mini_batches.sgd_catapult_rate(run(EMPTY)) is None


@pytest.mark.parametrize("name", ["sgd_catapults", "sgd_catapult_rate", "batch_loss_rises", "batch_top_rises"])
def test_a_curve_that_was_not_recorded(name):
    part = "top" if name == "batch_top_rises" else "loss"
    less = {label: curve for label, curve in FOUR.items() if label != f"batch_{part}_after"}
    with pytest.raises(ValueError, match=f"{name} needs batch_{part}_after, recorded at every step of the run"):
        getattr(mini_batches, name)(run(less))


def test_rises_among_the_steps_above_and_below():
    # above critical are steps 0, 1 and 3: the loss rises at 0 and 3, its leading part at 0 and 1
    assert mini_batches.batch_loss_rises(run(FOUR)) == 2 / 3
    assert mini_batches.batch_loss_rises(run(FOUR), among="below") == 1.0
    assert mini_batches.batch_top_rises(run(FOUR)) == 2 / 3
    assert mini_batches.batch_top_rises(run(FOUR), among="below") == 0.0
    assert mini_batches.batch_loss_rises(run(FOUR, 0.1), among="above") is None
    assert mini_batches.batch_loss_rises(run(FOUR, 9.0), among="below") is None
    # each step with its own rate: 0.1, 1, 1 and 9 leave steps 1 and 3 above
    assert mini_batches.batch_loss_rises(run(FOUR, [0.1, 1.0, 1.0, 9.0])) == 0.5
    for among in AMONG:
        assert mini_batches.batch_top_rises(run(EMPTY), among=among) is None
    with pytest.raises(ValueError, match="batch_loss_rises: among must be above, below or sharpest; got 'all'"):
        mini_batches.batch_loss_rises(run(FOUR), among="all")  # pyright: ignore[reportArgumentType]


def test_rises_on_the_batches_of_the_lowest_critical_rate():
    critical = np.linspace(1.0, 3.0, 40)
    after = np.where(np.arange(40) < 3, 2.0, 0.5)  # the loss rises on the three lowest
    order = np.random.default_rng(0).permutation(40)
    batch = {"batch_loss_before": np.ones(40), "batch_loss_after": after, "batch_critical_rate": critical}
    shuffled = {label: curve[order] for label, curve in batch.items()}
    assert mini_batches.batch_loss_rises(run(shuffled, 0.9), among="sharpest") == 3 / 4
    assert mini_batches.batch_loss_rises(run(shuffled, 0.9)) is None  # no rate is above critical
    assert mini_batches.batch_loss_rises(run(shuffled, 0.9), among="below") == 3 / 40
    # what counts is the rate in units of the critical one: here the four last are the sharpest
    assert mini_batches.batch_loss_rises(run(batch, critical**2), among="sharpest") == 0.0
    assert mini_batches.batch_loss_rises(run({k: v[:5] for k, v in batch.items()}), among="sharpest") == 1.0


def test_noise_and_broken_steps_raise_nothing():
    noise = 1 + 1e-8 * np.random.default_rng(1).uniform(-1, 1, (2, 100))
    batch = {"batch_loss_before": noise[0], "batch_loss_after": noise[1], "batch_critical_rate": np.full(100, 0.5)}
    assert np.mean(noise[1] > noise[0]) > 0.3  # wrong on purpose
    assert mini_batches.batch_loss_rises(run(batch)) == 0.0
    broken = FOUR | {"batch_loss_after": np.array([np.inf, np.nan, 2.0, 2.0])}
    assert mini_batches.batch_loss_rises(run(broken)) == 1 / 3
    dead = FOUR | {"batch_critical_rate": np.array([0.5, np.nan, 2.0, 0.5])}  # neither above nor sharp
    assert mini_batches.batch_loss_rises(run(dead)) == 1.0
    assert mini_batches.batch_loss_rises(run(dead), among="below") == 0.5
    assert mini_batches.batch_loss_rises(run(dead), among="sharpest") == 1.0


# -- linear regression, where theory is exact -------------------------------------------------------------------------


def regression(rate_over_critical: float, seed: int = 0, steps: int = 400, size: int = 5) -> Series:
    """Mini-batch steps on a linear model, each in numpy and in the basis of its batch's kernel."""
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((60, 20)), rng.standard_normal(20)
    y = x @ rng.standard_normal(20) + rng.standard_normal(60)  # so that the loss does not vanish
    rate = rate_over_critical * np.median(
        [size / np.linalg.eigvalsh(b @ b.T)[-1] for b in (x[rng.choice(60, size)] for _ in range(50))]
    )
    rows = []
    for _ in range(steps):
        chosen = rng.choice(60, size, replace=False)
        xb, yb = x[chosen], y[chosen]
        values, vectors = np.linalg.eigh(xb @ xb.T)
        before = xb @ w - yb
        w = w - rate * 2 / size * xb.T @ before
        after = xb @ w - yb
        losses = [np.mean(r**2) for r in (before, after)]
        tops = [(vectors[:, -1] @ r) ** 2 / size for r in (before, after)]
        rows.append([*losses, *tops, size / values[-1]])
        if losses[1] > 1e6:
            break
    labels = ("batch_loss_before", "batch_loss_after", "batch_top_before", "batch_top_after", "batch_critical_rate")
    return run(dict(zip(labels, np.transpose(rows), strict=True)), rate)


@pytest.mark.parametrize("rate", [0.7, 1.0, 1.2])
def test_the_leading_part_of_a_linear_model_rises_exactly_above_critical(rate):
    steps = regression(rate)
    assert mini_batches.batch_top_rises(steps, among="above") == 1.0
    assert mini_batches.batch_top_rises(steps, among="below") == 0.0
    assert mini_batches.batch_loss_rises(steps, among="below") == 0.0  # no part of it grows there
    whole = mini_batches.batch_loss_rises(steps, among="above")
    assert whole is not None and whole < 0.9  # the rest falls
    # wrong on purpose: one critical rate for all batches, and twice or half each batch's own
    critical = steps.batch["batch_critical_rate"]
    for wrong in (np.full_like(critical, np.median(critical)), 1.5 * critical, critical / 1.5):
        shifted = dataclasses.replace(steps, batch=steps.batch | {"batch_critical_rate": wrong})
        shares = (mini_batches.batch_top_rises(shifted), mini_batches.batch_top_rises(shifted, among="below"))
        assert shares != (1.0, 0.0)


# -- critical rates ---------------------------------------------------------------------------------------------------


def test_batch_critical_rate():
    mini = run({"batch_critical_rate": np.array([4.0, 1.0, 2.0, 9.0, 3.0])})
    assert mini_batches.batch_critical_rate(mini) == 3.0
    assert mini_batches.batch_critical_rate(mini, reduce="min") == 1.0
    assert mini_batches.batch_critical_rate(run({"batch_critical_rate": np.array([4.0, np.nan])})) is None
    assert mini_batches.batch_critical_rate(run(EMPTY)) is None
    with pytest.raises(ValueError, match="reduce must be min or median; got 'mean'"):
        mini_batches.batch_critical_rate(mini, reduce="mean")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="batch_critical_rate needs batch_critical_rate, recorded at every step"):
        mini_batches.batch_critical_rate(dataclasses.replace(mini, batch={}))
