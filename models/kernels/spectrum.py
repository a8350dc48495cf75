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


Metric = Callable[[Float[Array, " p"]], Float[Array, " p"]]


class Estimate(NamedTuple):
    """A value θ with its certificate: for an eigenvalue ‖Av − θv‖, so some eigenvalue of A is that close to θ."""

    value: Float[Array, ""]
    residual: Float[Array, ""]


class Difference(NamedTuple):
    """An `Estimate` of what may cancel, with the size of its terms: its residual is judged by that where the value is
    smaller."""

    value: Float[Array, ""]
    residual: Float[Array, ""]
    scale: Float[Array, ""]


class _State(NamedTuple):
    """The orthonormal basis so far and its dual, the tridiagonal matrix, the next basis vector and its dual, and the
    size of A seen so far. Duals are the images under the metric; None where that is the identity."""

    basis: Float[Array, "steps p"]
    duals: Float[Array, "steps p"] | None
    alphas: Float[Array, " steps"]
    betas: Float[Array, " steps"]
    following: Float[Array, " p"]
    dual: Float[Array, " p"] | None
    size_of_a: Float[Array, ""]


def unit(v: Float[Array, " p"]) -> Float[Array, " p"]:
    """v/‖v‖, or 0 for 0."""
    length = jnp.linalg.norm(v)
    return v / jnp.where(length > 0, length, 1)


def _length(v: Float[Array, " p"], metric: Metric | None) -> tuple[Float[Array, ""], Float[Array, " p"] | None]:
    """The length of v, and its image under the metric if that is not the identity."""
    if metric is None:
        return jnp.linalg.norm(v), None
    dual = metric(v)
    return jnp.sqrt(jnp.maximum(jnp.dot(v, dual), 0)), dual


def lanczos_extreme(
    matvec: Callable[[Float[Array, " p"]], Float[Array, " p"]],
    start: Float[Array, " p"],
    steps: int,
    end: str = "largest",
    metric: Metric | None = None,
) -> tuple[Estimate, Float[Array, " p"]]:
    """An extreme eigenvalue of a symmetric operator A, and its unit eigenvector.

    matvec: v ↦ Av. start: any vector; zero is allowed. steps: applications of A (at most p are made, and one
    more for the residual); memory steps·p.
    metric: v ↦ Gv of the inner product vᵀGw in which A is symmetric and lengths are measured; by default the usual one.
        G may be singular where A is: what it maps to 0 counts as 0. Memory is then twice as much.
    end: "largest" or "smallest" eigenvalue algebraically, or "magnitude": the one of largest |θ|, with its sign.
    Raises ValueError for fewer than one step or another end.
    """
    check_choice("end", end, ENDS)

    def choose(values: Float[Array, " k"], vectors: Float[Array, "k k"]) -> Float[Array, " k"]:
        lower_wins = jnp.abs(values[0]) > jnp.abs(values[-1])
        index = {"largest": -1, "smallest": 0, "magnitude": jnp.where(lower_wins, 0, values.shape[0] - 1)}[end]
        return vectors[:, index]

    vector, image = lanczos(matvec, start, steps, choose, metric)
    dual = vector if metric is None else metric(vector)
    value = jnp.dot(dual, image)
    return Estimate(value, _length(image - value * vector, metric)[0]), vector


def lanczos(
    matvec: Callable[[Float[Array, " p"]], Float[Array, " p"]],
    start: Float[Array, " p"],
    steps: int,
    choose: Callable[[Float[Array, " k"], Float[Array, "k k"]], Float[Array, " k"]],
    metric: Metric | None = None,
) -> tuple[Float[Array, " p"], Float[Array, " p"]]:
    """A unit vector v of the Krylov space of `start`, and its image Av.

    choose: (eigenvalues, eigenvectors in columns) of A on that space ↦ coordinates of v. They refer to the orthonormal
    basis whose first vector is unit(start), as do the eigenvectors. matvec, start, steps, metric, errors: see
    `lanczos_extreme`; the Krylov space has k = min(steps, p) dimensions.
    """
    if steps < 1:
        raise ValueError(f"Lanczos needs at least one step, got {steps}")
    size, dtype = start.shape[0], start.dtype
    steps = min(steps, size)
    rounding = 10 * jnp.finfo(dtype).eps
    spare = jnp.cos(jnp.arange(size, dtype=dtype) ** 2)  # without structure, and cheaper to compile than random numbers

    def orthogonal(v: Array, basis: Array, duals: Array | None) -> Array:
        return v - ((basis if duals is None else duals) @ v) @ basis

    def normalised(v: Array) -> tuple[Array, Array | None]:
        length, dual = _length(v, metric)
        length = jnp.where(length > 0, length, 1)
        return v / length, None if dual is None else dual / length

    def ritz_vector(state: _State) -> tuple[Array, Array | None]:
        values, vectors = jnp.linalg.eigh(
            jnp.diag(state.alphas) + jnp.diag(state.betas[:-1], 1) + jnp.diag(state.betas[:-1], -1)
        )
        return normalised(choose(values, vectors) @ state.basis)

    def advance(state: _State, step: Array) -> tuple[_State, tuple[Array, Array]]:
        # The image of the result takes one more product. It is made here, after the last step, because a second place
        # would compile the operator a second time; `step` is not batched, so the branch stays one under vmap.
        v, dual = jax.lax.cond(step == steps, ritz_vector, lambda state: (state.following, state.dual), state)
        image = matvec(v)
        alpha = jnp.dot(v if dual is None else dual, image)
        basis = state.basis.at[step].set(v, mode="drop")
        duals = None if state.duals is None or dual is None else state.duals.at[step].set(dual, mode="drop")
        w = orthogonal(image, basis, duals)
        length, _ = _length(w, metric)
        size_of_a = jnp.maximum(state.size_of_a, jnp.maximum(jnp.abs(alpha), length))
        exhausted = length <= rounding * size_of_a
        # A rolled copy of the spare vector is another direction each time. Once is not enough to orthogonalise: what
        # remains carries rounding errors of the size of what was removed.
        following = jnp.where(exhausted, unit(jnp.roll(spare, step)), w / jnp.where(exhausted, 1, length))
        following, dual = normalised(orthogonal(orthogonal(following, basis, duals), basis, duals))
        # The next off-diagonal element by its definition: the length of w has the rounding of what was removed from it,
        # which is all there is where the start was nearly an eigenvector.
        beta = jnp.where(exhausted, 0, jnp.dot(following if dual is None else dual, image))
        state = _State(
            basis,
            duals,
            state.alphas.at[step].set(alpha, mode="drop"),
            state.betas.at[step].set(beta, mode="drop"),
            following,
            dual,
            size_of_a,
        )
        return state, (v, image)

    first, dual = normalised(jnp.where(jnp.linalg.norm(start) > 0, start, spare))
    zero, row, basis = jnp.zeros((), dtype), jnp.zeros(steps, dtype), jnp.zeros((steps, size), dtype)
    state = _State(basis, None if metric is None else basis, row, row, first, dual, zero)
    _, found = jax.lax.fori_loop(
        0, steps + 1, lambda step, carry: advance(carry[0], step), (state, (first, jnp.zeros_like(first)))
    )
    return found


def kernel_norm(kernel: Float[Array, "N N"], key: PRNGKeyArray, steps: int = 24) -> Estimate:
    """Largest eigenvalue of a kernel matrix by Lanczos from a random start; exact for N ≤ steps."""
    start = jax.random.normal(key, kernel.shape[:1], kernel.dtype)
    return lanczos_extreme(lambda v: kernel @ v, start, steps, "largest")[0]
