"""Squared losses, whose normalisation is part of their name.

With residuals r_i = f(x_i) - y_i of n examples and c outputs, J the Jacobian of all n c outputs in the weights and
K = J J^T the tangent kernel [n c, n c], the four losses differ by a factor only, and so do their Gauss-Newton
Hessians: s J^T J, whose non-zero spectrum is s times that of K.

    name      | value                    | s = per_kernel(n, c) | critical rate 2/(s lambda_max(K))
    ----------|--------------------------|----------------------|----------------------------------
    mse       | (1/n) sum_i |r_i|^2      | 2/n                  | n/lambda_max(K)
    mse_mean  | (1/(n c)) sum_i |r_i|^2  | 2/(n c)              | n c/lambda_max(K)
    half_mse  | (1/(2 n)) sum_i |r_i|^2  | 1/n                  | 2 n/lambda_max(K)
    half_sse  | (1/2) sum_i |r_i|^2      | 1                    | 2/lambda_max(K)

`mse_mean` is torch's `MSELoss`; the theory of arXiv 2205.11787 uses `half_sse`, its experiments `mse` with c = 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

Predictions = Float[Array, "n c"]
Value = Float[Array, ""]


@dataclass(frozen=True)
class Loss:
    """A loss of all predictions and its scale. Frozen and hashable: a static part of a compiled program.

    Attributes:
        name: the name in task files.
        value: `(predictions [n c], targets [n c]) -> scalar`.
        per_kernel: `(n, c) -> s`, where the Gauss-Newton Hessian of the loss is s J^T J.
    """

    name: str
    value: Callable[[Predictions, Predictions], Value]
    per_kernel: Callable[[int, int], float]


def _sum_of_squares(predictions: Predictions, targets: Predictions) -> Value:
    if predictions.shape != targets.shape:  # [n] against [n 1] would broadcast to [n n] without a word
        raise ValueError(f"predictions have shape {predictions.shape}, targets {targets.shape}; both must be [n c]")
    return jnp.sum(jnp.square(predictions - targets))


def _mse(predictions: Predictions, targets: Predictions) -> Value:
    return _sum_of_squares(predictions, targets) / targets.shape[0]


def _mse_mean(predictions: Predictions, targets: Predictions) -> Value:
    return _sum_of_squares(predictions, targets) / targets.size


def _half_mse(predictions: Predictions, targets: Predictions) -> Value:
    return _sum_of_squares(predictions, targets) / (2 * targets.shape[0])


def _half_sse(predictions: Predictions, targets: Predictions) -> Value:
    return _sum_of_squares(predictions, targets) / 2


mse = Loss("mse", _mse, lambda n, c: 2.0 / n)
mse_mean = Loss("mse_mean", _mse_mean, lambda n, c: 2.0 / (n * c))
half_mse = Loss("half_mse", _half_mse, lambda n, c: 1.0 / n)
half_sse = Loss("half_sse", _half_sse, lambda n, c: 1.0)

LOSSES: dict[str, Loss] = {loss.name: loss for loss in (mse, mse_mean, half_mse, half_sse)}
