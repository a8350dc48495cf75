"""Extreme eigenvalues of symmetric operators, each with its residual as certificate.

Either by conjugate ascent of the Rayleigh quotient (`largest_eigenpair`), which keeps five vectors and ends when its
residual is small: for operators on many weights, of which one pair is wanted. Or by Lanczos with full
reorthogonalisation, which keeps a basis: for either end, and where nothing may be missed. Its loop has a fixed length
and no branches, so it can be batched by `vmap`. When the Krylov space is exhausted (an invariant subspace was found,
or the start was zero) it goes on from a fresh direction orthogonal to it, and the tridiagonal matrix falls into blocks.
So repeated eigenvalues and starts that miss the wanted eigenvector are no trap as long as steps are left, and `steps`
≥ size gives the whole spectrum.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..layers import check_choice

ENDS = ("largest", "smallest", "magnitude")
LEAST_MOVE = 1e-3

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

    @property
    def matrix(self) -> Float[Array, "steps steps"]:
        """A on the basis."""
        return jnp.diag(self.alphas) + jnp.diag(self.betas[:-1], 1) + jnp.diag(self.betas[:-1], -1)


def length(v: Float[Array, " p"]) -> Float[Array, ""]:
    """‖v‖, without underflow or overflow of the squares."""
    largest = jnp.max(jnp.abs(v), initial=0)
    scale = jnp.where(largest > 0, largest, 1)
    return scale * jnp.linalg.norm(v / scale)


def unit(v: Float[Array, " p"]) -> Float[Array, " p"]:
    """v/‖v‖, or 0 for 0."""
    size = length(v)
    return v / jnp.where(size > 0, size, 1)


def spare(v: Float[Array, " p"]) -> Float[Array, " p"]:
    """A vector of that size without structure, cheaper to compile than random numbers."""
    return jnp.cos(jnp.arange(v.shape[0], dtype=v.dtype) ** 2)


def _length(v: Float[Array, " p"], metric: Metric | None) -> tuple[Float[Array, ""], Float[Array, " p"] | None]:
    """The length of v, and its image under the metric if that is not the identity."""
    if metric is None:
        return length(v), None
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
    return _krylov(matvec, start, steps, choose, metric)[1]


def tridiagonal(
    matvec: Callable[[Float[Array, " p"]], Float[Array, " p"]], start: Float[Array, " p"], steps: int
) -> tuple[Float[Array, "k p"], Float[Array, "k k"]]:
    """An orthonormal basis of the Krylov space of `start`, and A on it: the tridiagonal matrix.

    As for `lanczos`, whose last product it makes, too.
    """
    state, _ = _krylov(matvec, start, steps, lambda values, vectors: vectors[:, -1], None)
    return state.basis, state.matrix


def _krylov(
    matvec: Callable[[Float[Array, " p"]], Float[Array, " p"]],
    start: Float[Array, " p"],
    steps: int,
    choose: Callable[[Float[Array, " k"], Float[Array, "k k"]], Float[Array, " k"]],
    metric: Metric | None,
) -> tuple[_State, tuple[Float[Array, " p"], Float[Array, " p"]]]:
    """The last state of Lanczos, and the chosen vector with its image."""
    if steps < 1:
        raise ValueError(f"Lanczos needs at least one step, got {steps}")
    size, dtype = start.shape[0], start.dtype
    steps = min(steps, size)
    rounding = 10 * jnp.finfo(dtype).eps
    fresh = spare(start)

    def orthogonal(v: Array, basis: Array, duals: Array | None) -> Array:
        return v - ((basis if duals is None else duals) @ v) @ basis

    def normalised(v: Array) -> tuple[Array, Array | None]:
        size, dual = _length(v, metric)
        size = jnp.where(size > 0, size, 1)
        return v / size, None if dual is None else dual / size

    def ritz_vector(state: _State) -> tuple[Array, Array | None]:
        return normalised(choose(*jnp.linalg.eigh(state.matrix)) @ state.basis)

    def advance(state: _State, step: Array) -> tuple[_State, tuple[Array, Array]]:
        # The image of the result takes one more product. It is made here, after the last step, because a second place
        # would compile the operator a second time; `step` is not batched, so the branch stays one under vmap.
        v, dual = jax.lax.cond(step == steps, ritz_vector, lambda state: (state.following, state.dual), state)
        image = matvec(v)
        alpha = jnp.dot(v if dual is None else dual, image)
        basis = state.basis.at[step].set(v, mode="drop")
        duals = None if state.duals is None or dual is None else state.duals.at[step].set(dual, mode="drop")
        w = orthogonal(image, basis, duals)
        left, _ = _length(w, metric)
        size_of_a = jnp.maximum(state.size_of_a, jnp.maximum(jnp.abs(alpha), left))
        exhausted = left <= rounding * size_of_a
        # A rolled copy of the spare vector is another direction each time. Once is not enough to orthogonalise: what
        # remains carries rounding errors of the size of what was removed.
        following = jnp.where(exhausted, unit(jnp.roll(fresh, step)), w / jnp.where(exhausted, 1, left))
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

    first, dual = normalised(jnp.where(length(start) > 0, start, fresh))
    zero, row, basis = jnp.zeros((), dtype), jnp.zeros(steps, dtype), jnp.zeros((steps, size), dtype)
    state = _State(basis, None if metric is None else basis, row, row, first, dual, zero)
    return jax.lax.fori_loop(
        0, steps + 1, lambda step, carry: advance(carry[0], step), (state, (first, jnp.zeros_like(first)))
    )


class _Ascent(NamedTuple):
    """The unit vector x so far and its image, the residual Ax − θx, the last move (of unit length) and its image, θ,
    the residual's length, the largest ‖Av‖ seen, whether the image is a product and no sum of earlier ones, and the
    products made."""

    x: Float[Array, " p"]
    image: Float[Array, " p"]
    slope: Float[Array, " p"]
    move: Float[Array, " p"]
    move_image: Float[Array, " p"]
    value: Float[Array, ""]
    residual: Float[Array, ""]
    size_of_a: Float[Array, ""]
    exact: Bool[Array, ""]
    products: Int[Array, ""]


def largest_eigenpair(
    matvec: Callable[[Float[Array, " p"]], Float[Array, " p"]],
    start: Float[Array, " p"],
    tolerance: float = 1e-5,
    products: int = 200,
    least: int | Int[Array, ""] = 2,
    image: Float[Array, " p"] | None = None,
) -> tuple[Estimate, Float[Array, " p"], Int[Array, ""]]:
    """The algebraically largest eigenvalue of a symmetric operator A, its unit eigenvector and the products made.

    From each x to the Ritz vector of the space of x, its residual and the last move: the locally optimal conjugate
    gradient method (LOBPCG with blocks of one), which makes one product per step and converges about as Lanczos would
    without restarts. Images are summed along with the vectors; before the end the image of x is taken anew, so that
    the residual is one of A and not of sums.

    start: any vector that no symmetry keeps orthogonal to the wanted one; a random one, or the last result nearby.
    tolerance: of the residual, relative to |θ|, or what rounding in products leaves of it, 4 ε times the largest ‖Av‖:
        beyond that, steps would follow rounding. A small residual says that some eigenvalue is near; the error of θ is
        of the order of its square once x is near the right one.
    products: the most that are made, at least two; it ends early where θ is not finite.
    least: so many are made in any case. From a random start x has the residual of A's spread over √p, which is small
        at once where A is hardly more than a multiple of the identity: then the first few decide nothing.
    image: A·start, of a unit vector, where it is known; it counts as a product.
    Raises ValueError for fewer than two products.
    Source: A. Knyazev, SIAM J. Sci. Comput. 23 (2001).
    """
    if products < 2:
        raise ValueError(f"an eigenpair needs at least two products, got {products}")
    rounding = 4 * float(jnp.finfo(start.dtype).eps)

    def small(state: _Ascent, share: float) -> Array:
        return state.residual <= share * jnp.maximum(tolerance * jnp.abs(state.value), rounding * state.size_of_a)

    def unfinished(state: _Ascent) -> Array:
        done = state.exact & small(state, 1.0) & (state.products >= least)
        return (state.products < products) & ~done & (jnp.isfinite(state.value) | (state.products == 0))

    def advance(state: _Ascent) -> _Ascent:
        # one product in the program, of x or of the new direction: a second place would compile the operator twice
        renew = ~state.exact & (small(state, 0.5) | (state.products == least - 1))
        renew = renew | (state.products == 0) | (state.products == products - 1)
        new = unit(state.slope - jnp.dot(state.x, state.slope) * state.x)
        vector = jnp.where(renew, state.x, new)
        image = matvec(vector)
        state = jax.lax.cond(renew, _renewed, _ascended, state, vector, image)
        largest = jnp.maximum(state.size_of_a, length(image))
        return state._replace(size_of_a=largest, products=state.products + 1)

    zero, unknown = jnp.zeros_like(start), jnp.full((), jnp.inf, start.dtype)
    none, no = jnp.zeros((), jnp.int32), jnp.asarray(False)
    first = unit(jnp.where(length(start) > 0, start, spare(start)))
    state = _Ascent(first, zero, zero, zero, zero, unknown, unknown, jnp.zeros((), start.dtype), no, none)
    if image is not None:
        state = _renewed(state, first, image)._replace(size_of_a=length(image), products=none + 1)
    state = jax.lax.while_loop(unfinished, advance, state)
    return Estimate(state.value, state.residual), state.x, state.products


def _quotient(x: Array, image: Array) -> tuple[Array, Array, Array]:
    """θ = xᵀAx of a unit vector, Ax − θx and its length."""
    value = jnp.dot(x, image)
    slope = image - value * x
    return value, slope, length(slope)


def _renewed(state: _Ascent, x: Array, image: Array) -> _Ascent:
    """The same vector with a product for its image."""
    value, slope, residual = _quotient(x, image)
    return state._replace(image=image, slope=slope, value=value, residual=residual, exact=jnp.asarray(True))


def _ascended(state: _Ascent, new: Array, image: Array) -> _Ascent:
    """The Ritz vector of the space of x, the new direction orthogonal to it and the last move."""
    x = state.x
    along, across = jnp.dot(x, state.move), jnp.dot(new, state.move)
    move = state.move - along * x - across * new
    move_image = state.move_image - along * state.image - across * image
    left = jnp.linalg.norm(move)
    usable = left > LEAST_MOVE  # of a unit vector; what is left of less is rounding, and so would its image be
    scale = jnp.where(usable, 1 / jnp.where(usable, left, 1), 0)
    vectors, images = (x, new, scale * move), (state.image, image, scale * move_image)
    rows = [[jnp.dot(v, a) for a in images[i:]] for i, v in enumerate(vectors)]
    small = jnp.stack([*rows[0], rows[0][1], *rows[1], rows[0][2], rows[1][1], *rows[2]]).reshape(3, 3)
    # directions that are not there are never chosen; x is an eigenvector where there is no new one
    there = jnp.stack([jnp.asarray(True), jnp.dot(new, new) > 0, usable])
    lowest = -2 * jnp.abs(small).sum() - jnp.finfo(small.dtype).tiny
    small = jnp.where(jnp.diag(~there), lowest, small)
    first, *rest = jnp.linalg.eigh(small)[1][:, -1]

    def moved(own: Array, steps: Sequence[Array]) -> tuple[Array, Array]:
        step = rest[0] * steps[0] + rest[1] * steps[1]
        return first * own + step, step

    (x, step), (image, step_image) = moved(x, vectors[1:]), moved(state.image, images[1:])
    size, moved_by = jnp.linalg.norm(x), jnp.linalg.norm(step)
    moved_by = jnp.where(moved_by > 0, moved_by, 1)
    x, image = x / size, image / size
    value, slope, residual = _quotient(x, image)
    return _Ascent(
        x=x,
        image=image,
        slope=slope,
        move=step / moved_by,
        move_image=step_image / moved_by,
        value=value,
        residual=residual,
        size_of_a=state.size_of_a,
        exact=jnp.asarray(False),
        products=state.products,
    )


def kernel_norm(kernel: Float[Array, "N N"], key: PRNGKeyArray, steps: int = 24) -> Estimate:
    """Largest eigenvalue of a kernel matrix by Lanczos from a random start; exact for N ≤ steps."""
    start = jax.random.normal(key, kernel.shape[:1], kernel.dtype)
    return lanczos_extreme(lambda v: kernel @ v, start, steps, "largest")[0]
