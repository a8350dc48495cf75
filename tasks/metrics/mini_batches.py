"""Metrics of a run's steps on their own batches: `(series, **options) -> float | None`. numpy only.

A step on the batch X_b at w_t moves to w_{t+1}. Its critical rate is that of its own batch, 2/(s lambda_max(K(X_b;
w_t))): to first order in the step, the residuals along the eigenvector u_i of K(X_b; w_t) are multiplied by 1 - eta s
lambda_i, so that they grow along u_1 where the rate is above critical, and along no u_i where it is below (arXiv
2306.04815, Claim 2). A full batch is a batch too.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from . import rules
from .series import Series, finite

Curve = Float[np.ndarray, "t"]
Among = Literal["above", "below", "sharpest"]
SHARPEST = 0.1  # share of the steps


def sgd_catapults(series: Series) -> float | None:
    """Number of steps that catapult (`rules.count_catapults_sgd`).

    Needs the batch curves `batch_loss_before`, `batch_loss_after` and `batch_critical_rate`. ValueError without one.
    """
    before, after, critical = _curves(series, "sgd_catapults", "batch_loss_before", "batch_loss_after")
    return float(rules.count_catapults_sgd(before, after, critical, series.learning_rate))


def sgd_catapult_rate(series: Series) -> float | None:
    """Catapults per step, `sgd_catapults` over the steps taken; `None` for a run without a step.

    Runs that stop at a loss take the more steps the smaller their batches are or their rate; a share of the steps does
    not grow with them. Needs the curves of `sgd_catapults`. ValueError without one.
    """
    before, after, critical = _curves(series, "sgd_catapult_rate", "batch_loss_before", "batch_loss_after")
    count = rules.count_catapults_sgd(before, after, critical, series.learning_rate)
    return count / len(before) if len(before) else None


def batch_loss_rises(series: Series, *, among: Among = "above") -> float | None:
    """Share of steps that raise the loss of their own batch (`rules.batch_rises`), among some of the steps.

    Args:
        among: `above` or `below`, the steps whose rate is above their batch's critical rate, or not above it;
            `sharpest`, the tenth of the steps with the highest rate in units of it, wherever that is.

    Needs the batch curves `batch_loss_before`, `batch_loss_after` and `batch_critical_rate`.

    Returns:
        The share; `None` where there is no such step.

    Raises:
        ValueError: a batch curve is missing, or an unknown `among`.
    """
    before, after, critical = _curves(series, "batch_loss_rises", "batch_loss_before", "batch_loss_after")
    return _share(rules.batch_rises(before, after), series.learning_rate, critical, among, "batch_loss_rises")


def batch_top_rises(series: Series, *, among: Among = "above") -> float | None:
    """`batch_loss_rises` for the part of the batch's loss along the leading eigenvector of K(X_b; w_t).

    The rest of the loss may fall by more than that part grows. Whether it rises by more than rounding is judged of its
    root, the residual along that eigenvector, which may be small by chance at any loss. For a batch with more than 32
    outputs in all, the eigenvector is sought in a Krylov space of 32 dimensions, without a bound on the error. Needs
    the batch curves `batch_top_before`, `batch_top_after` and `batch_critical_rate`. ValueError without one, or for an
    unknown `among`.
    """
    before, after, critical = _curves(series, "batch_top_rises", "batch_top_before", "batch_top_after")
    rose = rules.batch_rises(np.sqrt(before), np.sqrt(after))
    return _share(rose, series.learning_rate, critical, among, "batch_top_rises")


def batch_critical_rate(series: Series, *, reduce: Literal["min", "median"] = "median") -> float | None:
    """Critical rate of a step's own batch, 2/(s lambda_max(K(X_b; w_t))), its median or minimum over the steps.

    Weight^2 per loss; `None` for a run without a step, and where a batch of a dead network has no critical rate. Needs
    the batch curve `batch_critical_rate`.

    Raises:
        ValueError: the curve is missing, or an unknown `reduce`.
    """
    if reduce not in ("min", "median"):
        raise ValueError(f"batch_critical_rate: reduce must be min or median; got {reduce!r}")
    (values,) = _curves(series, "batch_critical_rate")
    return finite({"min": np.min, "median": np.median}[reduce](values)) if len(values) else None


def _curves(series: Series, asker: str, *names: str) -> list[Curve]:
    """The named batch curves, and the critical rates."""
    names = (*names, "batch_critical_rate")
    missing = [name for name in names if name not in series.batch]
    if missing:
        raise ValueError(f"{asker} needs {', '.join(missing)}, recorded at every step of the run")
    return [series.batch[name] for name in names]


def _share(rose: Bool[np.ndarray, "t"], rate: Curve, critical: Curve, among: str, asker: str) -> float | None:
    if among not in ("above", "below", "sharpest"):
        raise ValueError(f"{asker}: among must be above, below or sharpest; got {among!r}")
    excess = np.nan_to_num(rate / critical, nan=0.0)  # no rate is critical for a dead network
    if among == "sharpest":
        chosen = np.argsort(-excess, kind="stable")[: int(np.ceil(SHARPEST * len(excess)))]
        return float(np.mean(rose[chosen])) if len(chosen) else None
    chosen = (excess > 1) == (among == "above")
    return float(np.mean(rose[chosen])) if chosen.any() else None
