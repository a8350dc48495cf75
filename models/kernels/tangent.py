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
    factors = _factors(model, x)
    if factors is None:
        return _jacobian_kernel(model, x, z)
    others = factors if z is None else _factors(model, z)
    assert others is not None
    grams = [layer.gram(left, right) for (layer, left), (_, right) in zip(factors, others, strict=True)]
    n, c, n2, _ = grams[0].shape
    return reduce(add, grams).reshape(n * c, n2 * c)


def jacobian(model: Any, x: Float[Array, "n d"]) -> Any:
    """∂f_k(x_i)/∂w as a tree of arrays [n c …] shaped like the trained parameters. Memory n·c·parameters."""
    params, rest = partition(model)
    return jax.vmap(lambda example: jax.jacrev(lambda p: eqx.combine(p, rest)(example))(params))(x)


def _factors(model: Any, x: Float[Array, "n d"]) -> list[tuple[Layer, Factors]] | None:
    """Per layer the factors of the gradients, or None for a model that is not made of layers."""
    if isinstance(model, LinearExpansion):
        return _factors(model.at_origin(), x)
    if isinstance(model, QuadraticExpansion):
        network, step = layered(model.at_origin()), layered(model.displacement())
        return None if network is None or step is None else _quadratic_factors(network, step, x)
    network = layered(model)
    if network is None:
        return None
    inputs, cotangents = jax.vmap(network.sensitivities)(x)
    terms = [Factors(a[None], b[None]) for a, b in zip(inputs, cotangents, strict=True)]
    return list(zip(network.layers, terms, strict=True))


def _quadratic_factors(network: Layered, step: Layered, x: Float[Array, "n d"]) -> list[tuple[Layer, Factors]]:
    params, rest = partition(network)

    def moved(example: Float[Array, " d"]) -> Any:
        return jax.jvp(lambda p: eqx.combine(p, rest).sensitivities(example), (params,), (step,))

    (inputs, cotangents), (input_changes, cotangent_changes) = jax.vmap(moved)(x)
    changes = zip(network.layers, inputs, cotangents, input_changes, cotangent_changes, strict=True)
    return [(layer, Factors(jnp.stack([a, da]), jnp.stack([b + db, b]))) for layer, a, b, da, db in changes]


def _jacobian_kernel(model: Any, x: Float[Array, "n d"], z: Float[Array, "n2 d"] | None) -> Float[Array, "nc n2c"]:
    left = jacobian(model, x)
    right = left if z is None else jacobian(model, z)

    def gram(a: Array, b: Array) -> Array:
        rows, columns = a.shape[0] * a.shape[1], b.shape[0] * b.shape[1]
        return a.reshape(rows, -1) @ b.reshape(columns, -1).T

    return reduce(add, map(gram, jax.tree.leaves(left), jax.tree.leaves(right)))
