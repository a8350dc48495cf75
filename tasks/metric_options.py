"""Options of the metrics (`tasks.metrics`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from .options import Options, Positive, Real, refuse

Steps = Annotated[int, Field(ge=1, le=10_000)]


class LanczosOptions(Options):
    """An extreme eigenvalue of the tangent kernel."""

    steps: Steps = 32
    """Lanczos steps; the residual is stored beside the value."""


class SideOptions(LanczosOptions):
    """An eigenvalue of the tangent kernel on half of the inputs."""

    example: ClassVar[Mapping[str, Any]] = {"sign": "positive"}

    sign: Literal["positive", "negative"]
    """Sign of the inputs' first coordinate; 0 counts as positive."""


class HessianOptions(Options):
    """An extreme eigenvalue of the loss Hessian."""

    products: Annotated[int, Field(ge=2, le=10_000)] = 200
    """Most Hessian-vector products; fewer where the residual, stored beside the value, is small before."""


class PredictorHessianOptions(Options):
    """Spectral norm of the predictor's Hessian."""

    examples: Steps = 4
    """Number of inputs: test inputs, training inputs if there are none."""
    steps: Steps = 32
    """Lanczos steps."""


class LargestHessianOptions(Options):
    """Spectral norm of the predictor's Hessian, the largest over the training set."""

    steps: Steps = 32
    """Lanczos steps."""


class ConvexityOptions(LargestHessianOptions):
    """The cone of directions along which the loss curves upwards."""

    kappa: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Smallest cosine with the average gradient."""


class RestrictedPlOptions(ConvexityOptions):
    """The Polyak-Lojasiewicz condition restricted to the cone."""

    descents: Steps = 100
    """Steps of projected descent to the smallest loss in the cone."""
    restricted: bool = True
    """Whether the loss is compared with the smallest one in the cone, or with 0."""


class OrthogonalCurvatureOptions(ConvexityOptions):
    """Curvature of the loss across the average gradient."""

    radius: Positive = 0.1
    """Distance from the weights."""


class RestrictedCurvatureOptions(OrthogonalCurvatureOptions):
    """Curvature of the loss within the cone."""

    directions: Steps = 8
    """Random directions beside the minimiser that Lanczos finds."""


class WorstDirectionOptions(Options):
    """Supremum of an approximation error over a sphere of weights, by projected ascent."""

    radius: Positive = 1.0
    """Distance R from the weights."""
    examples: Steps = 4
    """Number of inputs: test inputs, training inputs if there are none."""
    restarts: Annotated[int, Field(ge=1, le=1000)] = 4
    """Number of starts of the first batch; they are doubled until the supremum moves by less than 5%."""
    most_restarts: Annotated[int, Field(ge=2, le=100_000)] = 64
    """The most starts; what still moves then is not used as evidence."""
    steps: Steps = 50
    """Ascent steps per start."""

    @model_validator(mode="after")
    def _room_to_double(self) -> WorstDirectionOptions:
        if self.most_restarts < 2 * self.restarts:
            what = f"most_restarts must be at least 2 * restarts = {2 * self.restarts}, got {self.most_restarts}"
            raise refuse(what, "most_restarts", "raise it, or lower restarts")
        return self


class MultilinearErrorOptions(WorstDirectionOptions):
    """The same against the multilinear expansion."""

    degree: Annotated[int, Field(ge=0, le=64)] | None = None
    """Total degree at which the expansion is cut; leave out for all degrees."""


class ProjectionOptions(Options):
    """The loss along the leading eigenvectors of the current tangent kernel."""

    top: Annotated[int, Field(ge=1, le=1000)] = 5
    """Number s of eigenvectors."""
    steps: Steps = 48
    """Dimensions of the Krylov space they are sought in; a bound on the error is stored beside the value."""

    @model_validator(mode="after")
    def _room_for_the_next(self) -> ProjectionOptions:
        if self.steps <= self.top:
            what = f"steps must be above top = {self.top}, for the eigenvalue that follows them; got {self.steps}"
            raise refuse(what, "steps", "raise it, or lower top")
        return self


class AgopAlignmentOptions(Options):
    """Alignment with the true function's directions, or, as a control, with others."""

    roll: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """By how many coordinates the true function's AGOP is shifted, cyclically: 0 compares with the true one."""


class LayerOptions(Options):
    """One layer of a fully connected network."""

    layer: Annotated[int, Field(ge=1, le=201)] = 1
    """Which layer, counted from 1; the output layer is the last."""


class CurveOptions(Options):
    """A recorded curve."""

    example: ClassVar[Mapping[str, Any]] = {"of": "train_loss"}

    of: str
    """Label of the curve: `train_loss`, or a metric of the task with `at: schedule`."""


class LargestRiseOptions(CurveOptions):
    """How far a recorded curve rises."""

    over: Literal["start", "foot"] = "start"
    """What the rise is divided by: the curve's first value, or the one that it rises from."""


class BatchCriticalRateOptions(Options):
    """Critical rates of the batches of a run."""

    reduce: Literal["min", "median"] = "median"
    """How those of all steps become one number."""


class WorkToTargetOptions(Options):
    """Work until a curve reaches a value."""

    example: ClassVar[Mapping[str, Any]] = {"target": 1e3}

    target: Real
    """The value to reach."""
    of: str = "train_loss"
    """Label of the curve: `train_loss`, or a metric of the task with `at: schedule`."""


class BatchRisesOptions(Options):
    """Steps that raise the loss of their own batch."""

    among: Literal["above", "below", "sharpest"] = "above"
    """Which steps are asked: those whose rate is above their batch's critical rate, those whose is not, or the tenth of
    all steps with the highest rate in units of it."""


class RecursionErrorOptions(Options):
    """Distance from the exact recursion."""

    of: Literal["output", "kernel"] = "output"
    """Which of the two variables is compared."""
