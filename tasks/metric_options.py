"""Options of the metrics (`tasks.metrics`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .options import Options, Positive, Real

Steps = Annotated[int, Field(ge=1, le=10_000)]


class LanczosOptions(Options):
    """An extreme eigenvalue of the tangent kernel."""

    steps: Steps = 32
    """Lanczos steps; the residual is stored beside the value."""


class HessianOptions(Options):
    """An extreme eigenvalue of the loss Hessian."""

    steps: Steps = 20
    """Lanczos steps of one round; rounds are repeated until the residual, stored beside the value, is small."""


class PredictorHessianOptions(Options):
    """Spectral norm of the predictor's Hessian."""

    examples: Steps = 4
    """Number of inputs: test inputs, training inputs if there are none."""
    steps: Steps = 32
    """Lanczos steps."""


class WorstDirectionOptions(Options):
    """Supremum of an approximation error over a sphere of weights, by projected ascent."""

    radius: Positive = 1.0
    """Distance R from the weights."""
    examples: Steps = 4
    """Number of inputs: test inputs, training inputs if there are none."""
    restarts: Annotated[int, Field(ge=1, le=1000)] = 4
    """Number of starts."""
    steps: Steps = 50
    """Ascent steps per start."""


class MultilinearErrorOptions(WorstDirectionOptions):
    """The same against the multilinear expansion."""

    degree: Annotated[int, Field(ge=0, le=64)] | None = None
    """Total degree at which the expansion is cut; leave out for all degrees."""


class WorkToTargetOptions(Options):
    """Work until a curve reaches a value."""

    target: Real
    """The value to reach."""
    of: str = "train_loss"
    """Label of the curve: `train_loss`, or a metric of the task with `at: schedule`."""


class SgdCatapultsOptions(Options):
    """Catapults of mini-batch training."""

    per: Literal["run", "step"] = "run"
    """Their number, or their share of all steps."""


class RecursionErrorOptions(Options):
    """Distance from the exact recursion."""

    of: Literal["output", "kernel"] = "output"
    """Which of the two variables is compared."""
