"""Lanczos against numpy's dense spectra, on planted ones that are known to be hard."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.models.kernels import kernel_norm, lanczos_extreme

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
