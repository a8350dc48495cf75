"""Methods and schedules by themselves: factors against their formulas, and what a wrong wiring raises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.runners import methods

COSINE = {"name": "cosine", "alpha": 0.2}
LINEAR = {"name": "linear", "end": 0.1}
EXPONENTIAL = {"name": "exponential", "transition_steps": 3, "decay_rate": 0.7}
WARMUP = {"name": "warmup_cosine", "warmup_steps": 2, "alpha": 0.2}
T = 10


def half_cosine(share, alpha):
    return alpha + (1 - alpha) * (1 + np.cos(np.pi * min(share, 1))) / 2


FORMULAS = [
    (COSINE, lambda t: half_cosine(t / T, 0.2)),
    (LINEAR, lambda t: 1 + (0.1 - 1) * min(t / T, 1)),
    (EXPONENTIAL, lambda t: 0.7 ** (t / 3)),
    (WARMUP, lambda t: t / 2 if t < 2 else half_cosine((t - 2) / (T - 2), 0.2)),
]


@pytest.mark.parametrize(("spec", "formula"), FORMULAS, ids=lambda each: each["name"] if isinstance(each, dict) else "")
def test_a_schedule_is_its_formula_over_the_tasks_steps(spec, formula):
    with jax.enable_x64(True):
        factor = methods.schedule(spec, T)
        assert factor is not None
        found = [float(factor(jnp.asarray(t, jnp.float64))) for t in range(T + 3)]
    np.testing.assert_allclose(found, [formula(t) for t in range(T + 3)], rtol=1e-12)
    shifted = [formula(t + 1) for t in range(T)]
    assert np.max(np.abs(np.subtract(found[:T], shifted))) > 0.01  # off by one is noticed


def test_no_schedule_is_no_factor_and_an_unknown_one_is_named():
    assert methods.schedule(None, T) is None
    with pytest.raises(ValueError, match="unknown schedule 'step': choose cosine, linear"):
        methods.schedule({"name": "step"}, T)


def test_catapult_gd_refuses_a_schedule():
    with pytest.raises(ValueError, match="sets its own schedule"):
        methods.catapult_gd(lambda count: 0.1)


def test_catapult_gd_keeps_its_rate_between_raises():
    optimizer = methods.catapult_gd(0.5, multiple=2.0, period=3, raises=1)
    state, rates = optimizer.init(jnp.ones(2)), []
    for t in range(8):
        updates, state = optimizer.update(jnp.ones(2), state, critical_rate=jnp.asarray(10.0 + t))
        rates.append(-float(np.asarray(updates)[0]))
    assert rates == [0.5] * 3 + [26.0] * 5  # 2 × the critical rate at step 3, and no second raise
