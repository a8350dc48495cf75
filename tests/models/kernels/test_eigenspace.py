"""Top eigenpairs and the split of a vector against full eigendecompositions, and the bound against the true error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.models.kernels import eigenspace_split, top_eigenpairs

KEY = jax.random.PRNGKey(5)
# A large eigenvalue above a dense bulk, as tangent kernels have it; and one with repeated eigenvalues.
SPECTRA = {
    "bulk": np.r_[40.0, np.linspace(5.0, 0.1, 59)],
    "repeated": np.r_[9.0, 9.0, 4.0, 4.0, 4.0, np.full(55, 1.0)],
    "low rank": np.r_[9.0, 5.0, 3.0, 2.0, np.zeros(56)],
}


def matrix(spectrum, seed=0):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(len(spectrum), len(spectrum))))[0]
    return (basis * spectrum) @ basis.T


def exact_split(kernel, vector, top):
    _, vectors = np.linalg.eigh(kernel)
    weights = vectors.T @ vector
    return np.sum(weights[-top:] ** 2), np.sum(weights[:-top] ** 2)


def split(kernel, vector, top, steps):
    run = jax.jit(lambda k, v: eigenspace_split(k, v, top, KEY, steps))
    return run(jnp.asarray(kernel), jnp.asarray(vector))


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("size", [6, 60])
def test_top_eigenpairs(name, size):
    spectrum = SPECTRA[name][:size]
    kernel = matrix(spectrum)
    pairs = jax.jit(lambda k: top_eigenpairs(k, 4, KEY, 48))(kernel)
    np.testing.assert_allclose(pairs.values, spectrum[:4], rtol=1e-10)
    np.testing.assert_allclose(pairs.vectors @ pairs.vectors.T, np.eye(4), atol=1e-10)
    residual = kernel @ np.asarray(pairs.vectors).T - np.asarray(pairs.vectors).T * np.asarray(pairs.values)
    np.testing.assert_allclose(pairs.residuals, np.linalg.norm(residual, axis=0), atol=1e-12)
    assert np.max(pairs.residuals) < 1e-6


def test_the_split_is_that_of_the_eigenvectors():
    kernel, vector = matrix(SPECTRA["bulk"]), np.random.default_rng(1).normal(size=60)
    inside, outside = split(kernel, vector, 5, 60)
    expected = exact_split(kernel, vector, 5)
    np.testing.assert_allclose([inside.value, outside.value], expected, rtol=1e-10)
    assert float(inside.residual) < 1e-5 * expected[0]
    rows = np.random.default_rng(2).permutation(60)
    wrong = {
        "one more": exact_split(kernel, vector, 6),
        "the smallest": exact_split(-kernel, vector, 5),
        "rows shuffled": exact_split(kernel, vector[rows], 5),
        "another kernel": exact_split(matrix(SPECTRA["bulk"], seed=3), vector, 5),
    }
    for found in wrong.values():
        assert abs(found[0] / expected[0] - 1) > 1e-2


@pytest.mark.parametrize("steps", [10, 24, 40])
def test_the_residual_bounds_the_error(steps):
    """Where the Krylov space is too small to be exact, and the vector lies almost wholly in the top."""
    kernel = matrix(np.r_[40.0, np.linspace(5.0, 0.1, 59)])
    vector = 30 * np.linalg.eigh(kernel)[1][:, -1] + np.random.default_rng(1).normal(size=60)
    inside, outside = split(kernel, vector, 3, steps)
    errors = np.abs(np.array([inside.value, outside.value]) - exact_split(kernel, vector, 3))
    assert np.all(errors > 1e-9) and np.all(errors <= float(inside.residual))
    assert float(outside.residual) == float(inside.residual) <= np.sum(vector**2)
    limit = {10: 1, 24: 0.1, 40: 1e-5}[steps]  # of use, and not only valid
    assert float(inside.residual) < limit * np.sum(vector**2)


def test_no_span_is_definite_without_a_gap():
    kernel, vector = np.diag([9.0, 4.0, 4.0, 4.0, 1.0, 0.5]), np.arange(1.0, 7.0)
    total = np.sum(vector**2)
    inside, outside = split(kernel, vector, 2, 6)
    assert float(inside.residual) == float(outside.residual) == pytest.approx(total, rel=1e-12)
    assert float(inside.value + outside.value) == pytest.approx(total, rel=1e-12)
    sharp, _ = split(kernel, vector, 4, 6)  # of all three repeated ones it is
    assert float(sharp.value) == pytest.approx(1 + 4 + 9 + 16, rel=1e-12)
    assert float(sharp.residual) < 1e-6


def test_an_eigenspace_of_all_dimensions_is_everything():
    kernel, vector = matrix(SPECTRA["bulk"][:5]), np.arange(1.0, 6.0)
    for top in (5, 8):
        inside, outside = split(kernel, vector, top, 20)
        assert [float(x) for x in (*inside, *outside)] == [55.0, 0.0, 0.0, 0.0]


def test_a_kernel_of_zeros_has_finite_answers():
    inside, outside = split(np.zeros((8, 8)), np.ones(8), 3, 6)
    assert float(inside.value + outside.value) == pytest.approx(8, rel=1e-12)
    assert float(inside.residual) == pytest.approx(8, rel=1e-12)


def test_eigenpairs_need_room():
    with pytest.raises(ValueError, match="4 eigenpairs need at least as many steps and rows; got 3 steps, 8 rows"):
        top_eigenpairs(jnp.eye(8), 4, KEY, 3)
