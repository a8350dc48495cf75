"""Restricted convexity against dense Hessians and brute force over the cone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.models.kernels import (
    average_gradient,
    convexity,
    curvature_across,
    curvature_in_cone,
    largest_hessian_norm,
    loss_on,
    minimum_across,
    minimum_in_cone,
)

KEY = jax.random.PRNGKey(11)
N = 8


def rotation(seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(N, N)))[0]


def matrix_of(values, seed=0):
    q = rotation(seed)
    return (q * np.asarray(values)) @ q.T


def brute_force(matrix, axis, kappa):
    """min uᵀAu over the cone: for each cosine c, the least of a quadratic on a sphere, by its secular equation.

    In the complement of the axis with A = [[a, bᵀ], [b, D]] and u = (c, √(1−c²) z): a sphere-constrained quadratic,
    solved by scanning its multiplier densely. Independent of Krylov spaces.
    """
    axis = axis / np.linalg.norm(axis)
    complement = np.linalg.svd(axis[None])[2][1:].T
    a, b = axis @ matrix @ axis, complement.T @ matrix @ axis
    values, vectors = np.linalg.eigh(complement.T @ matrix @ complement)
    b = vectors.T @ b
    least = np.inf
    for c in np.linspace(kappa, 1, 400):
        s = np.sqrt(max(1 - c**2, 0))
        if s == 0:
            least = min(least, a)
            continue
        low, high = values[0] - 1e6, values[0] - 1e-13
        for _ in range(200):  # ‖z‖ = 1 for z = −c/s (D − λ)⁻¹ b
            middle = (low + high) / 2
            long = np.linalg.norm(c / s * b / (values - middle)) > 1
            low, high = (low, middle) if long else (middle, high)
        z = -c / s * b / (values - low)
        z[0] += np.copysign(np.sqrt(max(1 - z @ z, 0)), z[0])  # the hard case: what is missing lies along the lowest
        z /= np.linalg.norm(z)
        least = min(least, c**2 * a + 2 * c * s * b @ z + s**2 * np.sum(values * z**2))
    return least


CASES = {
    "indefinite": matrix_of([-3, -1, 0, 0.5, 1, 2, 4, 9]),
    "positive": matrix_of([0.1, 0.2, 0.5, 1, 2, 3, 5, 9], seed=1),
    "low rank": matrix_of([0, 0, 0, 0, 0, 1, 4, 9], seed=2),
}


@pytest.fixture(scope="module")
def minimum():
    return jax.jit(lambda matrix, axis, kappa: minimum_in_cone(lambda v: matrix @ v, axis, kappa, N))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kappa", [0.05, 0.5, 0.95, 1.0])
def test_minimum_in_cone(minimum, name, kappa):
    matrix, axis = CASES[name], np.random.default_rng(5).normal(size=N)
    estimate, u = jax.device_get(minimum(jnp.asarray(matrix), jnp.asarray(axis), kappa))
    cosine = abs(u @ axis) / np.linalg.norm(axis)
    expected = brute_force(matrix, axis, kappa)
    assert np.linalg.norm(u) == pytest.approx(1, abs=1e-12)
    assert cosine >= kappa - 1e-9
    assert float(estimate.value) == pytest.approx(u @ matrix @ u, abs=1e-12)
    assert float(estimate.value) == pytest.approx(expected, abs=1e-5 * np.abs(matrix).max())  # a grid of cosines
    if kappa < 1:  # at 1 the cone is the axis alone, and nothing is minimised
        assert float(estimate.residual) < 1e-5 * np.abs(matrix).max()


def test_the_cone_matters_and_need_not_bind(minimum):
    matrix, axis = CASES["indefinite"], np.random.default_rng(5).normal(size=N)
    lowest, vectors = np.linalg.eigh(matrix)
    along = abs(vectors[:, 0] @ axis) / np.linalg.norm(axis)
    free, _ = minimum(jnp.asarray(matrix), jnp.asarray(axis), 0.9 * along)
    bound, _ = minimum(jnp.asarray(matrix), jnp.asarray(axis), min(1.0, along + 0.3))
    assert float(free.value) == pytest.approx(lowest[0], abs=1e-12)
    assert float(bound.value) > lowest[0] + 0.1  # wrong on purpose: the least eigenvalue, whatever the cone


def test_the_hard_case(minimum):
    """The lowest eigenvector is orthogonal to the axis, so that its Krylov space alone never shows it."""
    matrix = np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, -5.0])
    axis = np.r_[np.ones(7), 0.0]
    estimate, u = minimum(jnp.asarray(matrix), jnp.asarray(axis), 0.5)
    assert float(estimate.value) == pytest.approx(brute_force(matrix, axis, 0.5), abs=1e-4)
    assert abs(u[-1]) > 0.5


def test_the_residual_shows_too_few_steps():
    matrix, axis = CASES["indefinite"], np.random.default_rng(5).normal(size=N)
    estimate, _ = minimum_in_cone(lambda v: jnp.asarray(matrix) @ v, jnp.asarray(axis), 0.2, 3)
    assert float(estimate.value) > brute_force(matrix, axis, 0.2) + 1e-3
    assert float(estimate.residual) > 1e-2


@pytest.fixture(scope="module")
def across():
    return jax.jit(lambda matrix, axis: minimum_across(lambda v: matrix @ v, axis, N))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("turn", [1, -1])
def test_minimum_across(across, name, turn):
    matrix, axis = CASES[name], turn * np.random.default_rng(5).normal(size=N)
    complement = np.linalg.svd(axis[None])[2][1:].T
    expected = np.linalg.eigvalsh(complement.T @ matrix @ complement)[0]
    estimate, u = across(jnp.asarray(matrix), jnp.asarray(axis))
    assert abs(u @ axis) < 1e-12
    assert float(estimate.value) == pytest.approx(expected, abs=1e-11)
    assert float(estimate.residual) < 1e-10
    assert expected > np.linalg.eigvalsh(matrix)[0] + 1e-6 or name == "low rank"


# -- networks ---------------------------------------------------------------------------------------------------------


def half_sse(predictions, targets):
    return 0.5 * jnp.sum((predictions - targets) ** 2)


@eqx.filter_jit
def measure(model, x, y):
    """Everything that is measured of one network, as one program."""
    steps = 60  # more than the network has weights
    return {
        "gradient": average_gradient(model, x),
        "norm": largest_hessian_norm(model, x, KEY, steps),
        "near": curvature_in_cone(model, half_sse, x, y, KEY, kappa=0.6, radius=1e-3, steps=steps),
        "far": curvature_in_cone(model, half_sse, x, y, KEY, kappa=0.6, radius=0.5, steps=steps),
        "across": curvature_across(model, half_sse, x, y, radius=1e-3, steps=steps),
    }


@pytest.fixture(scope="module")
def case(tools):
    """A network, its data, its loss as a function of the weights with value, gradient and Hessian, and `measure`."""
    with jax.enable_x64(True):
        model = tools.family("wide", 3, depth=1, width=4, bias=True)
        x, y = tools.inputs(5, 4), tools.inputs(5, 3, seed=2)
        f, w = tools.flat_predictor(model)

        def loss(w):
            return half_sse(jax.vmap(lambda example: f(w, example))(x), y)

        value, slope, hessian = jax.jit(lambda w: (loss(w), jax.grad(loss)(w), jax.hessian(loss)(w)))(w)
        dense = np.asarray(w), float(value), np.asarray(slope), np.asarray(hessian)
        return model, x, jax.jit(jax.hessian(loss)), dense, measure(model, x, y)


def test_average_gradient(case, tools):
    model, x, *_, found = case
    np.testing.assert_allclose(found["gradient"], tools.jacobian(model, x).mean(axis=0), atol=1e-14)


def test_largest_hessian_norm(case, tools):
    model, x, *_, found = case
    norms = [np.abs(np.linalg.eigvalsh(tools.hessians(model, example))).max() for example in x]
    assert float(found["norm"].value) == pytest.approx(max(norms), rel=1e-9)
    assert np.mean(norms) < 0.95 * max(norms)
    assert float(found["norm"].residual) < 1e-9


@pytest.mark.parametrize(("name", "radius"), [("near", 1e-3), ("far", 0.5)])
def test_curvature_in_cone(case, name, radius):
    """The value is the mean of uᵀ∇²L u that its definition is, and near the weights the least of the cone."""
    _, _, hessian_at, (w, value, _, hessian), found = case
    mean, u, estimate = np.asarray(found["gradient"]), np.asarray(found[name].direction), found[name].estimate
    assert abs(np.linalg.norm(u) - 1) < 1e-10 and abs(u @ mean) / np.linalg.norm(mean) > 0.6 - 1e-9
    # ∫ 2(1 − t) uᵀ∇²L(w + tρu)u dt by Gauss's rule: no difference of losses, so that nothing cancels
    nodes, weights = np.polynomial.legendre.leggauss(12)
    curvatures = [u @ np.asarray(hessian_at(w + (1 + t) / 2 * radius * u)) @ u for t in nodes]
    expected = np.sum(weights * (1 - nodes) / 2 * curvatures)
    rounding = 8 * 2.3e-16 * 3 * value / radius**2
    assert float(estimate.value) == pytest.approx(expected, abs=rounding)
    assert abs(expected - curvatures[0]) > 1e-6 * radius  # wrong on purpose: the curvature where the step begins
    if name == "near":
        assert float(estimate.value) == pytest.approx(brute_force(hessian, mean, 0.6), abs=0.02)  # radius and grid
        assert float(estimate.value) > np.linalg.eigvalsh(hessian)[0] + 0.05  # wrong on purpose: no cone
        assert abs(float(estimate.value) - expected) < float(estimate.residual) < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_near_interpolation(dtype):
    """A loss of nearly nothing is off by what the outputs and the weights are off by, not by units of itself."""
    radius = {"float32": 0.1, "float64": 1e-3}[dtype]
    rng = np.random.default_rng(8)

    def rounded(values):
        return np.asarray(values).astype(dtype).astype(float)

    rows, w, u = rounded(rng.normal(size=(20, 200))), rounded(rng.normal(size=200)), rng.normal(size=200)
    u = rounded(u / np.linalg.norm(u))
    y = rounded(100 * np.sin(rows @ w) + 1e-3)

    class Sine(eqx.Module):
        w: jax.Array

        def __call__(self, row):
            return 100 * jnp.sin(jnp.dot(row, self.w))[None]

    def mse(pred, y):
        return jnp.mean((pred - y) ** 2)

    model = Sine(jnp.asarray(w, dtype))
    x, targets, direction = (jnp.asarray(a, dtype) for a in (rows, y[:, None], u))
    objective, origin, _ = loss_on(model, mse, x, targets)
    error = convexity.loss_rounding(model, mse, x, targets)
    found = convexity._least(objective, error, jax.grad(objective)(origin), origin, direction[None], radius)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    expected, moving = 0.0, rows @ np.asarray(found.direction, float)
    for t, weight in zip(nodes, weights, strict=True):
        z = rows @ w + (1 + t) / 2 * radius * moving
        curvature = 2 * np.mean(((100 * np.cos(z)) ** 2 - (100 * np.sin(z) - y) * 100 * np.sin(z)) * moving**2)
        expected += weight * (1 - t) / 2 * curvature
    value, residual = map(float, found.estimate)
    own = 16 * np.finfo(dtype).eps * abs(float(objective(origin))) / radius**2
    assert own < abs(value - expected) <= residual < 1e-2 * abs(expected)  # wrong on purpose: units of the loss


def test_curvature_across(case):
    _, _, _, (_, _, _, hessian), found = case
    mean = np.asarray(found["gradient"])
    complement = np.linalg.svd(mean[None])[2][1:].T
    expected = np.linalg.eigvalsh(complement.T @ hessian @ complement)[0]
    assert float(found["across"].estimate.value) == pytest.approx(expected, abs=0.02)
    assert abs(found["across"].direction @ mean) < 1e-10


def test_no_cone_without_an_average_gradient(tools):
    """A network whose weights are 0 has no gradient at all."""
    model = jax.tree.map(jnp.zeros_like, tools.family("wide", depth=1, width=4))
    x, y = tools.inputs(5, 4), jnp.ones((5, 1))

    @eqx.filter_jit
    def both(model):
        cone = curvature_in_cone(model, half_sse, x, y, KEY, kappa=0.5, radius=0.1, directions=1, steps=2)
        return cone.estimate.value, curvature_across(model, half_sse, x, y, radius=0.1, steps=2).estimate.value

    assert np.isnan(both(model)).all()
    assert np.isfinite(both(tools.family("wide", depth=1, width=4))).all()
