"""Restricted strong convexity: the curvature of the loss along directions that correlate with the average gradient.

Notation: N = n·c pairs (i, k) of an example and an output; r = f − y; ḡ = (1/N) Σ ∇f_k(x_i) the average gradient of the
predictor; L = (s/2) Σ r_ik² the loss; ν = s·N. For `mse` with one output ν = 2, the paper's square loss.

For a step ρu with ‖u‖ = 1 the curvature q = 2 [L(w + ρu) − L(w) − ρ⟨∇L(w), u⟩]/ρ² is a mean of uᵀ∇²L u over the
segment, with weights 2(1 − t) at w + tρu, and

    uᵀ∇²L u = s Σ ⟨∇f_ik, u⟩² + s Σ r_ik uᵀ∇²f_ik u.

By Jensen's inequality the first sum is at least ν⟨ḡ, u⟩² ≥ νκ²‖ḡ‖² if |cos(u, ḡ)| ≥ κ, the cone Q_κ. By Cauchy's the
second is at most s·√(Σ r²)·√N·h = √(2νL)·h in size, with h = sup ‖∇²f_k(x_i)‖₂. So, where q tends with ρ,

    q ≥ νκ²‖ḡ‖² − √(2νL)·h                   for `mse` and one output: 2κ²‖ḡ‖² − 2√L·h.

On a segment of length ρ the gradients and the residuals move, which the exact bound pays for,

    q ≥ νκ²‖ḡ‖² − (2/3)νκ‖ḡ‖ρh − h·√(2ν sup L),     h and sup L over the segment,

and the paper with constants of its own: α_t = 2κ²‖ḡ‖² − 2c_H(2ϱρ + √c)/√m has the upper bounds ϱ ≥ ‖ḡ‖, c_H/√m ≥ h
and c ≥ L.

Source: arXiv 2209.15106, Section 4 (restricted strong convexity for the square loss).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from ..parameters import partition, predict
from .hessian import loss_on, predictor_hessian_norm
from .spectrum import Estimate, lanczos, lanczos_extreme, unit

Product = Callable[[Float[Array, " p"]], Float[Array, " p"]]
SIDE_BY_SIDE = 64  # Hessians of examples estimated together
LEAST_SHIFT, LARGEST_SHIFT = -60, 40  # powers of two: below the rounding of float64, and beyond any spread
BISECTIONS = 50
ROUNDINGS = 4  # units in the last place that each part is off by: sums of few terms, and of many in pairs


class Curvature(NamedTuple):
    """The smallest curvature found, with the residual of its direction, and that direction with its sign."""

    estimate: Estimate
    direction: Float[Array, " p"]


def average_gradient(model: Any, x: Float[Array, "n d"]) -> Float[Array, " p"]:
    """ḡ, the mean over examples and outputs of ∇_w f_k(x_i), as one vector of all trained weights."""
    params, rest = partition(model)
    return ravel_pytree(jax.grad(lambda p: jnp.mean(predict(eqx.combine(p, rest), x)))(params))[0]


def largest_hessian_norm(model: Any, x: Float[Array, "n d"], key: PRNGKeyArray, steps: int = 32) -> Estimate:
    """max over examples and outputs of ‖∇²_w f_k(x_i)‖₂, with the residual of the one that gives it."""
    keys = jax.random.split(key, len(x))

    def norm(job: tuple[Array, Array]) -> Estimate:
        return predictor_hessian_norm(model, job[0], job[1], steps)

    norms = jax.lax.map(norm, (x, keys), batch_size=min(SIDE_BY_SIDE, len(x)))
    largest = jnp.argmax(norms.value)
    return Estimate(norms.value[largest], norms.residual[largest])


def minimum_in_cone(
    matvec: Product, axis: Float[Array, " p"], kappa: float | Float[Array, ""], steps: int
) -> tuple[Estimate, Float[Array, " p"]]:
    """min of uᵀAu over the cone |cos(u, axis)| ≥ κ, ‖u‖ = 1, for a symmetric A, and the u that attains it.

    On the Krylov space of the axis, which contains the minimiser unless an eigenvector is orthogonal to all of it.
    There the axis is the first basis vector; let w_i be the square of eigenvector i's coordinate along it. A minimiser
    is an eigenvector of A − μ·axis axisᵀ, of an eigenvalue λ at or below the spectrum of A. So with
    S_j = Σ w_i/(λ_i − λ)^j its coordinates are √w_i/(λ_i − λ)/√S_2, and its cosine with the axis is S_1/√S_2, which
    falls from 1 as λ rises from −∞. λ is where that is κ, or the least eigenvalue if it never is: then the cone does
    not bind. The residual is the length of Au outside span(u, axis), 0 at a minimiser. steps: products with A.
    """
    axis = unit(axis)

    def choose(values: Float[Array, " k"], vectors: Float[Array, "k k"]) -> Float[Array, " k"]:
        # the floor lets an eigenvector that misses the axis take part: the minimum may need it (the hard case)
        first = vectors[0]
        coordinate = jnp.where(first < 0, -1, 1) * jnp.maximum(jnp.abs(first), jnp.finfo(values.dtype).eps)
        above = values - values[0]
        spread = jnp.where(above[-1] > 0, above[-1], 1)

        def minimiser(exponent: Array) -> Array:
            return unit(coordinate / (above / spread + 2**exponent))

        def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = (low + high) / 2
            inside = jnp.abs(jnp.dot(coordinate, minimiser(middle))) >= kappa
            return jnp.where(inside, low, middle), jnp.where(inside, middle, high)

        ends = jnp.asarray(LEAST_SHIFT, values.dtype), jnp.asarray(LARGEST_SHIFT, values.dtype)
        return vectors @ minimiser(jax.lax.fori_loop(0, BISECTIONS, halve, ends)[1])

    u, image = lanczos(matvec, axis, steps, choose)
    value = jnp.dot(u, image)
    outside = unit(u - jnp.dot(u, axis) * axis)
    rest = image - jnp.dot(image, axis) * axis
    return Estimate(value, jnp.linalg.norm(rest - jnp.dot(rest, outside) * outside)), u


def minimum_across(matvec: Product, axis: Float[Array, " p"], steps: int) -> tuple[Estimate, Float[Array, " p"]]:
    """min of uᵀAu over unit vectors u orthogonal to the axis, for a symmetric A, and the u that attains it.

    Lanczos on the compression of A to the complement. Its coordinates are the last p − 1 after the reflection that
    exchanges the axis and the first basis vector, so the axis itself cannot slip in.
    """
    axis = unit(axis)
    sign = jnp.where(axis[0] < 0, -1, 1).astype(axis.dtype)
    normal = unit(axis.at[0].add(sign))

    def reflect(v: Array) -> Array:
        return v - 2 * jnp.dot(normal, v) * normal

    def lift(z: Array) -> Array:
        return reflect(jnp.concatenate([jnp.zeros(1, z.dtype), z]))

    estimate, z = lanczos_extreme(
        lambda z: reflect(matvec(lift(z)))[1:], reflect(matvec(axis))[1:], min(steps, len(axis) - 1), "smallest"
    )
    return estimate, lift(z)


def curvature_in_cone(
    model: Any,
    loss: Callable[[Float[Array, "n c"], Float[Array, "n c"]], Float[Array, ""]],
    x: Float[Array, "n d"],
    y: Float[Array, "n c"],
    key: PRNGKeyArray,
    *,
    kappa: float,
    radius: float,
    directions: int = 8,
    steps: int = 32,
) -> Curvature:
    """The smallest curvature q found at distance `radius` in Q_κ: an upper bound of the infimum.

    Tried are both signs of the minimiser of uᵀ∇²L u (`minimum_in_cone`), whose residual is given with the rounding of
    the difference (`_least`), and of `directions` random ones with cosine κ. The cone has no meaning for ḡ = 0: NaN.
    """

    def tried(product: Product, mean: Array) -> tuple[Estimate, Array]:
        axis = unit(mean)
        estimate, worst = minimum_in_cone(product, axis, kappa, steps)
        noise = jax.random.normal(key, (directions, *mean.shape), mean.dtype)
        across = jax.vmap(lambda v: unit(v - jnp.dot(v, axis) * axis))(noise)
        inside = jax.vmap(lambda v: kappa * axis + math.sqrt(1 - kappa**2) * v)(across)
        return estimate, jnp.concatenate([worst[None], inside])

    return _smallest_curvature(model, loss, x, y, radius, tried)


def curvature_across(
    model: Any,
    loss: Callable[[Float[Array, "n c"], Float[Array, "n c"]], Float[Array, ""]],
    x: Float[Array, "n d"],
    y: Float[Array, "n c"],
    *,
    radius: float,
    steps: int = 32,
) -> Curvature:
    """The smallest curvature found at distance `radius` orthogonally to ḡ, where nothing bounds it from below.

    Tried are both signs of the minimiser of uᵀ∇²L u (`minimum_across`), whose residual is given with the rounding of
    the difference (`_least`). NaN for ḡ = 0.
    """

    def tried(product: Product, mean: Array) -> tuple[Estimate, Array]:
        estimate, worst = minimum_across(product, mean, steps)
        return estimate, worst[None]

    return _smallest_curvature(model, loss, x, y, radius, tried)


def _smallest_curvature(
    model: Any,
    loss: Callable[[Float[Array, "n c"], Float[Array, "n c"]], Float[Array, ""]],
    x: Float[Array, "n d"],
    y: Float[Array, "n c"],
    radius: float,
    tried: Callable[[Product, Array], tuple[Estimate, Array]],
) -> Curvature:
    """The smallest curvature along the directions that `tried` finds from products with the loss Hessian and ḡ."""
    objective, origin, _ = loss_on(model, loss, x, y)
    gradient, product = jax.linearize(jax.grad(objective), origin)
    mean = average_gradient(model, x)
    estimate, directions = tried(product, mean)
    found = _least(objective, loss_rounding(model, loss, x, y), gradient, origin, directions, radius)
    value = jnp.where(jnp.linalg.norm(mean) > 0, found.estimate.value, jnp.nan)
    return Curvature(Estimate(value, estimate.residual + found.estimate.residual), found.direction)


def loss_rounding(
    model: Any,
    loss: Callable[[Float[Array, "n c"], Float[Array, "n c"]], Float[Array, ""]],
    x: Float[Array, "n d"],
    y: Float[Array, "n c"],
) -> Callable[[Float[Array, " p"]], Float[Array, ""]]:
    """What rounding does to the loss at given weights, in units of ε: its own size, and what it inherits from those of
    the outputs and of the weights, Σ |f ∂L/∂f| + Σ |w ∂L/∂w|, which outlast it where a network interpolates."""
    objective, _, moved = loss_on(model, loss, x, y)

    def size(weights: Array) -> Array:
        value, slope = jax.value_and_grad(objective)(weights)
        outputs = predict(moved(weights), x)
        pull = jax.grad(lambda f: loss(f, y))(outputs)
        return jnp.abs(value) + jnp.sum(jnp.abs(outputs * pull)) + jnp.sum(jnp.abs(weights * slope))

    return size


def _least(
    objective: Callable[[Array], Array],
    error: Callable[[Array], Array],
    gradient: Float[Array, " p"],
    origin: Float[Array, " p"],
    directions: Float[Array, "k p"],
    radius: float,
) -> Curvature:
    """The smallest 2 [L(w + ρu) − L(w) − ρ⟨∇L, u⟩]/ρ² over both signs of the unit vectors given.

    Its residual is what rounding may do to a difference of losses whose errors are `error`, in units of ε.
    """
    here = objective(origin)

    def curvature(u: Array) -> Array:
        rise = objective(origin + radius * u) - here - radius * jnp.dot(gradient, u)
        return 2 * rise / radius**2

    signed = jnp.concatenate([directions, -directions])
    values = jax.lax.map(curvature, signed)
    least = jnp.argmin(values)
    ends = jnp.stack([origin, origin + radius * signed[least]])
    rounding = 2 * ROUNDINGS * jnp.finfo(origin.dtype).eps * jnp.sum(jax.lax.map(error, ends)) / radius**2
    return Curvature(Estimate(values[least], rounding), signed[least])
