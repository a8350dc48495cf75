"""The three-term recurrence against numpy's spectra, and what goes wrong without what it does about copies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.models.kernels import recurrence, recurrence_extreme

N, STEPS = 60, 50
SPECTRA = {
    "cluster at the top": [*np.linspace(1, 1.001, 4), *np.linspace(0, 0.8, N - 4)],
    "ties": [3.0] * 4 + [1.0] * 10 + [0.0] * (N - 14),
    "tiny gap": [1 + 1e-9, 1.0, *np.linspace(-0.5, 0.5, N - 2)],
    "plus and minus pairs": [*np.linspace(0.1, 2, N // 2), *-np.linspace(0.1, 2, N // 2)],
    "far above": [100.0, *np.linspace(0, 1, N - 1)],
    "rank one": [-7.0] + [0.0] * (N - 1),
    "zero": [0.0] * N,
    "tiny": list(1e-30 * np.linspace(1, 2, N)),
}


def planted(values, dtype=np.float64):
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(N, N)))
    matrix = rotation * np.asarray(values) @ rotation.T
    return np.asarray((matrix + matrix.T) / 2, dtype)


@pytest.fixture(scope="module")
def extreme():
    return jax.jit(jax.vmap(lambda matrix, start: recurrence_extreme(lambda v: matrix @ v, start, STEPS)))


@pytest.mark.parametrize(("dtype", "rounding"), [(np.float64, 1e-13), (np.float32, 1e-5)])
def test_planted_spectra_side_by_side(extreme, dtype, rounding):
    """Values, and residuals that are true: an eigenvalue is that near. By far more steps than the values take, so that
    there are copies."""
    matrices = np.stack([planted(values, dtype) for values in SPECTRA.values()])
    starts = np.random.default_rng(1).normal(size=matrices.shape[:2]).astype(dtype)
    estimates, vectors = jax.device_get(extreme(jnp.asarray(matrices), jnp.asarray(starts)))
    for name, matrix, value, residual, vector in zip(SPECTRA, matrices, *estimates, vectors, strict=True):
        spectrum = np.linalg.eigvalsh(matrix.astype(np.float64))
        scale = np.abs(spectrum).max()
        most = 1e-6 if name in ("cluster at the top", "plus and minus pairs") else rounding
        assert abs(abs(value) - scale) <= most * scale, name
        assert np.abs(spectrum - value).min() <= residual + 2 * rounding * scale, name
        assert residual <= (1e-2 if most > rounding else 30 * rounding) * scale, name
        assert value.dtype == dtype and abs(np.linalg.norm(vector) - 1) < 10 * rounding


def test_what_is_no_copy_does_not_belong_to_the_vector(monkeypatch):
    """With all eigenvalues taken for copies of one, the vector is the start again, and its residual says so."""
    matrix = planted(SPECTRA["ties"])
    start = jnp.asarray(np.random.default_rng(1).normal(size=N))
    for copies, good in ((recurrence.COPIES, True), (1e30, False)):
        monkeypatch.setattr(recurrence, "COPIES", copies)
        (value, residual), _ = recurrence_extreme(lambda v: matrix @ v, start, STEPS)
        assert (abs(float(value) - 3) < 1e-12) == good and (float(residual) < 1e-12) == good


def test_starts_that_see_nothing(extreme):
    """Zero, and an eigenvector of a smaller eigenvalue: it goes on from a fresh direction."""
    values = np.linspace(1, 4, N)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(N, N)))
    matrix = jnp.asarray(planted(values))
    starts = jnp.stack([jnp.zeros(N), jnp.asarray(rotation[:, 0])])
    estimates, _ = extreme(jnp.stack([matrix, matrix]), starts)
    np.testing.assert_allclose(estimates.value, 4, rtol=1e-9)


def test_unconverged_values_are_not_certified():
    matrix = planted(np.linspace(0, 1, N))
    start = jnp.asarray(np.random.default_rng(1).normal(size=N))
    estimate, _ = recurrence_extreme(lambda v: matrix @ v, start, 4)
    assert 1 - float(estimate.value) > 1e-3 and float(estimate.residual) > 1e-3
    with pytest.raises(ValueError, match="at least one step"):
        recurrence_extreme(lambda v: matrix @ v, start, 0)
