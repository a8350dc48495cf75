"""How much of a vector lies in the span of a kernel's top eigenvectors, with a bound on the error of the answer.

Rayleigh–Ritz on a Krylov space: the eigenvectors come from a fixed number of products, which costs a small part of a
full eigendecomposition and, unlike it, stays cheap under `vmap`. With K = Σ λ_i u_i u_iᵀ, λ_1 ≥ λ_2 ≥ …, P the
projection on u_1, …, u_s, and Ritz pairs (θ_i, û_i) with residuals ρ_i = ‖K û_i − θ_i û_i‖, each û_i leans out of the
range of P by an angle whose sine is at most ρ_i / (θ_i − λ_{s+1}) (Davis and Kahan 1970). A weighted sum of these
sines bounds the error of ‖P r‖², so that the top eigenvector, where almost all of a spike lies, counts with its own gap
and not with the small one below the s-th.

Source: the projection is that of arXiv 2306.04815
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .spectrum import Estimate, unit


class Eigenpairs(NamedTuple):
    """Approximate eigenpairs, largest eigenvalue first, each with its residual ‖K u − θ u‖."""

    values: Float[Array, " k"]
    vectors: Float[Array, "k N"]
    residuals: Float[Array, " k"]


def top_eigenpairs(kernel: Float[Array, "N N"], count: int, key: PRNGKeyArray, steps: int = 48) -> Eigenpairs:
    """The `count` largest eigenvalues of a symmetric matrix and their eigenvectors; all of them for N ≤ steps.

    steps: dimension of the Krylov space of a random start, at least `count`; memory steps·N. ValueError otherwise.
    """
    size = kernel.shape[0]
    if not 1 <= count <= min(steps, size):
        raise ValueError(f"{count} eigenpairs need at least as many steps and rows; got {steps} steps, {size} rows")

    def extend(step: Array, basis: Float[Array, "steps N"]) -> Float[Array, "steps N"]:
        v = unit(basis[step] @ kernel)
        # Twice for rounding. The third time for a space that is exhausted: what is left then is nothing but rounding,
        # a direction as good as any, which only now loses its part within the space.
        for _ in range(3):
            v = unit(v - (basis @ v) @ basis)
        return basis.at[step + 1].set(v)

    dimension = min(steps, size)
    first = unit(jax.random.normal(key, (size,), kernel.dtype))
    basis = jnp.zeros((dimension, size), kernel.dtype).at[0].set(first)
    basis = jax.lax.fori_loop(0, dimension - 1, extend, basis)
    values, coordinates = jnp.linalg.eigh(basis @ kernel @ basis.T)
    values, vectors = values[::-1][:count], (coordinates.T @ basis)[::-1][:count]
    return Eigenpairs(values, vectors, jnp.linalg.norm(vectors @ kernel - values[:, None] * vectors, axis=1))


def eigenspace_split(
    kernel: Float[Array, "N N"], vector: Float[Array, " N"], top: int, key: PRNGKeyArray, steps: int = 48
) -> tuple[Estimate, Estimate]:
    """‖P r‖² and ‖(1 − P) r‖², with P the projection of r on the `top` leading eigenvectors of the kernel.

    Both errors are bounded by the residual, at most ‖r‖²: what it is where the next eigenvalue is as large as the last
    of the `top`, so that their span is no definite space. That eigenvalue is taken from the same Krylov space, with its
    own residual added. An eigenspace of all N dimensions is everything. Errors as for `top_eigenpairs`.
    """
    total = jnp.sum(jnp.square(vector))
    if top >= kernel.shape[0]:
        zero = jnp.zeros_like(total)
        return Estimate(total, zero), Estimate(zero, zero)
    pairs = top_eigenpairs(kernel, top + 1, key, steps)
    inside = pairs.vectors[:top]
    weights = inside @ vector
    outside = vector - weights @ inside
    rest = jnp.linalg.norm(outside)
    gaps = pairs.values[:top] - (pairs.values[top] + pairs.residuals[top])
    sines = jnp.where(gaps > 0, pairs.residuals[:top] / jnp.where(gaps > 0, gaps, 1), jnp.inf)
    leak = jnp.sum(jnp.where(weights == 0, 0, jnp.abs(weights) * sines)) + jnp.sum(jnp.square(sines)) * rest
    bound = jnp.minimum(leak * (leak + 2 * rest), total)
    return Estimate(jnp.sum(jnp.square(weights)), bound), Estimate(jnp.square(rest), bound)
