"""Lanczos against numpy's dense spectra, on planted ones that are known to be hard."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.models.kernels import kernel_norm, lanczos_extreme, largest_eigenpair, spectrum

N = 40
SPECTRA = {
    "cluster at the top": [*np.linspace(1, 1.001, 5), *np.linspace(0, 0.9, N - 5)],
    "ties": [3.0] * 4 + [1.0] * 10 + [0.0] * (N - 14),
    "negative extreme": [-5.0, 4.9, *np.linspace(-1, 1, N - 2)],
    "plus and minus pairs": [*np.linspace(0.1, 2, N // 2), *-np.linspace(0.1, 2, N // 2)],
    "rank one": [7.0] + [0.0] * (N - 1),
    "all negative": list(-np.linspace(1, 2, N)),
    "zero": [0.0] * N,
    "tiny": list(1e-30 * np.linspace(1, 2, N)),
}


def planted(values, seed=0):
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(N, N)))
    matrix = rotation * np.asarray(values) @ rotation.T
    return (matrix + matrix.T) / 2, rotation


@pytest.fixture(scope="module")
def extreme():
    """All three ends with one compilation per number of steps."""

    def ends(matrix, start, steps):
        return {e: lanczos_extreme(lambda v: matrix @ v, start, steps, e) for e in ("largest", "smallest", "magnitude")}

    return jax.jit(ends, static_argnums=2)


@pytest.mark.parametrize("name", SPECTRA)
def test_ends_of_planted_spectra(extreme, name):
    matrix, _ = planted(SPECTRA[name])
    values = np.linalg.eigvalsh(matrix)
    expected = {
        "largest": values[-1],
        "smallest": values[0],
        "magnitude": values[np.argmax(np.abs(values))],
    }
    scale = np.abs(values).max()
    start = jnp.asarray(np.random.default_rng(1).normal(size=N))
    for end, (estimate, vector) in extreme(jnp.asarray(matrix), start, N).items():
        value = float(estimate.value)
        if end == "magnitude":  # ± pairs tie
            assert abs(abs(value) - abs(expected[end])) <= 1e-12 * scale
        else:
            assert abs(value - expected[end]) <= 1e-12 * scale
        assert float(estimate.residual) <= 1e-12 * scale
        vector = np.asarray(vector)
        assert abs(np.linalg.norm(vector) - 1) < 1e-12
        assert np.linalg.norm(matrix @ vector - value * vector) <= 1e-12 * scale


def test_a_start_without_the_wanted_eigenvector_still_finds_it(extreme):
    """Breakdown: the start is the eigenvector of the smallest eigenvalue, or spans an invariant subspace, or is 0."""
    matrix, rotation = planted(np.linspace(1, 4, N))
    for start in (rotation[:, 0], rotation[:, :3].sum(1), np.zeros(N)):
        estimate, _ = extreme(jnp.asarray(matrix), jnp.asarray(start), N)["largest"]
        assert abs(float(estimate.value) - 4) < 1e-11
    krylov = np.stack([np.linalg.matrix_power(matrix, j) @ rotation[:, 0] for j in range(5)])
    basis, _ = np.linalg.qr(krylov[:1].T)  # all that Lanczos without a fresh direction would ever see
    assert np.linalg.eigvalsh(basis.T @ matrix @ basis)[-1] == pytest.approx(1.0)


def test_the_residual_certifies_an_unconverged_value(extreme):
    matrix, _ = planted(np.linspace(0, 1, N))
    values = np.linalg.eigvalsh(matrix)
    start = jnp.asarray(np.random.default_rng(1).normal(size=N))
    estimate, _ = extreme(jnp.asarray(matrix), start, 4)["largest"]
    value, residual = float(estimate.value), float(estimate.residual)
    assert values[-1] - value > 1e-3  # four steps are not enough here, and the certificate says so
    assert residual > 1e-3
    assert np.abs(values - value).min() <= residual


def test_batched_float32_and_nan(extreme):
    matrices = np.stack([planted(SPECTRA[name])[0] for name in ("ties", "zero", "negative extreme")])
    matrices = np.concatenate([matrices, np.full((1, N, N), np.nan)]).astype(np.float32)
    starts = jnp.asarray(np.random.default_rng(1).normal(size=(4, N)), jnp.float32)

    def top(matrix, start):
        return lanczos_extreme(lambda v: matrix @ v, start, N, "magnitude")[0]

    estimate = jax.jit(jax.vmap(top))(jnp.asarray(matrices), starts)
    assert estimate.value.dtype == jnp.float32
    np.testing.assert_allclose(estimate.value[:3], [3, 0, -5], atol=2e-5)
    assert np.isnan(float(estimate.value[3]))


@pytest.fixture(scope="module")
def largest():
    def pair(matrix, start, tolerance=1e-9):
        return largest_eigenpair(lambda v: matrix @ v, start, tolerance, 400)

    return jax.jit(pair)


@pytest.mark.parametrize("name", SPECTRA)
def test_largest_eigenpair_of_planted_spectra(largest, name):
    matrix, _ = planted(SPECTRA[name])
    start = np.random.default_rng(3).normal(size=N)
    estimate, vector, products = jax.device_get(largest(jnp.asarray(matrix), jnp.asarray(start)))
    expected, size = np.linalg.eigvalsh(matrix)[-1], np.abs(matrix).max()
    assert float(estimate.value) == pytest.approx(expected, rel=1e-12, abs=1e-12 * size)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-12)
    residual = np.linalg.norm(matrix @ vector - estimate.value * vector)
    assert float(estimate.residual) == pytest.approx(residual, abs=1e-13 * size)
    assert residual <= 1.001e-9 * abs(expected)
    assert products <= 200  # conjugate gradients': about the square root of 4,000, spread over gap, times the digits


def test_ascent_without_the_last_move_is_slow(largest, monkeypatch):
    matrix = jnp.diag(jnp.asarray([1.0, 0.99, *np.linspace(0, 0.9, N - 2)]))
    start = jnp.ones(N)
    assert largest(matrix, start)[2] < 100
    ascended = spectrum._ascended

    def forgetful(state, new, image):  # wrong on purpose
        state = ascended(state, new, image)
        return state._replace(move=0 * state.move, move_image=0 * state.move_image)

    monkeypatch.setattr(spectrum, "_ascended", forgetful)
    steepest = jax.jit(lambda matrix, start: largest_eigenpair(lambda v: matrix @ v, start, 1e-9, 400))
    assert steepest(matrix, start)[2] == 400


def test_an_eigenpair_that_is_known_costs_few_products(largest):
    matrix, _ = planted(SPECTRA["negative extreme"])
    start = jnp.asarray(np.random.default_rng(3).normal(size=N))
    _, vector, cold = largest(jnp.asarray(matrix), start)
    nearby, _ = planted(SPECTRA["negative extreme"], seed=1)
    matrix = matrix + 1e-6 * nearby
    estimate, _, warm = largest(jnp.asarray(matrix), vector)
    assert float(estimate.value) == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-13)
    assert int(warm) < int(cold) / 2
    assert largest(jnp.asarray(matrix), jnp.zeros(N))[0].value == pytest.approx(float(estimate.value), rel=1e-12)


def test_the_residual_certifies_an_eigenpair_that_is_not_there_yet():
    values = np.sort(SPECTRA["cluster at the top"])
    start = jnp.asarray(np.random.default_rng(3).normal(size=N))
    estimate, vector, products = largest_eigenpair(lambda v: jnp.asarray(values) * v, start, 1e-9, 7)
    assert products == 7 and float(estimate.residual) > 1e-3
    residual = np.linalg.norm(values * vector - float(estimate.value) * vector)
    assert float(estimate.residual) == pytest.approx(residual, rel=1e-12)
    assert np.abs(values - float(estimate.value)).min() <= float(estimate.residual)
    with pytest.raises(ValueError, match="two products, got 1"):
        largest_eigenpair(lambda v: v, start, 1e-9, 1)


def test_eigenpairs_side_by_side(largest):
    matrices = np.stack([planted(SPECTRA[name])[0] for name in ("ties", "zero", "negative extreme")])
    matrices = np.concatenate([matrices, np.full((1, N, N), np.nan)]).astype(np.float32)
    starts = jnp.asarray(np.random.default_rng(1).normal(size=(4, N)), jnp.float32)
    pairs = jax.vmap(lambda matrix, start: largest_eigenpair(lambda v: matrix @ v, start))
    estimate, _, products = jax.jit(pairs)(jnp.asarray(matrices), starts)
    assert estimate.value.dtype == jnp.float32
    np.testing.assert_allclose(estimate.value[:3], [3, 0, 4.9], atol=1e-5)
    assert np.isnan(float(estimate.value[3])) and np.isnan(float(estimate.residual[3]))
    assert products[3] == 1 < products[2] < 200  # what is not finite ends at once


@pytest.mark.parametrize(
    "values",
    [-np.linspace(0, 5, N), [1.0, *-np.linspace(10, 1000, N - 1)], [1e-2, *-np.linspace(1, 1000, N - 1)]],
    ids=["none is positive", "a hundred times below", "and more"],
)
def test_ascent_stops_where_rounding_begins(values):
    """A top that is small beside the other end: its relative tolerance is beyond what products in float32 give."""
    matrix = planted(values)[0].astype(np.float32)
    starts = jnp.asarray(np.random.default_rng(4).normal(size=(20, N)), jnp.float32)
    pairs = jax.jit(jax.vmap(lambda start: largest_eigenpair(lambda v: jnp.asarray(matrix) @ v, start)))
    estimates, vectors, products = jax.device_get(pairs(starts))
    size = np.abs(values).max()
    truth = np.linalg.eigvalsh(matrix.astype(float))[-1]
    np.testing.assert_allclose(estimates.value, truth, atol=1e-6 * size)
    residuals = np.linalg.norm(vectors @ matrix.astype(float) - estimates.value[:, None] * vectors, axis=1)
    np.testing.assert_allclose(estimates.residual, residuals, atol=3e-7 * size)
    assert residuals.max() < 3e-6 * size and products.max() < 200


def test_a_multiple_of_the_identity_and_little_more():
    """Any vector is nearly an eigenvector: the first residual says nothing of the top."""
    size = 250_000
    direction = jnp.asarray(np.random.default_rng(6).normal(size=size))
    direction = direction / jnp.linalg.norm(direction)
    start = jnp.asarray(np.random.default_rng(7).normal(size=size))

    def product(v):
        return v + 0.002 * direction * jnp.dot(direction, v)

    assert (
        float(largest_eigenpair(product, start, least=1)[0].value) < 1.001
    )  # wrong on purpose: the first residual believed
    estimate, _, products = largest_eigenpair(product, start, least=8)
    assert float(estimate.value) == pytest.approx(1.002, rel=1e-9) and int(products) < 12


def test_an_eigenvector_is_not_left_for_nothing():
    """With no direction to go, and all eigenvalues negative, the zero vector would win."""
    values = -jnp.linspace(1.0, 2.0, N)
    estimate, vector, _ = largest_eigenpair(lambda v: values * v, jnp.eye(N)[0], least=6)
    assert float(estimate.value) == -1 and float(jnp.linalg.norm(vector)) == 1


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e25])
def test_residuals_of_tiny_and_huge_operators_in_float32(scale):
    matrix = jnp.asarray(planted(SPECTRA["cluster at the top"])[0] * scale, jnp.float32)
    start = jnp.asarray(np.random.default_rng(3).normal(size=N), jnp.float32)
    found, vector, _ = largest_eigenpair(lambda v: matrix @ v, start, products=6)
    krylov, ritz = lanczos_extreme(lambda v: matrix @ v, start, 4)
    for estimate, v in ((found, vector), (krylov, ritz)):
        v, exact = np.asarray(v, float), np.asarray(matrix, float)
        residual = np.linalg.norm(exact @ v - float(estimate.value) * v)
        assert float(estimate.residual) == pytest.approx(residual, rel=1e-3)  # 0 where squares underflow
        assert residual > 1e-3 * scale


def test_kernel_norm():
    matrix, _ = planted(SPECTRA["cluster at the top"])
    matrix = jnp.asarray(matrix)
    estimate = kernel_norm(matrix, jax.random.PRNGKey(0))
    assert abs(float(estimate.value) - 1.001) < 5e-4 and float(estimate.residual) < 5e-3
    exact = kernel_norm(matrix[:6, :6], jax.random.PRNGKey(0))
    assert float(exact.value) == pytest.approx(np.linalg.eigvalsh(matrix[:6, :6])[-1], rel=1e-13)


def test_errors():
    with pytest.raises(ValueError, match="'smallest'"):
        lanczos_extreme(lambda v: v, jnp.ones(3), 3, "biggest")
    with pytest.raises(ValueError, match="at least one step"):
        lanczos_extreme(lambda v: v, jnp.ones(3), 0)
