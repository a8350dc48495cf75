"""The worst-direction error against closed forms, dense suprema and random search."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from tangentbench.models import expand, partition
from tangentbench.models.kernels import predictor_hessian_norm, worst_direction_error

KEY = jax.random.PRNGKey(2)
STATIC = ("against", "truncate", "restarts", "most_restarts", "steps")


def search(model, x, **options):
    """Value and residual; compiled once per family and setting; the radius is traced."""
    static = {name: options.pop(name) for name in STATIC if name in options}
    estimate = _worst(model, x, jnp.asarray(options["radius"]), **static)
    return float(estimate.value), float(estimate.residual)


def worst(model, x, **options):
    return search(model, x, **options)[0]


@eqx.filter_jit
def _worst(model, x, radius, **static):
    return worst_direction_error(model, x, KEY, radius=radius, **static)


@pytest.mark.parametrize("signature", ["random", "positive"])
def test_general_quadratic_model_has_the_closed_form(tools, signature):
    """sup |½ γ ΔᵀΣΔ| = ½ γ R² ‖Σ‖."""
    model, x = tools.family("quadratic", gamma=0.3, signature=signature), tools.inputs(2, 4)
    found = worst(model, x, against="linear", radius=2.0)
    assert found == pytest.approx(0.5 * 0.3 * 4, rel=1e-6)
    exact = expand(model, "quadratic")
    assert float(jnp.abs(exact.at(tools.move(model, KEY, 2.0))(x[0]) - tools.move(model, KEY, 2.0)(x[0]))[0]) < 1e-13


def test_a_model_that_is_linear_in_its_weights_has_no_error(tools):
    model = tools.family("wide", depth=0)
    value, residual = search(model, tools.inputs(3, 4), against="linear", radius=5.0)
    assert value < 1e-13 and residual == 0  # what only rounding raises has settled


def test_two_layer_linear_network_reaches_the_dense_supremum(tools):
    """f − f_lin = ½ ΔᵀHΔ exactly, so the supremum over examples and outputs is ½R² max ‖H‖; H has ± pairs."""
    model, x = tools.family("wide", 2, depth=1, activation="identity"), tools.inputs(2, 4)
    norms = [np.abs(np.linalg.eigvalsh(tools.hessians(model, example))).max() for example in x]
    bound = 0.5 * 1.5**2 * max(norms)
    found, residual = search(model, x, against="linear", radius=1.5, steps=60)
    assert found == pytest.approx(bound, rel=1e-4)
    assert found <= bound * (1 + 1e-12)
    assert residual < 0.05 * found
    weak = worst(model, x, against="linear", radius=1.5, steps=0, restarts=2, most_restarts=2)
    assert weak < 0.9 * bound  # the starts alone are no supremum


@eqx.filter_jit
def random_search(model, against, x):
    """The largest error over 2 000 random directions of length 1."""
    params, rest = partition(model)
    flat, unravel = ravel_pytree(params)
    taylor = expand(model, against)

    def error(key):
        step = jax.random.normal(key, flat.shape)
        moved = eqx.combine(unravel(flat + step / jnp.linalg.norm(step)), rest)
        return jnp.max(jnp.abs(jax.vmap(moved)(x) - jax.vmap(taylor.at(moved))(x)))

    return jnp.max(jax.vmap(error)(jax.random.split(KEY, 2000)))


def bottleneck(tools):
    return tools.family("bottleneck", activation="tanh", depth=2, at=[1]), tools.inputs(2, 4)


@pytest.mark.parametrize("against", ["linear", "quadratic", "multilinear"])
def test_ascent_beats_random_search_and_grows_with_the_ball(tools, against):
    model, x = bottleneck(tools)
    found = worst(model, x, against=against, radius=1.0)
    assert found > 1.2 * float(random_search(model, against, x))
    order = 3 if against == "quadratic" else 2
    coarse, fine = (worst(model, x, against=against, radius=radius) for radius in (0.02, 0.01))
    assert np.log2(coarse / fine) == pytest.approx(order, abs=0.1)


SMALL = 1e-3  # f less its Taylor model is ½ΔᵀHΔ there but for a part of about this size


def test_on_a_small_sphere_the_error_is_half_the_hessian_norm(tools):
    """sup |f − f_lin| = ½R²‖∇²f‖ + O(R³), with the norm by Lanczos instead of ascent."""
    model, x = bottleneck(tools)
    norms = [float(_hessian_norm(model, example).value) for example in x]
    found, residual = search(model, x, against="linear", radius=SMALL, steps=60)
    assert found == pytest.approx(0.5 * SMALL**2 * max(norms), rel=10 * SMALL)
    assert residual < 0.05 * found
    assert abs(min(norms) / max(norms) - 1) > 0.02  # the largest over examples, not any of them


@eqx.filter_jit
def _hessian_norm(model, x):
    return predictor_hessian_norm(model, x, KEY)


def block_hessians(tools, model, x):
    """∇²_kk f of every block k of the parameters: diagonal blocks of the dense Hessian."""
    dense = tools.hessians(model, x)[0]
    zeros, ones = (jax.tree.map(fill, partition(model)[0]) for fill in (jnp.zeros_like, jnp.ones_like))
    chosen = [ravel_pytree(eqx.combine(eqx.filter(ones, block), zeros))[0] > 0 for block in model.blocks()]
    return [dense[np.ix_(rows, rows)] for rows in map(np.asarray, chosen)]


def test_multilinear_error_of_a_linear_bottleneck_is_that_of_its_worst_block(tools):
    """Δ moves all blocks, but the terms across them are in the model: what is left at R → 0 is ½R² max ‖∇²_kk f‖."""
    model = tools.family("bottleneck", activation="identity", depth=3, at=[2])
    x = tools.inputs(1, 4)
    norms = [np.abs(np.linalg.eigvalsh(block)).max() for block in block_hessians(tools, model, x[0])]
    whole = np.abs(np.linalg.eigvalsh(tools.hessians(model, x[0])[0])).max()
    assert len(norms) == 2 and whole > 1.2 * max(norms)  # the norm of the whole Hessian is another number
    found = worst(model, x, against="multilinear", radius=SMALL, steps=100)
    assert found == pytest.approx(0.5 * SMALL**2 * max(norms), rel=10 * SMALL)


def test_starts_are_doubled_until_the_supremum_stays(tools):
    """A search that has settled is the same with more room, and one that has not says so."""
    model, x = bottleneck(tools)
    options = {"against": "linear", "radius": 1.0, "restarts": 1}
    value, residual = search(model, x, steps=20, most_restarts=16, **options)
    assert 0 <= residual <= 0.05 * value
    assert (value, residual) == search(model, x, steps=20, most_restarts=64, **options)
    # one step per ascent is too little: the second batch, which is as many starts again, finds more
    (first, unknown), (second, raised) = (search(model, x, steps=1, most_restarts=most, **options) for most in (1, 3))
    assert unknown == first  # a first batch has nothing to compare with
    assert raised == pytest.approx(second - first, rel=1e-9) and raised > 0.05 * second


def test_multilinear_model_cut_at_degree_one_is_the_linear_one(tools):
    model, x = bottleneck(tools)
    cut = worst(model, x, against="multilinear", truncate=1, radius=1.0)
    assert cut == pytest.approx(worst(model, x, against="linear", radius=1.0), rel=1e-6)
    assert cut != pytest.approx(worst(model, x, against="multilinear", radius=1.0), rel=1e-2)


def test_errors(tools):
    for restarts, most in ((0, 4), (4, 3)):
        with pytest.raises(ValueError, match="at least one restart, and most_restarts of at least that"):
            worst_direction_error(
                tools.family("wide"), tools.inputs(1, 4), KEY, against="linear", restarts=restarts, most_restarts=most
            )
