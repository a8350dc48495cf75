"""Options of the models (`models`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from .graph_options import Edge, Generator, Width, check_edges, hidden_levels
from .options import NonNegative, Options, Part, Positive, refuse

Activation = Literal["identity", "relu", "tanh", "swish", "gelu"]


class Sigma1(Part):
    """The initialisation of arXiv 2209.15106, Assumption 2."""

    sigma1: Positive
    """Bound on the spectral norm of a layer, in units of sqrt(width)."""


class InitOptions(Part):
    """How weights are drawn, in units of the neural-tangent parameterisation."""

    weights: Literal["ntk"] | NonNegative | Sigma1 = "ntk"
    """Standard deviation of the hidden weights: ``ntk`` (1), a number, or ``{sigma1: number}``."""
    output: Literal["normal", "rademacher", "unit_sphere", "zero"] = "normal"
    """Distribution of the output weights."""
    bias_std: NonNegative = 1.0
    """Standard deviation of the biases, of a model that has them."""


class ModelOptions(Options):
    """What any model may be turned into."""

    expansion: Literal["linear", "quadratic", "multilinear"] | None = None
    """Train the model's Taylor expansion at initialisation instead of the model."""
    truncate: Annotated[int, Field(ge=0, le=64)] | None = None
    """Total degree at which a multilinear expansion is cut."""
    has_blocks: ClassVar[bool] = False

    @property
    def offers(self) -> frozenset[str]:
        """What metrics may require of it: network | chain | blocks | recursion."""
        network = {"network"} if self.expansion is None else set()
        return frozenset(network | ({"blocks"} if self.has_blocks else set()))

    @classmethod
    def divergence_scale(cls, options: Mapping[str, Any]) -> float:
        """D of the divergence rule, far above the peak of any catapult: here ``1000 * width`` of the widest layer.

        A training loss above D times its start counts as divergence. A model without a width has D = 1000; a model
        whose catapults reach further overrides this.

        Args:
            options: the resolved options of a cell's model.
        """
        width = options.get("width", 1)
        return 1000.0 * float(max(width) if isinstance(width, list) else width)

    @model_validator(mode="after")
    def _expandable(self) -> ModelOptions:
        if self.expansion == "multilinear" and not self.has_blocks:
            raise refuse(
                "a multilinear expansion needs a model whose parameters are divided into blocks",
                "expansion",
                "use the bottleneck model, or expansion: linear or quadratic",
            )
        if self.truncate is not None and self.expansion != "multilinear":
            raise refuse("truncate belongs to expansion: multilinear", "truncate", "remove it")
        return self


class ChainOptions(ModelOptions):
    """Options of fully connected networks."""

    example: ClassVar[Mapping[str, Any]] = {"depth": 2, "bias": True}

    depth: Annotated[int, Field(ge=1, le=200)]
    """Number of hidden layers."""
    parameterization: Literal["ntk", "standard"] = "ntk"
    """Where the 1/sqrt(fan-in) stands: before the sum, or in the initial weights."""
    bias: bool = False
    """Whether layers have biases."""
    output_activation: Activation = "identity"
    """Activation of the output."""
    init: InitOptions = InitOptions.model_construct(weights="ntk", output="normal", bias_std=1.0)
    """Initialisation of the weights."""

    @property
    def offers(self) -> frozenset[str]:
        return super().offers | {"chain"}


class WideOptions(ChainOptions):
    """Fully connected network."""

    example: ClassVar[Mapping[str, Any]] = {"width": 5, "activation": "tanh"}

    width: Width | Annotated[list[Width], Field(min_length=1, max_length=200)]
    """Neurons per hidden layer: one number, or a list with one per layer."""
    activation: Activation
    """Activation of the hidden layers."""

    @property
    def offers(self) -> frozenset[str]:
        closed = self.depth == 1 and not self.bias and self.parameterization == "ntk"
        if self.expansion == "quadratic":  # only piecewise linear ones are a product of two weights plus a linear part
            closed &= self.activation in ("relu", "identity") and self.output_activation == "identity"
        return super().offers | ({"recursion"} if closed else set())

    @model_validator(mode="after")
    def _one_width_per_layer(self) -> WideOptions:
        if isinstance(self.width, list) and len(self.width) != self.depth:
            raise refuse(f"width lists {len(self.width)} hidden layers but depth is {self.depth}", "width")
        return self


class BottleneckOptions(ChainOptions):
    """Fully connected network with narrow hidden layers."""

    example: ClassVar[Mapping[str, Any]] = {"width": 5, "bottleneck_width": 2, "at": [1], "activation": "tanh"}
    has_blocks: ClassVar[bool] = True

    width: Width
    """Neurons of the wide hidden layers."""
    bottleneck_width: Width
    """Neurons of the narrow hidden layers."""
    at: Annotated[list[Annotated[int, Field(ge=1)]], Field(max_length=200)]
    """Which hidden layers are narrow, counted from 1, increasing; an empty list is one block."""
    activation: Activation = "identity"
    """Activation of the hidden layers."""

    @model_validator(mode="after")
    def _places(self) -> BottleneckOptions:
        if self.at != sorted(set(self.at)) or any(place > self.depth for place in self.at):
            what = f"at must list increasing hidden layers between 1 and depth = {self.depth}"
            raise refuse(f"{what}, got {self.at}", "at")
        return self


