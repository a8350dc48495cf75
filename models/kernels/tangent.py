"""The tangent kernel K[(i,k), (j,l)] = ⟨∇_w f_k(x_i), ∇_w f_l(z_j)⟩.

Layerwise, for chains of dense layers. Per layer the gradient of an output of one example is s·Σ_r b_r a_rᵀ, a sum of
a few outer products of fan-in vectors a_r and fan-out vectors b_r. So, with A_r, B_r the stacked vectors,

    K = Σ_layers s² Σ_{r,q} (A_r A_qᵀ) ∘ (B_r B_qᵀ)   (+ G Gᵀ for a bias, whose gradients are G)

which costs two Gram products per layer and never forms a gradient. A network, and its linear expansion at w₀, have one
term (a, b), and the bias gradient b. The gradient of a quadratic expansion is ∇f(w₀) + H(w₀)Δ. By the product rule on
b aᵀ it has two terms, (a, b + ḃ) and (ȧ, b), and the bias gradient b + ḃ: here ȧ and ḃ are the changes of a and b along
Δ, from one JVP of the sensitivities.
Everything else (multilinear expansions, the general quadratic model) goes through its Jacobian.

Source: the kernel is that of arXiv 2010.01092; the quadratic model that of arXiv 2205.11787
"""

from functools import reduce
from operator import add
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..chain import Chain
from ..expansion import LinearExpansion, QuadraticExpansion
from ..parameters import partition


class _Factors(NamedTuple):
    """One layer's gradients on n examples, as sums over r of outer products."""

    inputs: Float[Array, "r n fan_in"]
    cotangents: Float[Array, "r n c fan_out"]
    bias: Float[Array, "n c fan_out"] | None
    scale: float


def chain_of(model: Any) -> Chain | None:
    """The chain of dense layers that the model consists of, or None."""
    chain = getattr(model, "chain", None)
    return chain if isinstance(chain, Chain) else None


def tangent_kernel(model: Any, x: Float[Array, "n d"], z: Float[Array, "n2 d"] | None = None) -> Float[Array, "nc n2c"]:
    """Tangent kernel between the examples x and z (default x), with respect to the trained arrays of `model`.

    Rows and columns are example-major: output k of example i is index i·c + k.
    """
    factors = _chain_factors(model, x)
    if factors is None:
        return _jacobian_kernel(model, x, z)
    others = factors if z is None else _chain_factors(model, z)
    assert others is not None
    return reduce(add, map(_layer_kernel, factors, others))


def jacobian(model: Any, x: Float[Array, "n d"]) -> Any:
    """∂f_k(x_i)/∂w as a tree of arrays [n c …] shaped like the trained parameters. Memory n·c·parameters."""
    params, rest = partition(model)
    return jax.vmap(lambda example: jax.jacrev(lambda p: eqx.combine(p, rest)(example))(params))(x)


def _chain_factors(model: Any, x: Float[Array, "n d"]) -> list[_Factors] | None:
    """Per layer the factors of the gradients, or None for a model that is not made of a chain."""
    if isinstance(model, LinearExpansion):
        return _chain_factors(model.at_origin(), x)
    if isinstance(model, QuadraticExpansion):
        chain, step = chain_of(model.at_origin()), chain_of(model.displacement())
        return None if chain is None or step is None else _quadratic_factors(chain, step, x)
    chain = chain_of(model)
    if chain is None:
        return None
    inputs, cotangents = jax.vmap(chain.sensitivities)(x)
    return [
        _Factors(a[None], b[None], None if layer.bias is None else b, layer.scale)
        for layer, a, b in zip(chain.layers, inputs, cotangents, strict=True)
    ]


def _quadratic_factors(chain: Chain, step: Chain, x: Float[Array, "n d"]) -> list[_Factors]:
    def moved(example: Float[Array, " d"]) -> Any:
        return jax.jvp(lambda c: c.sensitivities(example), (chain,), (step,))

    (inputs, cotangents), (input_changes, cotangent_changes) = jax.vmap(moved)(x)
    factors = []
    for layer, a, b, da, db in zip(chain.layers, inputs, cotangents, input_changes, cotangent_changes, strict=True):
        bias = None if layer.bias is None else b + db
        factors.append(_Factors(jnp.stack([a, da]), jnp.stack([b + db, b]), bias, layer.scale))
    return factors


def _layer_kernel(left: _Factors, right: _Factors) -> Float[Array, "nc n2c"]:
    terms, n, c, _ = left.cotangents.shape
    others, n2 = right.inputs.shape[:2]
    inner = jnp.einsum("rnf,qmf->rnqm", left.inputs, right.inputs).reshape(terms, n, 1, others, n2, 1)
    outer = jnp.einsum("rncw,qmdw->rncqmd", left.cotangents, right.cotangents)
    kernel = left.scale**2 * jnp.sum(inner * outer, axis=(0, 3))
    if left.bias is not None and right.bias is not None:
        kernel = kernel + jnp.einsum("ncw,mdw->ncmd", left.bias, right.bias)
    return kernel.reshape(n * c, n2 * c)


def _jacobian_kernel(model: Any, x: Float[Array, "n d"], z: Float[Array, "n2 d"] | None) -> Float[Array, "nc n2c"]:
    left = jacobian(model, x)
    right = left if z is None else jacobian(model, z)

    def gram(a: Array, b: Array) -> Array:
        rows, columns = a.shape[0] * a.shape[1], b.shape[0] * b.shape[1]
        return a.reshape(rows, -1) @ b.reshape(columns, -1).T

    return reduce(add, map(gram, jax.tree.leaves(left), jax.tree.leaves(right)))
