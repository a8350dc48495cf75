"""The tangent kernel K[(i,k), (j,l)] = ⟨∇_w f_k(x_i), ∇_w f_l(z_j)⟩.

Layerwise, for networks of layers (see `layered`). Per layer the gradient of an output of one example is a sum of a few
terms, each bilinear in an input a_r of the layer and a sensitivity b_r: s·Σ_r b_r a_rᵀ for a dense one. A layer knows
the inner products of its gradients. For a dense one they are, with A_r, B_r the stacked vectors,

    K = s² Σ_{r,q} (A_r A_qᵀ) ∘ (B_r B_qᵀ)   (+ G Gᵀ for a bias, whose gradients are G)

which costs two Gram products per pair of terms and never forms a gradient. A network, and its linear expansion at w₀,
have one term (a, b), and the bias gradient b. The gradient of a quadratic expansion is ∇f(w₀) + H(w₀)Δ. By the product
rule it has two terms, (a, b + ḃ) and (ȧ, b), and the bias gradient b + ḃ: here ȧ and ḃ are the changes of a and b along
Δ, from one JVP of the sensitivities. The first layer's input does not change, nor does the last one's sensitivity
unless there is an output activation: one term is left, (a, b + ḃ) or (a + ȧ, b).
Everything else (multilinear expansions, the general quadratic model) goes through its Jacobian.

Source: the kernel is that of arXiv 2010.01092; the quadratic model that of arXiv 2205.11787
"""

from collections.abc import Callable
from functools import partial, reduce
from operator import add
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, PyTree

from ..expansion import LinearExpansion, QuadraticExpansion
from ..layered import Layer, Layered, layered
from ..layers import Factors
from ..parameters import partition

Terms = list[tuple[Array, Array]]
"""Inputs and sensitivities, whose pairs add up to a layer's gradients."""


def tangent_kernel(model: Any, x: Float[Array, "n d"], z: Float[Array, "n2 d"] | None = None) -> Float[Array, "nc n2c"]:
    """Tangent kernel between the examples x and z (default x), with respect to the trained arrays of `model`.

    Rows and columns are example-major: output k of example i is index i·c + k.
    """
    left = features(model, x)
    return kernel_of(model, left, left if z is None else features(model, z))


def features(model: Any, x: Float[Array, "n d"]) -> Any:
    """What the kernel is made of: factors of the gradients, layer by layer; a `jacobian` of a model without layers."""
    if isinstance(model, LinearExpansion):
        return features(model.at_origin(), x)
    if _layers(model) is None:
        return jacobian(model, x)
    if isinstance(model, QuadraticExpansion):
        network, step = layered(model.at_origin()), layered(model.displacement())
        assert network is not None
        *_, terms = jax.vmap(partial(quadratic_terms, network, step))(x)
        return [stacked(one) for one in terms]
    network = layered(model)
    assert network is not None
    return with_factors(network, x)[1]


def kernel_of(model: Any, left: Any, right: Any) -> Float[Array, "nc n2c"]:
    """The tangent kernel between examples with these `features`."""
    layers = _layers(model)
    if layers is None:
        return _contracted(left, right)
    grams = [layer.gram(*pair) for layer, *pair in zip(layers, left, right, strict=True)]
    n, c, n2, _ = grams[0].shape
    return reduce(add, grams).reshape(n * c, n2 * c)


def jacobian(model: Any, x: Float[Array, "n d"]) -> Any:
    """∂f_k(x_i)/∂w as a tree of arrays [n c …] shaped like the trained parameters. Memory n·c·parameters."""
    params, rest = partition(model)
    return jax.vmap(lambda example: jax.jacrev(lambda p: eqx.combine(p, rest)(example))(params))(x)


def _layers(model: Any) -> tuple[Layer, ...] | None:
    """The layers whose gradients make up the model's, or None for a model that is not made of layers."""
    if isinstance(model, LinearExpansion | QuadraticExpansion):
        return _layers(model.at_origin())
    network = layered(model)
    return None if network is None else network.layers


def with_factors(network: Layered, x: Float[Array, "n d"]) -> tuple[Float[Array, "n c"], list[Factors]]:
    """Outputs of a network, and the factors of its gradients."""
    outputs, inputs, cotangents = jax.vmap(network.with_sensitivities)(x)
    return outputs, [Factors(a[None], b[None]) for a, b in zip(inputs, cotangents, strict=True)]


def quadratic_terms(network: Layered, step: PyTree, x: Float[Array, " d"]) -> tuple[Array, Array, list[Terms]]:
    """For one example: the network's outputs, their change along a step in its parameters, and per layer the terms of
    the gradients of its quadratic model there."""
    params, rest = partition(network)

    def at(p: PyTree) -> Any:
        return eqx.combine(p, rest).with_sensitivities(x)

    (value, inputs, cotangents), (change, input_changes, cotangent_changes) = changes(at, params, step)
    parts = zip(inputs, cotangents, input_changes, cotangent_changes, strict=True)
    return value, change, [_terms(*part) for part in parts]


def _terms(a: Array, b: Array, da: Array | None, db: Array | None) -> Terms:
    """(a, b + ḃ) and (ȧ, b), or one term where ȧ or ḃ is always 0."""
    if da is None:
        return [(a, b if db is None else b + db)]
    return [(a + da, b)] if db is None else [(a, b + db), (da, b)]


def stacked(terms: Terms) -> Factors:
    """The factors with these terms."""
    return Factors(*(jnp.stack(part) for part in zip(*terms, strict=True)))


def changes(function: Callable[[PyTree], PyTree], at: PyTree, step: PyTree) -> tuple[PyTree, PyTree]:
    """`jax.jvp`, with None for the changes of results that do not depend on the argument, as JAX's tracing finds."""
    depending: set[int] = set()

    def noted(index: int, result: Array) -> Array:
        @jax.custom_jvp
        def same(result: Array) -> Array:
            return result

        def rule(primals: tuple[Array], tangents: tuple[Any]) -> tuple[Array, Any]:
            if not isinstance(tangents[0], SymbolicZero):
                depending.add(index)
            return primals[0], tangents[0]

        same.defjvp(rule, symbolic_zeros=True)
        return same(result)

    def watched(argument: PyTree) -> PyTree:
        results, tree = jax.tree.flatten(function(argument))
        return jax.tree.unflatten(tree, [noted(*one) for one in enumerate(results)])

    value, change = jax.jvp(watched, (at,), (step,))
    leaves, tree = jax.tree.flatten(change)
    kept = [leaf if index in depending else None for index, leaf in enumerate(leaves)]
    return value, jax.tree.unflatten(tree, kept)


def _contracted(left: Any, right: Any) -> Float[Array, "nc n2c"]:
    def gram(a: Array, b: Array) -> Array:
        rows, columns = a.shape[0] * a.shape[1], b.shape[0] * b.shape[1]
        return a.reshape(rows, -1) @ b.reshape(columns, -1).T

    return reduce(add, map(gram, jax.tree.leaves(left), jax.tree.leaves(right)))
