"""The smallest loss within the cone around the average gradient: what restricted strong convexity can promise to reach.

Where the loss curves by at least α along every step d in Q_κ, L(w + d) ≥ L + ⟨∇L, d⟩ + (α/2)‖d‖² ≥ L − ‖∇L‖²/(2α), so

    ‖∇L‖² ≥ 2α (L − inf over the cone of L).

Gradient descent at a rate η = ω/β, β the largest curvature, decreases the loss by at least η(1 − ω/2)‖∇L‖², whence its
rate of decay (α ω/β)(1 − γ)(2 − ω) with γ = inf over the cone of L, over L.

Source: arXiv 2209.15106, Section 4 (restricted Polyak-Lojasiewicz condition, geometric convergence).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .convexity import ROUNDINGS, average_gradient, loss_rounding
from .hessian import loss_hessian_top, loss_on
from .spectrum import Estimate, unit

SHARE = 0.9  # of the step 1/β: the curvature may rise on the way


def project_onto_cone(v: Float[Array, " p"], axis: Float[Array, " p"], kappa: float) -> Float[Array, " p"]:
    """The nearest point to v of the convex cone {d: ⟨d, axis⟩ ≥ κ‖d‖} around a unit axis, 0 < κ ≤ 1."""
    slope = math.sqrt(1 - kappa**2) / kappa
    along = jnp.dot(v, axis)
    across = v - along * axis
    length = jnp.linalg.norm(across)
    height = jnp.maximum((along + slope * length) / (1 + slope**2), 0)  # 0 in the polar cone
    edge = height * (axis + slope * across / jnp.where(length > 0, length, 1))
    return jnp.where(length <= slope * along, v, edge)


def least_in_cone(
    model: Any,
    loss: Callable[[Float[Array, "n c"], Float[Array, "n c"]], Float[Array, ""]],
    x: Float[Array, "n d"],
    y: Float[Array, "n c"],
    key: PRNGKeyArray,
    *,
    kappa: float,
    steps: int = 200,
) -> Estimate:
    """The smallest loss at weights w + d with |cos(d, ḡ)| ≥ κ, an upper bound of the infimum; at most L(w).

    Accelerated projected gradient descent from w in either half of the cone, started anew where it turns back, at
    0.9/β with β the largest eigenvalue of the loss Hessian at w. Residual: what the second half of the steps still
    gained, or 2‖G‖‖d‖ with G the gradient mapping at the end, whichever is more, and rounding. It tells that the
    descent has settled, not that a direction of little curvature has nothing left. NaN for ḡ = 0 or β ≤ 0.
    """
    objective, origin, _ = loss_on(model, loss, x, y)
    slope = jax.grad(objective)
    mean = average_gradient(model, x)
    axis = unit(mean)
    top = loss_hessian_top(model, loss, x, y, key).value
    rate = SHARE / jnp.where(top > 0, top, jnp.inf)

    def descend(sign: Array) -> tuple[Array, Array, Array]:
        def step(d: Array) -> Array:
            return project_onto_cone(d - rate * slope(origin + d), sign * axis, kappa)

        def accelerated(state: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], None]:
            d, ahead, t = state
            new = step(ahead)
            turns = jnp.dot(ahead - new, new - d) > 0
            t = jnp.where(turns, 1, t)
            following = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
            return (new, jnp.where(turns, new, new + (t - 1) / following * (new - d)), following), None

        start = jnp.zeros_like(origin)
        first = (start, start, jnp.ones((), origin.dtype))
        half, _ = jax.lax.scan(accelerated, first, None, length=steps // 2)
        (d, _, _), _ = jax.lax.scan(accelerated, half, None, length=steps - steps // 2)
        end = step(d)
        return end, half[0], 2 * jnp.linalg.norm(d - end) / jnp.where(top > 0, rate, 1) * jnp.linalg.norm(end)

    ends, halves, gaps = jax.vmap(descend)(jnp.array([1.0, -1.0], origin.dtype))
    values, before = (jax.lax.map(lambda d: objective(origin + d), points) for points in (ends, halves))
    best = jnp.argmin(values)
    gaps = jnp.maximum(gaps, jnp.abs(before - values))
    errors = jax.lax.map(loss_rounding(model, loss, x, y), jnp.stack([origin, origin + ends[best]]))
    value = jnp.minimum(values[best], objective(origin))
    value = jnp.where((jnp.linalg.norm(mean) > 0) & (top > 0), value, jnp.nan)
    return Estimate(value, jnp.max(gaps) + ROUNDINGS * jnp.finfo(origin.dtype).eps * jnp.sum(errors))
