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


def test_second_derivatives_in_the_weights(pair):
    """For f = Σ_v b_v tanh(z_v) with z = W a they are in closed form: of weights of one node, and of a weight and a.

    With t for tanh at z_v, ∂²f/∂w_vu∂w_vs = b_v t'' a_u a_s and ∂²f/∂w_vu∂a_s = b_v (t'' a_u w_vs + t' δ_us).
    """
    masked, gathered, mask = pair
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=mask.shape[1]), rng.normal(size=OUT)
    v, u = np.nonzero(mask)
    place = np.concatenate([np.arange(row.sum()) for row in mask])  # of an edge, in its node's row

    def f(weight, a):
        return jnp.dot(jnp.tanh(gather_product(jnp.where(gathered.mask, weight, 0), a, gathered.edges)), jnp.asarray(b))

    def flat(w):
        return f(w[: gathered.weight.size].reshape(gathered.weight.shape), w[gathered.weight.size :])

    whole = jnp.concatenate([gathered.weight.reshape(-1), jnp.asarray(a)])
    chosen = np.concatenate([v * gathered.weight.shape[1] + place, gathered.weight.size + np.arange(a.size)])
    elsewhere = np.setdiff1d(np.arange(whole.size), chosen)

    dense = np.asarray(masked.weight)
    slope = 1 - np.tanh(dense @ a) ** 2
    bend = -2 * np.tanh(dense @ a) * slope
    weights = np.where(v[:, None] == v, (b * bend)[v][:, None] * np.outer(a[u], a[u]), 0)
    curved = (b * bend)[v][:, None] * a[u][:, None] * dense[v]
    mixed = curved + (b * slope)[v][:, None] * (u[:, None] == np.arange(a.size))
    inputs = dense.T @ ((b * bend)[:, None] * dense)
    expected = np.block([[weights, mixed], [mixed.T, inputs]])

    direction = jnp.asarray(rng.normal(size=whole.size))
    found = {
        "forward over reverse": jax.jit(jax.jacfwd(jax.jacrev(flat)))(whole),
        "reverse over reverse": jax.jit(jax.jacrev(jax.jacrev(flat)))(whole),
    }
    for name, hessian in found.items():
        assert not np.asarray(hessian)[elsewhere].any() and not np.asarray(hessian)[:, elsewhere].any(), name
        np.testing.assert_allclose(hessian[np.ix_(chosen, chosen)], expected, rtol=1e-10, atol=1e-12, err_msg=name)
    products = {
        "product": jax.jvp(jax.grad(flat), (whole,), (direction,))[1],
        "product by reverse": jax.grad(lambda w: jnp.vdot(jax.grad(flat)(w), direction))(whole),
    }
    for name, product in products.items():
        np.testing.assert_allclose(product[chosen], expected @ direction[chosen], rtol=1e-9, atol=1e-11, err_msg=name)
    # differences of the value: no derivative is taken by JAX, nor by hand
    step, value = 1e-3, jax.jit(jax.vmap(flat))
    moves = step * np.eye(whole.size)[rng.choice(chosen, 12, replace=False)]
    corners = [value(np.asarray(whole) + (s * moves[:, None] + t * moves).reshape(-1, whole.size)) for s, t in
               ((1, 1), (1, -1), (-1, 1), (-1, -1))]  # fmt: skip
    differences = (corners[0] - corners[1] - corners[2] + corners[3]).reshape(12, 12) / (4 * step**2)
    some = np.nonzero(moves)[1]
    np.testing.assert_allclose(differences, found["forward over reverse"][np.ix_(some, some)], atol=1e-4)
    # wrong on purpose: the product's own bilinearity forgotten, and weights of other nodes
    scale = np.abs(expected).max()
    assert np.abs(curved - mixed).max() > 0.01 * scale
    assert np.abs(np.roll(weights, 1, axis=0) - weights).max() > 0.01 * scale


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
