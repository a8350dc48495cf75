"""Extreme eigenvalues of symmetric operators, each with its residual as certificate.

Lanczos with full reorthogonalisation. The loop has a fixed length and no branches, so it can be batched by `vmap`. When
the Krylov space is exhausted (an invariant subspace was found, or the start was zero) it goes on from a fresh
direction orthogonal to it, and the tridiagonal matrix falls into blocks. So repeated eigenvalues and starts
that miss the wanted eigenvector are no trap as long as steps are left, and `steps` ≥ size gives the whole spectrum.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..layers import check_choice

ENDS = ("largest", "smallest", "magnitude")


class Estimate(NamedTuple):
    """A value θ with its certificate: for an eigenvalue ‖Av − θv‖, so some eigenvalue of A is that close to θ."""

    value: Float[Array, ""]
    residual: Float[Array, ""]


class _State(NamedTuple):
    """The orthonormal basis so far, the tridiagonal matrix, the next basis vector, and the size of A seen so far."""

    basis: Float[Array, "steps p"]
    alphas: Float[Array, " steps"]
    betas: Float[Array, " steps"]
    following: Float[Array, " p"]
    size_of_a: Float[Array, ""]


def unit(v: Float[Array, " p"]) -> Float[Array, " p"]:
    """v/‖v‖, or 0 for 0."""
    length = jnp.linalg.norm(v)
    return v / jnp.where(length > 0, length, 1)


def lanczos_extreme(
    matvec: Callable[[Float[Array, " p"]], Float[Array, " p"]],
    start: Float[Array, " p"],
    steps: int,
    end: str = "largest",
) -> tuple[Estimate, Float[Array, " p"]]:
    """An extreme eigenvalue of a symmetric operator A, and its unit eigenvector.

    matvec: v ↦ Av. start: any vector; zero is allowed. steps: applications of A (at most p are made, and one
    more for the residual); memory steps·p.
    end: "largest" or "smallest" eigenvalue algebraically, or "magnitude": the one of largest |θ|, with its sign.
    Raises ValueError for fewer than one step or another end.
    """
    check_choice("end", end, ENDS)
    if steps < 1:
        raise ValueError(f"Lanczos needs at least one step, got {steps}")
    size, dtype = start.shape[0], start.dtype
    steps = min(steps, size)
    last = steps - 1
    rounding = 10 * jnp.finfo(dtype).eps
    spare = jnp.cos(jnp.arange(size, dtype=dtype) ** 2)  # without structure, and cheaper to compile than random numbers

    def orthogonal(v: Array, basis: Array) -> Array:
        return v - (basis @ v) @ basis

    def ritz_vector(state: _State) -> Array:
        values, vectors = jnp.linalg.eigh(
            jnp.diag(state.alphas) + jnp.diag(state.betas[:-1], 1) + jnp.diag(state.betas[:-1], -1)
        )
        lower_wins = jnp.abs(values[0]) > jnp.abs(values[last])
        index = {"largest": last, "smallest": 0, "magnitude": jnp.where(lower_wins, 0, last)}[end]
        return unit(vectors[:, index] @ state.basis)

    def advance(state: _State, step: Array) -> tuple[_State, tuple[Estimate, Array]]:
        # The residual takes one more product. It is made here, after the last step, because a second place would
        # compile the operator a second time; `step` is not batched, so the branch stays one under vmap.
        v = jax.lax.cond(step == steps, ritz_vector, lambda state: state.following, state)
        w = matvec(v)
        alpha = jnp.dot(v, w)
        estimate = Estimate(alpha, jnp.linalg.norm(w - alpha * v))
        basis = state.basis.at[step].set(v, mode="drop")
        w = orthogonal(w, basis)
        beta = jnp.linalg.norm(w)
        size_of_a = jnp.maximum(state.size_of_a, jnp.maximum(jnp.abs(alpha), beta))
        exhausted = beta <= rounding * size_of_a
        # A rolled copy of the spare vector is another direction each time. Once is not enough to orthogonalise: what
        # remains carries rounding errors of the size of what was removed.
        following = jnp.where(exhausted, unit(jnp.roll(spare, step)), w / jnp.where(exhausted, 1, beta))
        following = unit(orthogonal(orthogonal(following, basis), basis))
        state = _State(
            basis,
            state.alphas.at[step].set(alpha, mode="drop"),
            state.betas.at[step].set(jnp.where(exhausted, 0, beta), mode="drop"),
            following,
            size_of_a,
        )
        return state, (estimate, v)

    first = jnp.where(jnp.linalg.norm(start) > 0, unit(start), unit(spare))
    zero, row = jnp.zeros((), dtype), jnp.zeros(steps, dtype)
    state = _State(jnp.zeros((steps, size), dtype), row, row, first, zero)
    _, (estimate, vector) = jax.lax.fori_loop(
        0, steps + 1, lambda step, carry: advance(carry[0], step), (state, (Estimate(zero, zero), first))
    )
    return estimate, vector


def kernel_norm(kernel: Float[Array, "N N"], key: PRNGKeyArray, steps: int = 24) -> Estimate:
    """Largest eigenvalue of a kernel matrix by Lanczos from a random start; exact for N ≤ steps."""
    start = jax.random.normal(key, kernel.shape[:1], kernel.dtype)
    return lanczos_extreme(lambda v: kernel @ v, start, steps, "largest")[0]
