"""Options and entries of a plug-in with one component of each kind.

Read whenever components are listed: neither jax nor numpy here. The components are in the modules beside it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from tangentbench.tasks.dataset_options import Splits
from tangentbench.tasks.entry import Entry, MethodEntry, MetricEntry
from tangentbench.tasks.method_options import MethodOptions
from tangentbench.tasks.model_options import ModelOptions
from tangentbench.tasks.options import Count, Dim, Fraction, NonNegative, Options, Positive


class RidgeOptions(Splits):
    """A ridge: one direction decides. `Splits` has the options train, validation and test."""

    example: ClassVar[Mapping[str, Any]] = {"dim": 4}  # what `tangentbench check` tries it with

    dim: Dim
    """Input dimension d."""
    noise: NonNegative = 0.0
    """Standard deviation of Gaussian noise on the training targets."""

    @property
    def special(self) -> set[str]:
        return {"agop"}  # what metrics may require: the true function is known; or "classification"


ridge = Entry(
    kind="dataset",
    name="ridge",
    summary="Square of the first coordinate of Gaussian inputs",
    source="an example",
    build="example_plug_in.dataset:ridge",
    options="example_plug_in:RidgeOptions",
)


class SinesOptions(ModelOptions):
    """A network with one hidden layer of sines. `ModelOptions` adds `expansion`: its Taylor models."""

    example: ClassVar[Mapping[str, Any]] = {"width": 5}

    width: Count
    """Neurons of the hidden layer."""


sines = Entry(
    kind="model",
    name="sines",
    summary="Network with one hidden layer of sines",
    source="an example",
    build="example_plug_in.model:Sines",
    options="example_plug_in:SinesOptions",
)


class SignMeanOptions(MethodOptions):
    """Sign of a running mean. `MethodOptions` has learning_rate, schedule and batch_size."""

    decay: Fraction = 0.9
    """Share of the running mean that is kept."""


sign_mean = MethodEntry(
    kind="method",
    name="sign_mean",
    summary="The sign of a running mean of gradients",
    source="an example",
    build="example_plug_in.method:sign_mean",
    options="example_plug_in:SignMeanOptions",
    # what arenas tune over: six points, like every method
    grid=tuple({"learning_rate": {"value": rate}, "batch_size": 32} for rate in (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)),
)


class OutputNormOptions(Options):
    """A norm."""

    power: Positive = 2.0
    """Power p of the norm."""


output_norm = MetricEntry(
    kind="metric",
    name="output_norm",
    summary="Norm of the outputs on the training set",
    source="an example",
    build="example_plug_in.metric:output_norm",
    options="example_plug_in:OutputNormOptions",
    definition="(mean over training examples and outputs of |f|^p)^(1/p)",
    unit="output",
    direction="none",
    at=("end", "start", "schedule"),
    cost="one prediction",
)
