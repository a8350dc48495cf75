"""AGOP against a loop over central differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.models import expand
from tangentbench.models.kernels import agop, alignment, layer_agop


@eqx.filter_jit
def output(model, example):
    return model(example)


@pytest.mark.parametrize(("outputs", "expansion"), [(1, "quadratic"), (3, None)])
def test_agop_is_the_mean_of_input_gradient_products(tools, outputs, expansion):
    base = tools.family("wide", outputs, activation="swish", depth=1)
    model = base if expansion is None else expand(base, expansion).at(tools.move(base, jax.random.PRNGKey(1), 1.0))
    x, step = tools.inputs(5, 4), 1e-5
    expected = np.zeros((4, 4))
    for example in x:
        rows = [
            (output(model, example + step * e) - output(model, example - step * e)) / (2 * step) for e in jnp.eye(4)
        ]
        expected += np.stack(rows) @ np.stack(rows).T
    found = np.asarray(eqx.filter_jit(agop)(model, x))
    np.testing.assert_allclose(found, expected / 5, atol=1e-9)
    assert np.abs(found - expected / (5 * outputs + 1)).max() > 1e-3
    if outputs == 3:  # summed over outputs, not averaged
        assert np.abs(found - expected / 15).max() > 1e-3


def test_alignment():
    left, right = jnp.diag(jnp.array([1.0, 2.0, 0.0])), jnp.diag(jnp.array([2.0, 1.0, 5.0]))
    assert float(alignment(left, right)) == pytest.approx(4 / np.sqrt(5 * 30), rel=1e-14)
    assert float(alignment(left, 7 * left)) == pytest.approx(1, rel=1e-14)
    assert float(alignment(left, jnp.zeros((3, 3)))) == 0


@pytest.mark.parametrize("outputs", [1, 3])
def test_agop_of_a_layer(tools, outputs):
    """With respect to a layer's input: by central differences of the rest of the network, written as a loop."""
    model = tools.family("wide", outputs, activation="tanh", depth=2, width=5)
    x, step = tools.inputs(3, 4), 1e-5
    np.testing.assert_allclose(layer_agop(model.chain, x, 1), agop(model, x), atol=1e-12)

    def rest(hidden, layer):
        layers = list(zip(model.chain.layers, (np.tanh, np.tanh, lambda z: z), strict=True))
        for dense, activation in layers[layer - 1 :]:
            hidden = activation(dense.scale * np.asarray(dense.weight) @ hidden)
        return hidden

    for layer in (2, 3):
        expected = np.zeros((5, 5))
        for example in np.asarray(x):
            hidden = example
            for dense in model.chain.layers[: layer - 1]:
                hidden = np.tanh(dense.scale * np.asarray(dense.weight) @ hidden)
            rows = np.stack(
                [(rest(hidden + step * e, layer) - rest(hidden - step * e, layer)) / (2 * step) for e in np.eye(5)]
            )
            expected += rows @ rows.T / 3
        np.testing.assert_allclose(layer_agop(model.chain, x, layer), expected, atol=1e-9)


@pytest.mark.parametrize("layer", [0, 4])
def test_agop_of_a_layer_that_is_not_there(tools, layer):
    with pytest.raises(ValueError, match=f"counted from 1 to 3, the output layer included; got {layer}"):
        layer_agop(tools.family("wide", depth=2).chain, tools.inputs(3, 4), layer)
