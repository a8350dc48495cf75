"""The series metrics of gradient descent's convergence, on planted curves and on a quadratic bowl."""

import dataclasses

import numpy as np
import pytest

from tangentbench.tasks.metrics import Series, series


def run(loss, *, every: int = 1, rate: float = 0.1, **curves) -> Series:
    loss = np.asarray(loss, float)
    last = len(loss) - 1
    return Series(
        loss=loss,
        steps=np.arange(last + 1),
        curves={label: np.asarray(curve, float) for label, curve in curves.items()},
        record_steps=np.unique(np.r_[np.arange(0, last + 1, every), last]),
        learning_rate=np.full(last, rate),
        work_per_step=8,
        n=8,
        outcome="monotone",
        converged=True,
    )


def test_convex_from():
    planted = run(np.ones(26), every=10, convexity_constant=[-1.0, 0.0, 0.5, -0.2])
    assert series.convex_from(planted) == 20.0  # zero is not positive, and a later relapse does not matter
    assert series.convex_from(run(np.ones(26), every=10, convexity_constant=[-1.0, -1.0, -1.0, 0.1])) == 25.0
    assert series.convex_from(run(np.ones(26), every=10, convexity_constant=[-1.0, -1.0, -1.0, np.nan])) is None


def test_decay_violation_of_planted_losses():
    exact = 2.0 * 0.95 ** np.arange(11)  # eta mu = 0.05
    assert series.decay_violation(run(exact, pl_constant=np.full(11, 0.5))) == pytest.approx(0.0, abs=1e-12)
    assert series.decay_violation(run(0.5 * exact, pl_constant=np.full(11, 0.5))) == pytest.approx(0.0, abs=1e-12)
    bumped = exact.copy()
    bumped[6] *= 3.0
    expected = 0.95 * (3 ** (1 / 6) - 1)
    assert series.decay_violation(run(bumped, pl_constant=np.full(11, 0.5))) == pytest.approx(expected, rel=1e-12)
    smallest = run(exact, every=5, pl_constant=[0.5, 0.9, 0.7])
    assert series.decay_violation(smallest) == pytest.approx(0.0, abs=1e-12)
    wrong = run(exact, every=5, pl_constant=[0.7, 0.9, 0.7])  # wrong on purpose: a mu that the run does not have
    assert series.decay_violation(wrong) == pytest.approx(0.02, rel=1e-12)
    rates = np.linspace(0.05, 0.15, 10)
    varying = dataclasses.replace(run(exact, pl_constant=np.full(11, 0.5)), learning_rate=rates)
    bounds = np.cumprod(1 - 0.5 * rates)
    expected = max(0.95 - bound ** (1 / t) for t, bound in enumerate(bounds, start=1))
    assert series.decay_violation(varying) == pytest.approx(expected, rel=1e-12)


def test_decay_violation_beyond_the_bounds():
    """A rate above 1/mu promises a loss of 0, which any other exceeds; one that is not finite gets no stand-in."""
    for constant, bound in ((9.9, 0.01), (10.0, 0.0), (20.0, 0.0)):  # eta mu = 0.99, 1 and 2 at the rate 0.1
        violation = series.decay_violation(run([2.0, 3.0, 0.5], pl_constant=[constant] * 3))
        assert violation == pytest.approx(1.5 - bound, rel=1e-9)
    planted = run([2.0, 1.0, 0.5], pl_constant=[2.0] * 3)
    late = dataclasses.replace(planted, learning_rate=np.array([0.1, 0.5]))  # the bound is 0.8, then 0
    assert series.decay_violation(late) == pytest.approx(0.5, rel=1e-12)
    for worst in (np.inf, np.nan):
        assert series.decay_violation(run([2.0, 1.0, worst], pl_constant=[0.5, 0.5, worst])) is None
    assert series.decay_violation(run([2.0, 0.0, 0.0], pl_constant=[0.5, np.nan, np.nan])) == pytest.approx(-0.95)


def test_decay_violation_without_a_value():
    for constants in (0.0, np.nan):  # no decay is promised, nothing is known
        assert series.decay_violation(run([2.0, 1.0], pl_constant=[constants] * 2)) is None
    assert series.decay_violation(run([2.0], pl_constant=[0.5])) is None
    sparse = dataclasses.replace(run([2.0, 1.0], pl_constant=[0.5, 0.5]), steps=np.array([0, 10]))
    with pytest.raises(ValueError, match="loss of every step"):
        series.decay_violation(sparse)


def bowl(rate: float, start: tuple[float, float] = (1.0, 1.0)) -> Series:
    """Gradient descent on L = (w1^2 + 9 w2^2)/2, whose mu along the run is at least 1 and whose beta is 9."""
    curvature, w = np.array([1.0, 9.0]), np.array(start)
    loss, constants = [], []
    for _ in range(31):
        loss.append(np.sum(curvature * w**2) / 2)
        constants.append(np.sum((curvature * w) ** 2) / (2 * loss[-1]))
        w = w - rate * curvature * w
    return run(loss, rate=rate, pl_constant=constants, sharpness=np.full(31, 9.0))


@pytest.mark.parametrize("share", [0.2, 0.6, 1.0])
def test_the_theorem_on_a_bowl(share):
    """At rates up to 1/beta the loss stays below (1 - eta mu)^t L_0; above 2/beta it does not."""
    violation = series.decay_violation(bowl(share / 9))
    assert violation is not None and violation <= 0.0
    assert series.rate_times_sharpness(bowl(share / 9)) == pytest.approx(share, rel=1e-12)
    for start in ((1.0, 0.001), (1.0, 1.0)):  # nearly flat at first, so that eta mu = 0.28; and steep, where it is 2.3
        above = series.decay_violation(bowl(2.5 / 9, start=start))
        assert above is not None and above > 0.1


def test_rate_times_sharpness():
    planted = run(np.ones(26), every=10, rate=0.5, sharpness=[1.0, 3.0, 2.0, 2.5])
    assert series.rate_times_sharpness(planted) == 1.5
    rates = np.where(np.arange(25) < 20, 0.1, 0.5)
    assert series.rate_times_sharpness(dataclasses.replace(planted, learning_rate=rates)) == 1.25  # at the last step's
    assert series.final_rate_times_sharpness(dataclasses.replace(planted, learning_rate=rates)) == 1.25
    assert series.final_rate_times_sharpness(dataclasses.replace(planted, learning_rate=rates[::-1])) == 0.25
    for metric in (series.rate_times_sharpness, series.final_rate_times_sharpness):
        assert metric(run([1.0], sharpness=[4.0])) is None
        assert metric(run(np.ones(2), sharpness=[np.nan, np.nan])) is None
    assert series.rate_times_sharpness(run(np.ones(2), sharpness=[np.nan, 1.0])) is None


@pytest.mark.parametrize(
    ("name", "curve"),
    [
        ("convex_from", "convexity_constant"),
        ("decay_violation", "pl_constant"),
        ("rate_times_sharpness", "sharpness"),
        ("final_rate_times_sharpness", "sharpness"),
    ],
)
def test_the_curve_needed_is_named(name, curve):
    with pytest.raises(ValueError, match=f"{name} needs the curve '{curve}'"):
        getattr(series, name)(run([1.0, 0.5]))
