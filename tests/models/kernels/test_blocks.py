"""Kernels by blocks and by products against the kernel formed at once, which `test_tangent` checks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.models import Dag, expand
from tangentbench.models.kernels import (
    block_examples,
    free_product,
    kernel_in_blocks,
    kernel_product,
    product_costs,
    tangent_kernel,
)

KEY = jax.random.PRNGKey(4)


def model_of(tools, name):
    """A network of layers, its quadratic model off the origin, one that knows no layers, and another package's."""
    if name == "third party":
        return eqx.nn.MLP(4, 2, 5, 1, activation=jnp.tanh, key=KEY)
    if name == "multilinear":
        base = tools.family("bottleneck", 2, depth=2, at=[1])
        return expand(base, name).at(tools.move(base, KEY, 1.0))
    if name == "dag":
        return Dag(4, 2, key=KEY, activation="tanh", generator={"name": "densenet", "depth": 2, "width": 3})
    base = tools.family("wide", 2, bias=True)
    return base if name == "network" else expand(base, name).at(tools.move(base, KEY, 1.0))


@pytest.mark.parametrize("name", ["network", "quadratic", "multilinear", "third party", "dag"])
def test_blocks_and_products_make_the_kernel(tools, name):
    model, x, z = model_of(tools, name), tools.inputs(7, 4), tools.inputs(5, 4, seed=1)
    jacobians = [tools.jacobian(model, inputs) for inputs in (x, z)]
    expected = jacobians[0] @ jacobians[0].T
    scale = np.abs(expected).max()
    # examples in a block: several (factors of all are kept), two, one (computed anew)
    for memory in (10**6, 8 * (4 * 16 + 4 * 60), 100):
        found = kernel_in_blocks(model, x, memory=memory)
        np.testing.assert_allclose(found, expected, atol=1e-12 * scale)
    cross = kernel_in_blocks(model, x, z, memory=2000)
    np.testing.assert_allclose(cross, jacobians[0] @ jacobians[1].T, atol=1e-12 * scale)
    vector = jnp.asarray(np.random.default_rng(3).normal(size=14))
    free = eqx.filter_jit(lambda model, x, v: free_product(model, x)(v))(model, x, vector)
    np.testing.assert_allclose(free, expected @ vector, atol=1e-12 * scale * 14)
    other_order = expected.reshape(7, 2, 7, 2).transpose(1, 0, 3, 2).reshape(14, 14)
    assert np.abs(other_order @ vector - free).max() > 1e-3 * scale


def test_only_half_of_a_symmetric_kernel_is_computed(tools, monkeypatch):
    from tangentbench.models.kernels import blocks

    made, kernel_of = [], blocks.kernel_of
    monkeypatch.setattr(blocks, "kernel_of", lambda *given: made.append(1) or kernel_of(*given))
    monkeypatch.setattr(blocks.eqx, "filter_jit", lambda function: function)
    monkeypatch.setattr(blocks, "block_examples", lambda *_: 2)
    model, x = tools.family("wide"), tools.inputs(8, 4)
    kernel = blocks.kernel_in_blocks(model, x)
    np.testing.assert_allclose(kernel, tangent_kernel(model, x), rtol=1e-12)
    assert len(made) == 4 * 5 // 2
    made.clear()
    blocks.kernel_in_blocks(model, x, x)
    assert len(made) == 16


def test_blocks_fit_the_memory(tools):
    """Twice the features and four blocks: no larger than given, and one more example would be."""
    model, x = tools.family("wide", 3), tools.inputs(500, 4)
    features = 4 + 6 + 6 + 3 * (6 + 6 + 3)  # inputs of three layers, and sensitivities of three outputs
    for memory in (2e4, 1e5, 1e6):
        size = block_examples(model, x, int(memory))
        assert 1 < size < 500
        used = [8 * (2 * features * n + 4 * (3 * n) ** 2) for n in (size, size + 1)]
        assert used[0] <= memory < used[1]
    assert block_examples(model, x, 1) == 1 and block_examples(model, x, 10**12) == 500


def test_the_cheaper_way_is_chosen(tools):
    """Few wide layers and few examples: form it. Many examples of a small network: do not."""
    wide, narrow = tools.family("wide", width=200), tools.family("wide", 3, width=4)
    few, many = tools.inputs(4, 4), tools.inputs(300, 4)
    assert product_costs(wide, few, 20).formed < product_costs(wide, few, 20).free
    assert product_costs(narrow, many, 20).free < product_costs(narrow, many, 20).formed
    for model, x, n2 in ((wide, few, 16), (narrow, many, 900 * 900)):
        v = jnp.ones(x.shape[0] * (1 if model is wide else 3))
        text = str(jax.make_jaxpr(lambda x, v, model=model: kernel_product(model, x, 20)(v))(x, v))
        assert (f"{v.size},{v.size}]" in text) == (model is wide), n2
        found = kernel_product(model, x, 20)(v)
        np.testing.assert_allclose(found, tangent_kernel(model, x) @ v, rtol=1e-9)
