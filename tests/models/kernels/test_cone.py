"""The smallest loss in the cone against a general solver, and the projection against its characterisation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from tangentbench import models
from tangentbench.models.kernels import average_gradient, least_in_cone, loss_on, project_onto_cone

KEY = jax.random.PRNGKey(5)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("kappa", [0.1, 0.5, 0.9, 1.0])
def test_the_projection_is_the_nearest_point(kappa):
    """p is the nearest point to v of a convex set if and only if ⟨v − p, q − p⟩ ≤ 0 for all its points q."""
    rng = np.random.default_rng(0)
    axis = rng.normal(size=4)
    axis /= np.linalg.norm(axis)
    across = rng.normal(size=(500, 4))
    across -= np.outer(across @ axis, axis)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    cosines = rng.uniform(kappa, 1, 500)
    cosines[:250] = kappa
    points = rng.exponential(2, (500, 1)) * (cosines[:, None] * axis + np.sqrt(1 - cosines[:, None] ** 2) * across)
    projected = jax.jit(jax.vmap(lambda v: project_onto_cone(v, jnp.asarray(axis), kappa)))
    kinds = set()
    for v, p in zip(vectors := rng.normal(size=(60, 4)), np.asarray(projected(jnp.asarray(vectors))), strict=True):
        assert p @ axis >= kappa * np.linalg.norm(p) - 1e-12
        assert np.max((points - p) @ (v - p)) <= 1e-12
        moved = np.linalg.norm(v - p)
        kinds.add("inside" if moved < 1e-12 else "apex" if np.linalg.norm(p) < 1e-12 else "edge")
        if np.linalg.norm(p) > 1e-9 and moved > 1e-9:  # wrong on purpose: pushed to the edge, but not the nearest
            assert np.max(([p, *points] - 0.9 * p) @ (v - 0.9 * p)) > 1e-6
    assert kinds >= ({"edge", "apex"} if kappa in (0.9, 1.0) else {"inside", "edge"})


@eqx.filter_jit
def smallest(model, x, y, kappa, steps=1000):
    return least_in_cone(model, mse, x, y, KEY, kappa=kappa, steps=steps)


def mse(f, y):
    return jnp.mean((f - y) ** 2)


def problem(offset):
    rng = np.random.default_rng(3)
    model = models.Wide(3, 1, key=jax.random.key(1), depth=1, width=4, activation="tanh")
    x = jnp.asarray(rng.normal(size=(6, 3)) + offset)
    return model, x, jnp.asarray(0.3 * rng.normal(size=(6, 1)))


@pytest.mark.parametrize(("offset", "kappa"), [(0.0, 0.9), (1.5, 0.9), (1.5, 0.7)])
def test_the_smallest_loss_in_the_cone(offset, kappa):
    model, x, y = problem(offset)
    objective, origin, _ = loss_on(model, mse, x, y)
    axis = np.array(average_gradient(model, x))
    axis /= np.linalg.norm(axis)
    both = jax.jit(jax.value_and_grad(lambda d: objective(origin + d)))

    def value_and_slope(d):
        value, slope = both(d)
        return float(value), np.array(slope)

    halves = []
    for sign in (1, -1):
        cone = {
            "type": "ineq",
            "fun": lambda d, sign=sign: sign * d @ axis - kappa * np.sqrt(d @ d + 1e-24),
            "jac": lambda d, sign=sign: sign * axis - kappa * d / np.sqrt(d @ d + 1e-24),
        }
        starts = [scale * sign * axis for scale in (0.01, 0.3)]
        found = [
            minimize(
                value_and_slope, start, jac=True, constraints=[cone], method="SLSQP",
                options={"ftol": 1e-15, "maxiter": 2000},
            )
            for start in starts
        ]  # fmt: skip
        halves.append(min(result.fun for result in found if cone["fun"](result.x) > -1e-9))
    here = float(objective(origin))
    got = smallest(model, x, y, kappa)
    assert float(got.value) == pytest.approx(min(halves), rel=1e-6)
    assert float(got.residual) < 1e-3 * (here - float(got.value))
    assert min(halves) < here - 1e-4
    # wrong on purpose: one half of the cone only; and no cone at all
    assert max(halves) > min(halves) + 1e-4
    free = minimize(value_and_slope, np.zeros(len(axis)), jac=True)
    assert free.fun < min(halves) - 1e-4


def test_the_residual_shows_too_few_steps():
    model, x, y = problem(0.0)
    short, long = smallest(model, x, y, 0.9, 3), smallest(model, x, y, 0.9)
    gap = float(short.value - long.value)
    assert gap > 1e-4 and float(short.residual) > gap


def test_no_cone_no_value():
    """Without an average gradient the cone has no meaning."""
    model, x, y = problem(0.0)
    assert np.isnan(smallest(model, 0 * x, y, 0.9, 3).value)


def test_the_residual_shows_a_descent_that_has_not_settled():
    """A direction of little curvature: the gradient mapping alone (wrong on purpose) would call this settled."""
    x = jnp.asarray([[1.0, 0.02], [-1.0, 0.02]])
    linear = eqx.nn.Linear(2, 1, use_bias=False, key=KEY)
    model = eqx.tree_at(lambda m: m.weight, linear, jnp.zeros((1, 2)))
    y = jnp.asarray([[2.0], [0.0]])
    short, long = smallest(model, x, y, 0.5, 100), smallest(model, x, y, 0.5, 4000)
    gap = float(short.value - long.value)
    assert gap > 0.3 and float(short.residual) > gap


def test_no_descent_without_curvature():
    """Where the loss curves downwards in all directions there is no step 1/β."""

    class Falling(eqx.Module):
        w: jax.Array

        def __call__(self, x):
            return -jnp.sum(self.w**2)[None] + jnp.sum(self.w)[None] + 0 * x[:1]

    model = Falling(jnp.ones(3))
    found = eqx.filter_jit(
        lambda m: least_in_cone(m, lambda f, y: jnp.mean(f - y), jnp.ones((2, 1)), jnp.zeros((2, 1)), KEY, kappa=0.5)
    )(model)
    assert np.isnan(found.value)
