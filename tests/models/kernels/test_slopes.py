"""Loss, gradient and kernel from one pass: against JAX's own gradient of the loss, a dense Jacobian, and the model."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from tangentbench.models import Conv, Dag, expand, kernels, partition, predict, sparse
from tangentbench.models.kernels import slope_and_kernel, tangent

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


@pytest.mark.parametrize(
    ("name", "index", "forgotten"),
    [("wide", 0, "b"), ("wide", 1, "a"), ("wide", 1, "b"), ("wide", 2, "a"), ("wide, output", 2, "b")],
)
def test_a_forgotten_change_is_noticed(tools, monkeypatch, name, index, forgotten):
    """Without the change of one layer's inputs, or sensitivities, neither gradient nor kernel is the quadratic model's.
    An output activation lets the sensitivity of the last layer change."""
    x, y = tools.inputs(5, 4), tools.inputs(5, 2, seed=1)
    model = tools.move(expand(tools.family("wide", 2, **DENSE[name]), "quadratic"), KEY, 2.0)
    expected = ravel_pytree(partition(eqx.filter_jit(eqx.filter_grad(lambda m: mse(predict(m, x), y)))(model))[0])[0]
    jacobian, terms, layer = tools.jacobian(model, x), tangent._terms, itertools.count()

    def wrong(a, b, da, db):
        chosen = next(layer) == index
        return terms(a, b, None if chosen and forgotten == "a" else da, None if chosen and forgotten == "b" else db)

    monkeypatch.setattr(tangent, "_terms", wrong)
    found = eqx.filter_jit(lambda model: slope_and_kernel(model, mse, x, y))(model)  # traced anew
    assert next(layer) == 3
    assert np.linalg.norm(ravel_pytree(found.gradient)[0] - expected) > 0.01 * np.linalg.norm(expected)
    kernel = jacobian @ jacobian.T
    assert np.linalg.norm(found.kernel - kernel) > 1e-3 * np.linalg.norm(kernel)


def test_terms_that_always_vanish_are_left_out(tools, monkeypatch):
    """The input of a layer that reads the example alone, the sensitivity of one from which the outputs are linear."""
    networks = models_of(tools, monkeypatch) | {"linear": tools.family("wide", 2, depth=0)}
    networks["residual"] = Dag(4, 2, key=KEY, generator={"name": "residual", "depth": 3, "width": 6}, activation="relu")
    networks["densenet"] = Dag(4, 2, key=KEY, generator={"name": "densenet", "depth": 2, "width": 6}, activation="tanh")
    counts, x = {}, tools.inputs(3, 4)
    for name in networks.keys() - {"general_quadratic"}:
        model = tools.move(expand(networks[name], "quadratic"), KEY, 0.7)
        features = eqx.filter_jit(tangent.features)(model, x)
        counts[name] = [len(factors.inputs) for factors in features]
        jacobian = tools.jacobian(model, x)
        kernel = eqx.filter_jit(tangent.kernel_of)(model, features, features)
        np.testing.assert_allclose(kernel, jacobian @ jacobian.T, rtol=1e-9, atol=1e-10, err_msg=name)
    assert counts == {
        "wide": [1, 2, 1],
        "wide, output": [1, 2, 2],
        "bottleneck": [1, 2, 2, 1],
        "conv": [1, 2, 1],
        "masked": [1, 2, 2, 1],
        "gathered": [1, 2, 2, 1],
        "linear": [1],
        "residual": [1, 2, 2, 1],
        "densenet": [1, 2, 1],
    }


def test_it_is_the_kernel_of_all_families(tools):
    x, y = tools.inputs(3, 4), tools.inputs(3, 1, seed=1)
    model = tools.family("wide", bias=True)
    np.testing.assert_allclose(slope_and_kernel(model, mse, x, y).kernel, kernels.tangent_kernel(model, x), rtol=1e-12)
