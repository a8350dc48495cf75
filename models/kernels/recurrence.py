"""The eigenvalue of largest magnitude by Lanczos' three-term recurrence, without orthogonalising against the basis.

The recurrence reads two vectors per step where full reorthogonalisation (`spectrum.lanczos`) reads all of them six
times, which on small factors of large layers is nearly all of the cost. What it gives up: in floating point the basis
loses orthogonality as soon as an eigenvalue has converged, and copies of that eigenvalue appear ("ghosts"). Extreme
values are none the worse for it, but a Ritz vector of a ghost may have any length, or none. So the vector is no Ritz
vector but the part of the start in the eigenspace,

    v ∝ Q f(T) e₁,   f = 1 for the chosen eigenvalue and its copies, and 0 for the others,

since functions of the tridiagonal T, applied to the start, are as good as without rounding. A space that is exhausted
goes on from a fresh direction, which counts as another start. The residual is measured, with a product of its own.

Source: A. Greenbaum, Behavior of slightly perturbed Lanczos recurrences, 1989 (why extreme values are right);
V. Druskin and L. Knizhnerman, Error bounds in the simple Lanczos procedure, 1991 (functions of T).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .spectrum import Estimate, length, spare, unit

COPIES = 1e3
"""Eigenvalues of T within so many units in the last place of its size are copies of one."""


class _State(NamedTuple):
    """The vectors so far, the tridiagonal matrix, which vectors are starts, the next one, the last one with the element
    that couples it, and the size of A seen so far."""

    basis: Float[Array, "steps p"]
    alphas: Float[Array, " steps"]
    betas: Float[Array, " steps"]
    starts: Float[Array, " steps"]
    following: Float[Array, " p"]
    last: Float[Array, " p"]
    beta: Float[Array, ""]
    size_of_a: Float[Array, ""]


def recurrence_extreme(
    matvec: Callable[[Float[Array, " p"]], Float[Array, " p"]], start: Float[Array, " p"], steps: int
) -> tuple[Estimate, Float[Array, " p"]]:
    """The eigenvalue of largest |θ| of a symmetric operator, with its sign, and its unit eigenvector.

    start: any vector; zero is allowed. steps: applications of A, and one more for the residual; memory steps·p. Fixed
    length, no branches on data: can be batched. ValueError for fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"Lanczos needs at least one step, got {steps}")
    dtype, eps = start.dtype, jnp.finfo(start.dtype).eps
    other = spare(start)

    def chosen(state: _State) -> Array:
        off = state.betas[:-1]
        values, vectors = jnp.linalg.eigh(jnp.diag(state.alphas) + jnp.diag(off, 1) + jnp.diag(off, -1))
        wanted = jnp.where(jnp.abs(values[0]) > jnp.abs(values[-1]), values[0], values[-1])
        copies = jnp.abs(values - wanted) <= COPIES * eps * jnp.abs(wanted)
        coordinates = vectors @ jnp.where(copies, state.starts @ vectors, 0)
        return unit(unit(coordinates) @ state.basis)

    def advance(step: Array, carry: tuple[_State, tuple[Array, Array]]) -> tuple[_State, tuple[Array, Array]]:
        # one product in the program, the residual's too: a second place would compile the operator a second time
        state, _ = carry
        v = jax.lax.cond(step == steps, chosen, lambda state: state.following, state)
        image = matvec(v)
        w = image - state.beta * state.last
        alpha = jnp.dot(v, w)
        w = w - alpha * v
        w = w - jnp.dot(v, w) * v
        left = length(w)
        size_of_a = jnp.maximum(state.size_of_a, jnp.maximum(jnp.abs(alpha), left))
        exhausted = left <= 10 * eps * size_of_a
        fresh = unit(jnp.roll(other, step))
        following = jnp.where(exhausted, unit(fresh - jnp.dot(v, fresh) * v), w / jnp.where(exhausted, 1, left))
        beta = jnp.where(exhausted, 0, left)
        state = _State(
            basis=state.basis.at[step].set(v, mode="drop"),
            alphas=state.alphas.at[step].set(alpha, mode="drop"),
            betas=state.betas.at[step].set(beta, mode="drop"),
            starts=state.starts.at[step + 1].set(exhausted.astype(dtype), mode="drop"),
            following=following,
            last=v,
            beta=beta,
            size_of_a=size_of_a,
        )
        return state, (v, image)

    first = unit(start)
    first = jnp.where(jnp.any(first != 0), first, unit(other))
    row, zero = jnp.zeros(steps, dtype), jnp.zeros((), dtype)
    state = _State(
        basis=jnp.zeros((steps, start.shape[0]), dtype),
        alphas=row,
        betas=row,
        starts=row.at[0].set(1),
        following=first,
        last=jnp.zeros_like(first),
        beta=zero,
        size_of_a=zero,
    )
    _, (vector, image) = jax.lax.fori_loop(0, steps + 1, advance, (state, (first, jnp.zeros_like(first))))
    value = jnp.dot(vector, image)
    return Estimate(value, length(image - value * vector)), vector
