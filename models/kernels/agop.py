"""The average gradient outer product (AGOP) of a predictor with respect to its inputs, and how alike two of them are.

Sources: arXiv 2306.04815; arXiv 2212.13881 (the inputs of hidden layers)
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..chain import Chain


def agop(model: Any, x: Float[Array, "n d"]) -> Float[Array, "d d"]:
    """(1/n) Σ_i J_iᵀ J_i, with J_i = ∂f(x_i)/∂x the c×d input Jacobian at example i."""
    jacobians = jax.vmap(jax.jacrev(model))(x)
    rows = jacobians.reshape(-1, x.shape[1])
    return rows.T @ rows / x.shape[0]


def layer_agop(chain: Chain, x: Float[Array, "n d"], layer: int) -> Float[Array, "fan_in fan_in"]:
    """AGOP with respect to the input of a layer, counted from 1, where layer 1 gives that of the inputs themselves.

    It is s² Wᵀ B W, with B = (1/n) Σ_i Σ_k b_{i,k} b_{i,k}ᵀ the mean outer product of the sensitivities to the
    pre-activations s W a. ValueError for a layer that the chain does not have.
    """
    if not 1 <= layer <= len(chain.layers):
        raise ValueError(f"layers are counted from 1 to {len(chain.layers)}, the output layer included; got {layer}")
    dense = chain.layers[layer - 1]
    _, cotangents = jax.vmap(chain.sensitivities)(x)
    rows = cotangents[layer - 1].reshape(-1, dense.weight.shape[0])
    gradients = dense.scale * rows @ dense.weight
    return gradients.T @ gradients / x.shape[0]


def alignment(left: Float[Array, "d d"], right: Float[Array, "d d"]) -> Float[Array, ""]:
    """Cosine ⟨G, H⟩/(‖G‖_F ‖H‖_F) of two matrices, in [0, 1] for positive semidefinite ones; 0 if one of them is 0."""
    product = jnp.linalg.norm(left) * jnp.linalg.norm(right)
    return jnp.sum(left * right) / jnp.where(product > 0, product, 1)
