"""The average gradient outer product (AGOP) of a predictor with respect to its inputs, and how alike two of them are.

Source: arXiv 2306.04815
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def agop(model: Any, x: Float[Array, "n d"]) -> Float[Array, "d d"]:
    """(1/n) Σ_i J_iᵀ J_i, with J_i = ∂f(x_i)/∂x the c×d input Jacobian at example i."""
    jacobians = jax.vmap(jax.jacrev(model))(x)
    rows = jacobians.reshape(-1, x.shape[1])
    return rows.T @ rows / x.shape[0]


def alignment(left: Float[Array, "d d"], right: Float[Array, "d d"]) -> Float[Array, ""]:
    """Cosine ⟨G, H⟩/(‖G‖_F ‖H‖_F) of two matrices, in [0, 1] for positive semidefinite ones; 0 if one of them is 0."""
    product = jnp.linalg.norm(left) * jnp.linalg.norm(right)
    return jnp.sum(left * right) / jnp.where(product > 0, product, 1)
