"""Options of the methods (`runners.methods`): learning rate, schedule, batch size, hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
)

from .options import Count, Fraction, NonNegative, Options, Part, Positive, refuse


class CriticalRate(Part):
    """A learning rate in units of gradient descent's critical rates at initialisation, so that every seed has its own:
    ``critical * 2/lambda_1 + second_critical * 2/lambda_2``, with the two largest eigenvalues of ``grad^2 L``."""

    critical: Annotated[float, Field(gt=0, le=1000)]
    """The multiple of ``2/lambda_1``, beyond which gradient descent is unstable in one direction."""
    second_critical: Annotated[float, Field(ge=0, le=1000)] | None = None
    """The multiple of ``2/lambda_2``, beyond which it is unstable in two; 0.5 of each is midway between the two rates.
    Rates with and without it are two programs: a sweep that needs it at some of its points gives 0 at the others."""

    @model_serializer(mode="wrap")
    def _given(self, dump: SerializerFunctionWrapHandler) -> dict[str, float]:
        return {unit: multiple for unit, multiple in dump(self).items() if multiple is not None}


class AbsoluteRate(Part):
    """A learning rate in the units of the loss and the weights."""

    value: Positive
    """The rate."""


UNITS = {"critical": CriticalRate, "second_critical": CriticalRate, "value": AbsoluteRate}


def _rate_kind(rate: Any) -> str:
    if isinstance(rate, dict):
        known = [key for key in UNITS if key in rate]
        if not known:  # misspelt: the complaint is about the word that was meant
            known = get_close_matches(str(next(iter(rate), "critical")), UNITS, n=1, cutoff=0)
        return f"rate of {next(iter(UNITS[known[0]].model_fields))}"
    return f"rate of {next(iter(type(rate).model_fields))}" if isinstance(rate, Options) else "number"


def _one_unit(rate: Any) -> Any:
    if isinstance(rate, dict) and "value" in rate and ("critical" in rate or "second_critical" in rate):
        raise refuse("give the learning rate as critical or as value, not both", "value", "remove one")
    return rate


Number = Annotated[Positive, AfterValidator(lambda v: AbsoluteRate(value=v))]
LearningRate = Annotated[
    Annotated[Number, Tag("number")]
    | Annotated[AbsoluteRate, Tag("rate of value")]
    | Annotated[CriticalRate, Tag("rate of critical")],
    Discriminator(_rate_kind),
    BeforeValidator(_one_unit),
]


class Cosine(Part):
    """The rate falls along half a cosine over the task's steps."""

    name: Literal["cosine"]
    alpha: Fraction = 0.0
    """Factor at the end."""


class Linear(Part):
    """The rate falls linearly over the task's steps."""

    name: Literal["linear"]
    end: Fraction = 0.0
    """Factor at the end."""


class Exponential(Part):
    """The rate is multiplied by ``decay_rate`` every ``transition_steps``."""

    name: Literal["exponential"]
    transition_steps: Count
    decay_rate: Annotated[float, Field(gt=0, le=1)]


class WarmupCosine(Part):
    """The rate rises linearly from 0, then falls along half a cosine."""

    name: Literal["warmup_cosine"]
    warmup_steps: Count
    alpha: Fraction = 0.0
    """Factor at the end."""


Schedule = Annotated[Cosine | Linear | Exponential | WarmupCosine, Field(discriminator="name")]


class MethodOptions(Options):
    """What all methods share."""

    example: ClassVar[Mapping[str, Any]] = {"learning_rate": 0.1}

    learning_rate: LearningRate
    """A number, ``{value: number}``, or, for methods that are gradient descent at heart, ``{critical: multiple}`` of
    2/lambda_1, with an optional ``second_critical: multiple`` of 2/lambda_2 that is added."""
    schedule: Schedule | None = None
    """Factor on the learning rate over the steps."""
    batch_size: Count | None = None
    """Examples per step; leave out for the full training set."""


class GdOptions(MethodOptions):
    """Gradient descent."""

    batch_size: None = None
    """Always the full training set."""


class SgdOptions(MethodOptions):
    """Mini-batch gradient descent."""

    example: ClassVar[Mapping[str, Any]] = {"batch_size": 4}

    batch_size: Count = Field()  # required: without it the method is gd
    """Examples per step."""


class MomentumOptions(MethodOptions):
    """Heavy-ball momentum."""

    momentum: Fraction = 0.9
    """Share of the velocity that is kept."""


class NesterovOptions(MomentumOptions):
    """Nesterov's accelerated gradient."""


class CatapultGdOptions(GdOptions):
    """Gradient descent with rates raised above the current critical rate."""

    batched: ClassVar[frozenset[str]] = frozenset({"multiple", "raises"})

    schedule: None = None
    """It has its own schedule."""
    multiple: Annotated[float, Field(gt=0, le=100)] = 1.5
    """What the rate is raised to, in units of the current critical rate."""
    period: Count = 150
    """Steps between two raises; a multiple of `record.every`."""
    raises: Annotated[int, Field(ge=0, le=1000)] = 2
    """Number of raises."""


class AdamOptions(MethodOptions):
    """Adam."""

    b1: Fraction = 0.9
    """Decay of the first moment."""
    b2: Fraction = 0.999
    """Decay of the second moment."""
    eps: NonNegative = 1e-8
    """Added to the root of the second moment."""


class AdamwOptions(AdamOptions):
    """Adam with decoupled weight decay."""

    weight_decay: NonNegative = 1e-4
    """Decay per step, in units of the learning rate."""


class NadamOptions(AdamOptions):
    """Adam with Nesterov's momentum."""


class RmspropOptions(MethodOptions):
    """RMSProp."""

    decay: Fraction = 0.9
    """Decay of the second moment."""
    eps: NonNegative = 1e-8
    """Added to the second moment."""


class AdagradOptions(MethodOptions):
    """AdaGrad."""

    initial_accumulator_value: NonNegative = 0.1
    """Start of the accumulated squares."""
    eps: NonNegative = 1e-7
    """Added to the accumulated squares."""


class LionOptions(MethodOptions):
    """Lion."""

    b1: Fraction = 0.9
    """Weight of the momentum in the update."""
    b2: Fraction = 0.99
    """Decay of the momentum."""
    weight_decay: NonNegative = 0.0
    """Decay per step, in units of the learning rate."""
