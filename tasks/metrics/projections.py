"""The training loss split along the eigenvectors of the current tangent kernel: `(ctx, model, **options) -> Estimate`.

With K = sum_i lambda_i u_i u_i^T the tangent kernel on the training inputs at the current weights, largest eigenvalue
first, and r = f(X) - y the residuals of all outputs, example-major as the rows of K, every loss of this suite is
(s/2) |r|^2, s its scale. So with P_S the projection on u_1, ..., u_S

    L = (s/2) |P_S r|^2 + (s/2) |(1 - P_S) r|^2,

which are PL_{<=S} and PL_{>S} of arXiv 2306.04815, in the unit of the task's own loss and for any number of outputs.
"""

from __future__ import annotations

from typing import Any

from ... import models
from ...models import kernels
from ...models.kernels import Estimate
from .state import Context


def top_loss(ctx: Context, model: Any, *, top: int = 5, steps: int = 48) -> Estimate:
    """PL_{<=top}: the part of the training loss in the span of the `top` leading eigenvectors of the current kernel.

    The eigenvectors come from a Krylov space of `steps` dimensions; the residual bounds the error that this makes.
    """
    return _parts(ctx, model, top, steps)[0]


def bulk_loss(ctx: Context, model: Any, *, top: int = 5, steps: int = 48) -> Estimate:
    """PL_{>top}: what `top_loss` leaves of the training loss."""
    return _parts(ctx, model, top, steps)[1]


def _parts(ctx: Context, model: Any, top: int, steps: int) -> tuple[Estimate, Estimate]:
    kernel = kernels.tangent_kernel(model, ctx.x_train)
    errors = (models.predict(model, ctx.x_train) - ctx.y_train).reshape(-1)
    inside, outside = kernels.eigenspace_split(kernel, errors, top, ctx.key, steps)
    half = ctx.loss.per_kernel(*ctx.y_train.shape) / 2
    return Estimate(*(half * number for number in inside)), Estimate(*(half * number for number in outside))
