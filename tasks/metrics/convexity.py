"""Metrics of restricted strong convexity (arXiv 2209.15106), of one state: `(ctx, model, **options) -> scalar`.

Notation beside that of `state`: n examples with c outputs, g = (1/(n c)) sum grad f_k(x_i) the average gradient of the
predictor, s the loss's scale, nu = s n c (2 for `mse` with one output, the paper's square loss), h = max |grad^2
f_k(x_i)|_2 over the training set, Q_kappa the weights w' with |cos(w' - w, g)| >= kappa. The curvature at a step d is
2 [L(w + d) - L(w) - <grad L(w), d>]/|d|^2.

In Q_kappa the curvature near w is at least nu kappa^2 |g|^2 - sqrt(2 nu L) h; for `mse` with one output that is
2 kappa^2 |g|^2 - 2 sqrt(L) h, alpha_t of the paper with measured constants. `models.kernels.convexity` derives it.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ... import models
from ...models import kernels
from ...models.kernels import Difference, Estimate
from .state import Context, Scalar


def average_gradient_norm(ctx: Context, model: Any) -> Scalar:
    """|g|, whose square must stay above a multiple of 1/sqrt(width) for restricted strong convexity; output per weight.

    Its minimum over a run is the paper's min_t |g_t| (arXiv 2209.15106, experiments).
    """
    return jnp.linalg.norm(kernels.average_gradient(model, ctx.x_train))


def pl_constant(ctx: Context, model: Any) -> Scalar:
    """|grad L|^2/(2 L) on the training set: mu of the Polyak-Lojasiewicz condition with minimum 0; loss per weight^2.

    Its minimum over a run bounds the decay of the loss from below, see `decay_violation` (arXiv 2209.15106).
    """
    params, rest = models.partition(model)

    def loss(params: Any) -> Scalar:
        return ctx.loss.value(models.predict(eqx.combine(params, rest), ctx.x_train), ctx.y_train)

    value, slope = jax.value_and_grad(loss)(params)
    return sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(slope)) / (2 * value)


def hessian_norm_max(ctx: Context, model: Any, *, steps: int = 32) -> Estimate:
    """h: the largest |grad_w^2 f_k(w; x_i)|_2 over training examples and outputs, at the current weights.

    `hessian_norm` is the mean over a few examples; the theorem of arXiv 2209.15106 bounds the maximum. Output per
    weight^2. The residual is that of the example which gives the maximum.
    """
    return kernels.largest_hessian_norm(model, ctx.x_train, ctx.key, steps)


def convexity_constant(ctx: Context, model: Any, *, kappa: float = 0.5, steps: int = 32) -> Difference:
    """nu kappa^2 |g|^2 - sqrt(2 nu L) h: the lower bound of the curvature in Q_kappa, at the current weights.

    Positive where restricted strong convexity is proved, vacuous elsewhere; loss per weight^2. `steps` are those of
    the Lanczos iteration for h, whose residual is carried over; its scale is the first term, that of the curvature.
    """
    norm = kernels.largest_hessian_norm(model, ctx.x_train, ctx.key, steps)
    factor, term = _hessian_factor(ctx, model), _gradient_term(ctx, model, kappa)
    return Difference(term - factor * norm.value, factor * norm.residual, term)


def restricted_curvature(
    ctx: Context, model: Any, *, kappa: float = 0.5, radius: float = 0.1, directions: int = 8, steps: int = 32
) -> Difference:
    """Smallest curvature found at distance `radius` in Q_kappa, in units of nu kappa^2 |g|^2; a pure number.

    Tried are the minimiser of d^T grad^2 L d over the cone, found by `steps` Lanczos steps, and `directions` random
    ones with cosine kappa, each with both signs. An upper bound of the infimum. The residual is how far the minimiser
    misses the condition of a minimum, its scale 1. At least about 1 where the residuals of the fit are small (arXiv
    2209.15106). NaN for g = 0.
    """
    found = _in_cone(ctx, model, kappa, radius, directions, steps).estimate
    unit = _gradient_term(ctx, model, kappa)
    return Difference(found.value / unit, found.residual / unit, jnp.ones_like(unit))


def orthogonal_curvature(
    ctx: Context, model: Any, *, kappa: float = 0.5, radius: float = 0.1, steps: int = 32
) -> Difference:
    """`restricted_curvature` orthogonally to g, outside of every Q_kappa, in the same unit: nothing bounds it below."""
    found = kernels.curvature_across(
        model, ctx.loss.value, ctx.x_train, ctx.y_train, radius=radius, steps=steps
    ).estimate
    unit = _gradient_term(ctx, model, kappa)
    return Difference(found.value / unit, found.residual / unit, jnp.ones_like(unit))


def restricted_curvature_margin(
    ctx: Context, model: Any, *, kappa: float = 0.5, radius: float = 0.1, directions: int = 8, steps: int = 32
) -> Difference:
    """Smallest curvature found in Q_kappa (see `restricted_curvature`) less its lower bound; loss per weight^2.

    The bound is nu kappa^2 |g|^2 - sqrt(2 nu L) h with g and L at w, and h the largest over the training set at both
    ends and the middle of the step to the weights w' that have this curvature. It leaves out what the exact bound
    concedes to the step's length, so that a margin above 0 is the stronger statement. The residual is that of the
    direction and of h together, its scale the first term of the bound.
    """
    found = _in_cone(ctx, model, kappa, radius, directions, steps)
    _, origin, moved = kernels.loss_on(model, ctx.loss.value, ctx.x_train, ctx.y_train)

    def norm(share: Scalar) -> Estimate:
        point = moved(origin + share * radius * found.direction)
        return kernels.largest_hessian_norm(point, ctx.x_train, ctx.key, steps)

    norms = jax.lax.map(norm, jnp.linspace(0, 1, 3, dtype=origin.dtype))
    factor, term = _hessian_factor(ctx, model), _gradient_term(ctx, model, kappa)
    bound = term - factor * jnp.max(norms.value)
    residual = found.estimate.residual + factor * jnp.max(norms.residual)
    return Difference(found.estimate.value - bound, residual, term)


def restricted_pl_ratio(
    ctx: Context, model: Any, *, kappa: float = 0.5, steps: int = 32, descents: int = 100, restricted: bool = True
) -> Estimate:
    """|grad L|^2 / (2 alpha (L - inf)), alpha the `convexity_constant`, inf the smallest loss found in Q_kappa.

    At least 1 where restricted strong convexity holds: gradient descent then decays as fast as the paper's rate says,
    whatever the learning rate (arXiv 2209.15106, restricted Polyak-Lojasiewicz condition). Without `restricted` inf is
    0, and nothing promises that. inf is found from above by `descents` projected steps, so the ratio from above, too.
    A pure number; NaN where alpha is not positive. The residuals of alpha and inf are carried over.
    """
    alpha = convexity_constant(ctx, model, kappa=kappa, steps=steps)
    loss = ctx.loss.value(models.predict(model, ctx.x_train), ctx.y_train)
    inf = Estimate(jnp.zeros_like(loss), jnp.zeros_like(loss))
    if restricted:
        data = (ctx.loss.value, ctx.x_train, ctx.y_train)
        inf = kernels.least_in_cone(model, *data, ctx.key, kappa=kappa, steps=descents)
    reach = loss - inf.value
    ratio = jnp.where(alpha.value > 0, pl_constant(ctx, model) * loss / (alpha.value * reach), jnp.nan)
    return Estimate(ratio, ratio * (alpha.residual / alpha.value + inf.residual / reach))


def _in_cone(ctx: Context, model: Any, kappa: float, radius: float, directions: int, steps: int) -> kernels.Curvature:
    options = {"kappa": kappa, "radius": radius, "directions": directions, "steps": steps}
    return kernels.curvature_in_cone(model, ctx.loss.value, ctx.x_train, ctx.y_train, ctx.key, **options)


def _nu(ctx: Context) -> float:
    return ctx.loss.per_kernel(*ctx.y_train.shape) * ctx.y_train.size


def _gradient_term(ctx: Context, model: Any, kappa: float) -> Scalar:
    """nu kappa^2 |g|^2."""
    return _nu(ctx) * kappa**2 * average_gradient_norm(ctx, model) ** 2


def _hessian_factor(ctx: Context, model: Any) -> Scalar:
    """sqrt(2 nu L), what multiplies h."""
    return jnp.sqrt(2 * _nu(ctx) * ctx.loss.value(models.predict(model, ctx.x_train), ctx.y_train))
