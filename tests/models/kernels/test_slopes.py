"""Loss, gradient and kernel from one pass: against JAX's own gradient of the loss, a dense Jacobian, and the model."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from tangentbench.models import Conv, Dag, expand, kernels, partition, predict, sparse
from tangentbench.models.kernels import slope_and_kernel, slopes

KEY = jax.random.PRNGKey(7)
DENSE = {
    "wide": {"bias": True},
    "wide, output": {"output_activation": "tanh", "activation": "swish"},
    "bottleneck": {"activation": "identity"},
}


def mse(f, y):
    return jnp.mean(jnp.sum((f - y) ** 2, axis=1))


def models_of(tools, monkeypatch):
    """Networks of dense, shared, masked and gathered layers with two outputs, and a model without layers with one."""
    found = {name: tools.family(name.split(",")[0], 2, **options) for name, options in DENSE.items()}
    conv = {"depth": 2, "channels": 3, "dims": 1, "activation": "tanh", "residual": True}
    found["conv"] = Conv(4, 2, key=KEY, **conv)
    graph = {"name": "dropout", "depth": 3, "width": 6}
    found["masked"] = Dag(4, 2, key=KEY, generator=graph, activation="tanh")
    monkeypatch.setattr(sparse, "SPARSE", 1.0)
    found["gathered"] = Dag(4, 2, key=KEY, generator=graph, activation="tanh")
    assert any(isinstance(layer, sparse.Gathered) for layer in found["gathered"].layers)
    found["general_quadratic"] = tools.family("general_quadratic")
    return found


@pytest.mark.parametrize("expansion", [None, "quadratic", "linear"])
def test_against_automatic_differentiation(tools, monkeypatch, expansion):
    x = tools.inputs(5, 4)
    for name, network in models_of(tools, monkeypatch).items():
        y = tools.inputs(5, network(x[0]).size, seed=1)
        model = tools.move(network if expansion is None else expand(network, expansion), KEY, 0.7)
        found = eqx.filter_jit(slope_and_kernel)(model, mse, x, y)
        value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(lambda m, y: mse(predict(m, x), y)))(model, y)
        gradient = partition(gradient)[0]
        assert jax.tree.structure(found.gradient) == jax.tree.structure(gradient), name
        np.testing.assert_allclose(found.value, value, rtol=1e-10, err_msg=name)
        for ours, theirs in zip(jax.tree.leaves(found.gradient), jax.tree.leaves(gradient), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11, err_msg=name)
        jacobian = tools.jacobian(model, x)
        np.testing.assert_allclose(found.kernel, jacobian @ jacobian.T, rtol=1e-9, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("forgotten", ["a", "b"])
def test_a_forgotten_change_is_noticed(tools, monkeypatch, forgotten):
    """Without the change of the inputs, or of the sensitivities, it is not the quadratic model's gradient."""
    x, y = tools.inputs(5, 4), tools.inputs(5, 1, seed=1)
    model = tools.move(expand(tools.family("wide"), "quadratic"), KEY, 0.7)
    expected = ravel_pytree(partition(eqx.filter_grad(lambda m: mse(predict(m, x), y))(model))[0])[0]
    terms = slopes._terms

    def wrong(a, b, da=None, db=None):
        zero_a, zero_b = (jnp.zeros_like(da), db) if forgotten == "a" else (da, jnp.zeros_like(db))
        return terms(a, b, zero_a, zero_b)

    monkeypatch.setattr(slopes, "_terms", wrong)
    if forgotten == "a":
        monkeypatch.setattr(slopes, "_applied", lambda layer, a, da: (layer(a), jnp.zeros_like(layer(a))))
    found = ravel_pytree(slope_and_kernel(model, mse, x, y).gradient)[0]
    assert np.linalg.norm(found - expected) > 0.01 * np.linalg.norm(expected)


def test_it_is_the_kernel_of_all_families(tools):
    x, y = tools.inputs(3, 4), tools.inputs(3, 1, seed=1)
    model = tools.family("wide", bias=True)
    np.testing.assert_allclose(slope_and_kernel(model, mse, x, y).kernel, kernels.tangent_kernel(model, x), rtol=1e-12)
