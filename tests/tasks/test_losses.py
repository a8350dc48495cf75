"""Losses: their values, and the scale that ties their Hessian to the tangent kernel."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.tasks.losses import LOSSES

N = 5
VALUES = {  # written out entry by entry
    "mse": lambda r: sum(sum(e * e for e in row) for row in r) / len(r),
    "mse_mean": lambda r: sum(sum(e * e for e in row) for row in r) / (len(r) * len(r[0])),
    "half_mse": lambda r: 0.5 * sum(sum(e * e for e in row) for row in r) / len(r),
    "half_sse": lambda r: 0.5 * sum(sum(e * e for e in row) for row in r),
}
pairs = pytest.mark.parametrize(("name", "c"), [(name, c) for name in LOSSES for c in (1, 3)])


@pairs
def test_value(name, c):
    rng = np.random.default_rng(0)
    f, y = rng.standard_normal((2, N, c))
    with jax.enable_x64(True):
        value = float(LOSSES[name].value(jnp.asarray(f), jnp.asarray(y)))
    assert value == pytest.approx(VALUES[name]((f - y).tolist()), rel=1e-14)


@functools.cache
def gauss_newton(name: str, c: int) -> tuple[float, float]:
    """lambda_max of the dense Gauss-Newton Hessian, and of K, for a small nonlinear predictor."""
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(1), (N, 2), float)
        y = jax.random.normal(jax.random.key(2), (N, c), float)
        w0 = jax.random.normal(jax.random.key(3), (4 * (2 + c),), float)

        def predict(w):
            hidden, last = w[:8].reshape(2, 4), w[8:].reshape(4, c)
            return jnp.tanh(x @ hidden) @ last

        f0, jacobian = predict(w0), jax.jacobian(predict)(w0)
        # the Gauss-Newton Hessian is the Hessian of the loss of the linearised predictor
        hessian = jax.hessian(lambda w: LOSSES[name].value(f0 + jacobian @ (w - w0), y))(w0)
        rows = np.asarray(jacobian).reshape(N * c, -1)
        return float(np.linalg.eigvalsh(np.asarray(hessian))[-1]), float(np.linalg.eigvalsh(rows @ rows.T)[-1])


@pairs
def test_per_kernel(name, c):
    hessian, kernel = gauss_newton(name, c)
    assert LOSSES[name].per_kernel(N, c) * kernel == pytest.approx(hessian, rel=1e-12)


@pairs
def test_another_normalisation_is_noticed(name, c):
    hessian, kernel = gauss_newton(name, c)
    scale = LOSSES[name].per_kernel(N, c)
    others = {loss.per_kernel(N, c) for loss in LOSSES.values()} | {2.0, scale / c if c > 1 else 2 * scale}
    for wrong in others - {scale}:
        assert abs(wrong * kernel / hessian - 1) > 0.1


@pairs
def test_critical_rate_of_a_linear_model(name, c):
    """Gradient descent converges just below 2/(s lambda_max(K)) and diverges just above."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((N, 7)), rng.standard_normal((N, c))
    rate = 2 / (LOSSES[name].per_kernel(N, c) * np.linalg.eigvalsh(x @ x.T)[-1])  # K = x x^T (x) I_c

    def trained(factor: float) -> float:
        with jax.enable_x64(True):
            value, inputs, targets = LOSSES[name].value, jnp.asarray(x), jnp.asarray(y)
            gradient = jax.grad(lambda w: value(inputs @ w, targets))
            step = jax.jit(lambda w: jax.lax.fori_loop(0, 400, lambda _, w: w - factor * rate * gradient(w), w))
            w = np.asarray(step(jnp.zeros((7, c))))
        top = np.linalg.eigh(x @ x.T)[1][:, -1]
        return float(np.linalg.norm(top @ (x @ w - y)) / np.linalg.norm(top @ y))

    assert trained(0.98) < 1e-5
    assert trained(1.02) > 1e5


def test_hashable_and_named():
    assert len({hash(loss) for loss in LOSSES.values()}) == len(LOSSES)
    assert all(LOSSES[name].name == name for name in LOSSES)


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"predictions have shape \(5, 1\), targets \(5,\)"):
        LOSSES["mse"].value(jnp.zeros((5, 1)), jnp.zeros(5))
