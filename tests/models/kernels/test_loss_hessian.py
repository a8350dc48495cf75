"""Products, top, trace and density of the loss Hessian against dense matrices and planted spectra."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.models.kernels import density_of, hessian_product, loss_hessian_top_from, top_of, trace_of

KEY = jax.random.PRNGKey(6)
N = 40


def mse(f, y):
    return jnp.sum((f - y) ** 2) / f.shape[0]


@pytest.fixture(scope="module")
def planted():
    """A matrix with a cluster at the top, a tie, a tiny gap and a negative end; its eigenvalues; a product with it."""
    values = np.sort([5.0, 5.0 - 1e-7, 4.0, 3.0, 3.0, -2.0, *np.linspace(0, 1, N - 6)])
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(N, N)))
    with jax.enable_x64(True):
        matrix = jnp.asarray(rotation * values @ rotation.T)
    return matrix, values


def test_products_and_their_parts(tools):
    """Against the dense Hessian; Gauss–Newton's is 2/n Jᵀ J for this loss, and is not the whole."""
    model = tools.family("wide", 2, bias=True, depth=1)
    x, y = tools.inputs(5, 4), tools.inputs(5, 2, seed=2)
    f, flat = tools.flat_predictor(model)

    @jax.jit
    def dense(flat):
        return jax.jacfwd(jax.jacrev(lambda w: mse(jax.vmap(lambda e: f(w, e))(x), y)))(flat)

    @eqx.filter_jit
    def columns(model, part):
        product, origin = hessian_product(model, mse, x, y, part)
        return jax.lax.map(product, jnp.eye(origin.size))

    whole, gauss_newton, residual = (np.asarray(columns(model, p)) for p in ("whole", "gauss_newton", "residual"))
    rows = tools.jacobian(model, x)
    scale = np.abs(whole).max()
    np.testing.assert_allclose(whole, dense(flat), atol=1e-12 * scale)
    np.testing.assert_allclose(gauss_newton, 2 / 5 * rows.T @ rows, atol=1e-12 * scale)
    np.testing.assert_allclose(residual, whole - gauss_newton, atol=1e-12 * scale)
    assert np.abs(residual).max() > 0.01 * scale
    with pytest.raises(ValueError, match="'gauss' is not one of"):
        hessian_product(model, mse, x, y, "gauss")


def test_the_top_along_a_run(tools):
    """From the eigenvector of the step before: the same value with fewer products, and from nothing known, too."""
    model = tools.family("wide", 1, depth=1)
    x, y = tools.inputs(5, 4), tools.inputs(5, 1, seed=2)
    moved = tools.move(model, KEY, 0.01)
    _, flat = tools.flat_predictor(model)
    top = eqx.filter_jit(lambda model, start: loss_hessian_top_from(model, mse, x, y, start, tolerance=1e-8))
    noise = jax.random.normal(KEY, (2, *flat.shape))
    _, vector = top(model, noise)
    product, origin = hessian_product(moved, mse, x, y)
    expected = np.linalg.eigvalsh(jax.lax.map(product, jnp.eye(origin.size)))[-1]
    for start in (vector, noise):
        estimate, _ = top(moved, start)
        assert float(estimate.value) == pytest.approx(expected, rel=1e-10)
        assert float(estimate.residual) <= 1.01e-8 * expected
    few = eqx.filter_jit(lambda m, s: loss_hessian_top_from(m, mse, x, y, s, products=4, tolerance=1e-8))
    assert few(moved, vector)[0].residual < 0.1 * few(moved, noise)[0].residual


def test_top_eigenpairs_of_a_planted_spectrum(planted):
    """A gap of 1e-7 and a tie, by a space that is exhausted; and a certificate that tells of too few steps."""
    matrix, values = planted
    pairs = jax.jit(lambda m: top_of(lambda v: m @ v, m[0], 6, KEY, N))(matrix)
    np.testing.assert_allclose(pairs.values, values[::-1][:6], atol=1e-10)
    assert np.all(np.asarray(pairs.residuals) < 1e-9)
    np.testing.assert_allclose(pairs.vectors @ pairs.vectors.T, np.eye(6), atol=1e-6)
    few = top_of(lambda v: matrix @ v, matrix[0], 3, KEY, 6)
    assert float(few.residuals[2]) > 1e-2
    near = np.abs(values[:, None] - np.asarray(few.values)).min(axis=0)
    assert np.all(near <= np.asarray(few.residuals) + 1e-12)
    with pytest.raises(ValueError, match="as many steps and rows"):
        top_of(lambda v: matrix @ v, matrix[0], 7, KEY, 6)