class DagOptions(ModelOptions):
    """Network on any feed-forward graph."""

    example: ClassVar[Mapping[str, Any]] = {
        "generator": {"name": "residual", "depth": 2, "width": 4},
        "activation": "tanh",
    }

    edges: Annotated[list[Edge], Field(min_length=1, max_length=10_000)] | None = None
    """Edges [from, to] of a graph written by hand: inputs x0, x1, …, outputs y0, y1, …, others are hidden."""
    generator: Generator | None = None
    """A rule that makes the graph."""
    readout: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Hidden level, counted from 1, whose first pre-activations take the place of the outputs."""
    activation: Activation
    """Activation of the hidden nodes."""
    output_activation: Activation = "identity"
    """Activation of the outputs."""
    init: InitOptions = InitOptions.model_construct(weights="ntk", output="normal", bias_std=1.0)
    """Initialisation of the weights."""

    @classmethod
    def divergence_scale(cls, options: Mapping[str, Any]) -> float:
        """``1000 * width`` of the widest hidden level, or the number of edges in place of it."""
        if options["edges"] is not None:
            return 1000.0 * len(options["edges"])
        return 1000.0 * cls.model_validate({k: v for k, v in options.items() if k != "name"}).generator.largest  # pyright: ignore

    @field_validator("edges")
    @classmethod
    def _feed_forward(cls, edges: list[Any] | None) -> list[Any] | None:
        if edges is not None:
            check_edges(edges)
        return edges

    @model_validator(mode="after")
    def _one_graph(self) -> DagOptions:
        if (self.edges is None) == (self.generator is None):
            got = "both" if self.edges else "neither"
            raise refuse(f"give edges or a generator, got {got}", "generator", "keep one" if self.edges else "")
        if self.readout is not None and self.output_activation != "identity":
            what = "readout gives pre-activations, which have no output_activation"
            raise refuse(what, "output_activation", "write identity, or remove readout")
        if self.readout is None:
            return self
        if self.generator is not None and self.readout > self.generator.depth:
            what = f"readout must name a hidden level between 1 and depth = {self.generator.depth}"
            raise refuse(f"{what}, got {self.readout}", "readout")
        if self.edges is not None and self.readout > hidden_levels(self.edges):
            what = f"readout must name a hidden level, of which the edges make {hidden_levels(self.edges)}"
            raise refuse(f"{what}; got {self.readout}", "readout")
        return self


class ConvOptions(ModelOptions):
    """Convolutional network."""

    example: ClassVar[Mapping[str, Any]] = {"depth": 2, "channels": 3, "activation": "tanh"}

    depth: Annotated[int, Field(ge=1, le=200)]
    """Number of convolutions."""
    channels: Width
    """Channels of every convolution."""
    activation: Activation
    """Activation of the convolutions."""
    dims: Literal[1, 2] = 2
    """Whether examples are sequences or squares."""
    kernel: Annotated[int, Field(ge=1, le=1001)] = 3
    """Side of a patch, odd."""
    input_channels: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Channels of the examples, which are flat: channel after channel, in squares row after row."""
    padding: Literal["circular", "zero"] = "circular"
    """What lies beyond the edge."""
    readout: Literal["average", "flatten"] = "average"
    """What the outputs read: the average over positions, or all positions."""
    residual: bool = False
    """Whether convolutions from the second on add their input to their output."""
    output_activation: Activation = "identity"
    """Activation of the outputs."""
    init: InitOptions = InitOptions.model_construct(weights="ntk", output="normal", bias_std=1.0)
    """Initialisation of the weights."""

    @classmethod
    def divergence_scale(cls, options: Mapping[str, Any]) -> float:
        """``1000 * channels``."""
        return 1000.0 * float(options["channels"])

    @model_validator(mode="after")
    def _odd_kernel(self) -> ConvOptions:
        if self.kernel % 2 == 0:
            what = f"kernel must be odd, so that a patch has a centre; got {self.kernel}"
            raise refuse(what, "kernel", f"write {self.kernel + 1}")
        return self


class GeneralQuadraticOptions(ModelOptions):
    """The general quadratic model; its number of weights is the input dimension."""

    batched: ClassVar[frozenset[str]] = frozenset({"gamma"})
    example: ClassVar[Mapping[str, Any]] = {"gamma": 0.1}

    gamma: Annotated[float, Field(gt=0, le=10)] = 1e-3
    """Strength of the quadratic term, the part of 1/sqrt(width)."""
    signature: Literal["random", "positive"] = "random"
    """Signs of the diagonal of Sigma."""
    linear: bool = True
    """Whether there is a linear term, phi(x) = x/||x||."""

    @classmethod
    def divergence_scale(cls, options: Mapping[str, Any]) -> float:
        """``1000 / gamma^2``: gamma has the part of 1/sqrt(width)."""
        return 1000.0 / float(options["gamma"]) ** 2
