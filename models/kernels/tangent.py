"""The tangent kernel K[(i,k), (j,l)] = ⟨∇_w f_k(x_i), ∇_w f_l(z_j)⟩.

Layerwise, for networks of layers (see `layered`). Per layer the gradient of an output of one example is a sum of a few
terms, each bilinear in an input a_r of the layer and a sensitivity b_r: s·Σ_r b_r a_rᵀ for a dense one. A layer knows
the inner products of its gradients. For a dense one they are, with A_r, B_r the stacked vectors,

    K = s² Σ_{r,q} (A_r A_qᵀ) ∘ (B_r B_qᵀ)   (+ G Gᵀ for a bias, whose gradients are G)

which costs two Gram products and never forms a gradient. A network, and its linear expansion at w₀, have one term
(a, b), and the bias gradient b. The gradient of a quadratic expansion is ∇f(w₀) + H(w₀)Δ. By the product rule it has
two terms, (a, b + ḃ) and (ȧ, b), and the bias gradient b + ḃ: here ȧ and ḃ are the changes of a and b along Δ, from one
JVP of the sensitivities.
Everything else (multilinear expansions, the general quadratic model) goes through its Jacobian.

Source: the kernel is that of arXiv 2010.01092; the quadratic model that of arXiv 2205.11787
"""

from functools import reduce
from operator import add
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..expansion import LinearExpansion, QuadraticExpansion
from ..layered import Layer, Layered, layered
from ..layers import Factors
from ..parameters import partition


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
        return _quadratic_factors(layered(model.at_origin()), layered(model.displacement()), x)
    network = layered(model)
    assert network is not None
    inputs, cotangents = jax.vmap(network.sensitivities)(x)
    return [Factors(a[None], b[None]) for a, b in zip(inputs, cotangents, strict=True)]


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


def _quadratic_factors(network: Layered | None, step: Layered | None, x: Float[Array, "n d"]) -> list[Factors]:
    assert network is not None and step is not None
    params, rest = partition(network)

    def moved(example: Float[Array, " d"]) -> Any:
        return jax.jvp(lambda p: eqx.combine(p, rest).sensitivities(example), (params,), (step,))

    (inputs, cotangents), (input_changes, cotangent_changes) = jax.vmap(moved)(x)
    changes = zip(inputs, cotangents, input_changes, cotangent_changes, strict=True)
    return [Factors(jnp.stack([a, da]), jnp.stack([b + db, b])) for a, b, da, db in changes]


def _contracted(left: Any, right: Any) -> Float[Array, "nc n2c"]:
    def gram(a: Array, b: Array) -> Array:
        rows, columns = a.shape[0] * a.shape[1], b.shape[0] * b.shape[1]
        return a.reshape(rows, -1) @ b.reshape(columns, -1).T

    return reduce(add, map(gram, jax.tree.leaves(left), jax.tree.leaves(right)))