def test_trace_and_its_standard_error(planted):
    """Exact with as many products as rows; else within its standard errors, which a wrong trace is not."""
    matrix, values = planted
    exact = trace_of(lambda v: matrix @ v, matrix[0], KEY, N)
    assert float(exact.value) == pytest.approx(values.sum(), rel=1e-12) and float(exact.error) == 0
    keys = jax.random.split(KEY, 64)
    value, error = jax.jit(jax.vmap(lambda key: trace_of(lambda v: matrix @ v, matrix[0], key, 24)))(keys)
    scores = (np.asarray(value) - values.sum()) / np.asarray(error)
    assert 0.7 < np.sqrt(np.mean(scores**2)) < 1.5  # Student's t with 7 degrees of freedom has 1.18
    assert abs(np.mean(value) - values.sum()) < 4 * np.std(value) / 8
    without_range = np.trace(matrix) - 5.0  # what is left when the leading eigenvalue is projected out and forgotten
    assert abs(np.mean(value) - without_range) > 4 * np.std(value) / 8
    plain = np.sqrt(2 * np.sum(np.square(matrix - np.diag(np.diag(matrix)))) / 24)  # Hutchinson's, 24 products
    assert np.std(value) < 0.8 * plain
    with pytest.raises(ValueError, match="at least 6 products"):
        trace_of(lambda v: matrix @ v, matrix[0], KEY, 5)


def test_density_and_its_standard_error(planted):
    matrix, values = planted
    grid, width = jnp.linspace(-3, 6, 46), 0.3
    found = jax.jit(
        lambda m: density_of(lambda v: m @ v, m[0], KEY, grid=grid, width=width, starts=48, steps=24)
    )(matrix)  # fmt: skip
    bumps = np.exp(-0.5 * ((np.asarray(grid)[:, None] - values) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    truth = bumps.mean(axis=1)
    scores = (np.asarray(found.value) - truth) / np.asarray(found.error)
    assert np.sqrt(np.mean(scores**2)) < 2.5
    assert float(jnp.sum(found.value) * (grid[1] - grid[0])) == pytest.approx(1, abs=0.01)
    mirrored = bumps[::-1].mean(axis=1)
    assert np.sqrt(np.mean(((np.asarray(found.value) - mirrored) / np.asarray(found.error)) ** 2)) > 10
    with pytest.raises(ValueError, match="at least 2 starts and a positive width"):
        density_of(lambda v: matrix @ v, matrix[0], KEY, grid=grid, width=0.0)


@pytest.mark.parametrize("watched", [True, False])
def test_an_eigenvalue_that_overtakes_is_seen(watched):
    """Directions that never meet, of which one's eigenvalue grows past the largest: the vector that watches sees it at
    once; without it the search stays where it is, with a small residual."""

    matrices = [jnp.diag(jnp.asarray([1.0, tilt, 0.1, 0.05, 0.02])) for tilt in np.linspace(0.5, 1.5, 21)]
    x, y = jnp.ones((1, 5)), jnp.zeros((1, 1))

    class Quadratic(eqx.Module):
        weight: jax.Array

        def __call__(self, x):
            return self.weight

    model = Quadratic(jnp.zeros(5))
    vectors = jnp.eye(5)[:2] + jnp.asarray([[0.0] * 5, [0.0, 0.0, 0.3, 0.2, 0.1]])
    wrong = 0
    for matrix in matrices:
        curved = lambda f, y, matrix=matrix: 0.5 * f[0] @ matrix @ f[0]  # noqa: E731
        top, found = loss_hessian_top_from(model, curved, x, y, vectors)
        vectors = found if watched else found.at[1].set(jnp.eye(5)[4])
        true = float(jnp.max(jnp.diag(matrix)))
        assert float(top.residual) <= 1e-3 * true
        wrong += abs(float(top.value) - true) > 1e-3 * true
    assert wrong == 0 if watched else wrong >= 8
