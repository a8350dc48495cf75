"""Gathered products against dense ones, in value and under every transformation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.models import sparse
from tangentbench.models.gathering import gather_product
from tangentbench.models.layers import Factors

OUT, READS, N = 7, 5, 6


@pytest.fixture(scope="module", params=["few columns", "many columns"])
def pair(request):
    """A dense matrix, and the same as weights and places; one value is read by no node, one by all."""
    rng = np.random.default_rng(0)
    size = READS if request.param == "few columns" else 80
    mask = rng.random((OUT, size)) < (0.4 if size == READS else 0.9)
    mask[:, 0], mask[:, 1] = True, False
    dense = np.where(mask, rng.normal(size=mask.shape), 0)
    weight = np.zeros((OUT, mask.sum(1).max()))
    for row, values, exists in zip(weight, dense, mask, strict=True):
        row[: exists.sum()] = values[exists]
    with jax.enable_x64(True):
        return sparse.masked(mask, jnp.asarray(dense)), sparse.gathered(mask, jnp.asarray(weight)), mask


def measures(product, weight, x, b):
    """Value, gradients, forward over reverse, reverse over reverse, per example, and with weights that differ."""

    def loss(weight, x):
        return jnp.sum(jnp.tanh(jax.vmap(lambda a: product(weight, a))(x)) * b)

    def one(a, b):
        return jnp.dot(jnp.tanh(product(weight, a)), b)

    return {
        "value": loss(weight, x),
        "gradient": jax.grad(loss, 1)(weight, x),
        "size of the weights' gradient": jnp.sum(jnp.sort(jax.grad(loss)(weight, x).reshape(-1)) ** 2),
        "forward over reverse": jax.jvp(jax.grad(lambda x: loss(weight, x)), (x,), (jnp.cos(x),))[1],
        "hessian": jax.hessian(one)(x[0], b[0]),
        "reverse over reverse": jax.jacrev(jax.jacrev(one))(x[0], b[0]),
        "per example": jax.vmap(jax.grad(one))(x, b),
        "lanes": jax.vmap(lambda s: jax.grad(loss, 1)(s * weight, x))(jnp.arange(1.0, 3.0)),
    }


def test_every_transformation(pair):
    masked, gathered, mask = pair
    rng = np.random.default_rng(1)
    x, b = jnp.asarray(rng.normal(size=(N, mask.shape[1]))), jnp.asarray(rng.normal(size=(N, OUT)))
    found = jax.jit(lambda w, x, b: measures(lambda w, a: gather_product(w, a, gathered.edges), w, x, b))(
        gathered.weight, x, b
    )
    expected = jax.jit(lambda w, x, b: measures(lambda w, a: jnp.where(mask, w, 0) @ a, w, x, b))(masked.weight, x, b)
    gradient = jax.grad(lambda w: jnp.sum(jnp.tanh(x @ jnp.where(mask, w, 0).T) * b))(masked.weight)
    expected["size of the weights' gradient"] = jnp.sum(gradient**2)
    padded = jax.grad(lambda w: jnp.sum(jnp.tanh(jax.vmap(lambda a: gather_product(w, a, gathered.edges))(x)) * b))(
        gathered.weight
    )
    found["size of the weights' gradient"] = jnp.sum(jnp.where(gathered.mask, padded, 0) ** 2)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-12, err_msg=name)


def test_nodes_that_read_others_are_noticed(pair):
    masked, gathered, mask = pair
    x = jnp.asarray(np.random.default_rng(1).normal(size=mask.shape[1]))
    np.testing.assert_allclose(gathered(x), masked(x), rtol=1e-12)
    shifted = gathered.edges._replace(heads=(gathered.edges.heads + 1) % mask.shape[1])
    assert (
        np.abs(gather_product(gathered.weight, x, shifted) - gather_product(gathered.weight, x, gathered.edges)).max()
        > 0.1
    )


@pytest.mark.parametrize("numbers", [2**24, 30])
def test_gram_of_sums_of_terms(pair, monkeypatch, numbers):
    """All nodes at once, and one after the other."""
    monkeypatch.setattr(sparse, "GRADIENTS", numbers)
    masked, gathered, mask = pair
    rng = np.random.default_rng(2)

    def factors(n):
        a, b = rng.normal(size=(2, n, mask.shape[1])), rng.normal(size=(2, n, 3, OUT))
        return Factors(jnp.asarray(a), jnp.asarray(b))

    left, right = factors(4), factors(3)
    scale = 1 / np.sqrt(mask.sum(1))
    rows = [np.einsum("rncv,rnu,v,vu->ncvu", one.cotangents, one.inputs, scale, mask) for one in (left, right)]
    for first, second, dense in ((left, left, (0, 0)), (left, right, (0, 1))):
        expected = np.einsum("ncvu,mdvu->ncmd", rows[dense[0]], rows[dense[1]])
        for layer in (gathered, masked):
            np.testing.assert_allclose(layer.gram(first, second), expected, rtol=1e-11, atol=1e-12)
