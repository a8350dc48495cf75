"""The worst-direction error against closed forms, dense suprema and random search."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from tangentbench.models import expand, partition
from tangentbench.models.kernels import worst_direction_error

KEY = jax.random.PRNGKey(2)
STATIC = ("against", "truncate", "restarts", "steps")


def worst(model, x, **options):
    """Compiled once per family and setting; the radius is traced."""
    static = {name: options.pop(name) for name in STATIC if name in options}
    return float(_worst(model, x, jnp.asarray(options["radius"]), **static))


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
    assert worst(model, tools.inputs(3, 4), against="linear", radius=5.0) < 1e-13


def test_two_layer_linear_network_reaches_the_dense_supremum(tools):
    """f − f_lin = ½ ΔᵀHΔ exactly, so the supremum over examples and outputs is ½R² max ‖H‖; H has ± pairs."""
    model, x = tools.family("wide", 2, depth=1, activation="identity"), tools.inputs(2, 4)
    norms = [np.abs(np.linalg.eigvalsh(tools.hessians(model, example))).max() for example in x]
    bound = 0.5 * 1.5**2 * max(norms)
    found = worst(model, x, against="linear", radius=1.5, steps=60)
    assert found == pytest.approx(bound, rel=1e-4)
    assert found <= bound * (1 + 1e-12)
    weak = worst(model, x, against="linear", radius=1.5, steps=0, restarts=2)
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


def test_multilinear_model_cut_at_degree_one_is_the_linear_one(tools):
    model, x = bottleneck(tools)
    cut = worst(model, x, against="multilinear", truncate=1, radius=1.0)
    assert cut == pytest.approx(worst(model, x, against="linear", radius=1.0), rel=1e-6)
    assert cut != pytest.approx(worst(model, x, against="multilinear", radius=1.0), rel=1e-2)


def test_errors(tools):
    with pytest.raises(ValueError, match="at least one restart"):
        worst_direction_error(tools.family("wide"), tools.inputs(1, 4), KEY, against="linear", restarts=0)
