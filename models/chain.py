"""A chain of dense layers: what the wide and the bottleneck networks are made of."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from .layered import Addition, Layered, add
from .layers import ACTIVATIONS, Dense, Init, check_choice, normals


class Chain(Layered):
    """f(x) = σ_L(z_L), z_l = s_l W_l a_l + b_l, a_{l+1} = σ_l(z_l), a_1 = x, for one example."""

    layers: tuple[Dense, ...]
    activations: tuple[str, ...] = eqx.field(static=True)

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        key: PRNGKeyArray,
        activation: str,
        output_activation: str = "identity",
        parameterization: str = "ntk",
        bias: bool = False,
        init: Mapping[str, Any] | Init | None = None,
    ):
        """`sizes` are (inputs, hidden widths…, outputs). ValueError for unknown names and sizes below 1."""
        check_choice("activation", activation, ACTIVATIONS)
        check_choice("output_activation", output_activation, ACTIVATIONS)
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"layer sizes are (inputs, widths…, outputs), each at least 1; got {tuple(sizes)}")
        law = Init.of(init)
        last = len(sizes) - 2
        shapes = [(fan_out, fan_in) for fan_in, fan_out in pairwise(sizes)]
        drawn = normals(key, shapes + [(fan_out,) for fan_out, _ in shapes] * bias)
        layers = []
        for index, noise in enumerate(drawn[: last + 1]):
            draw = law.last if index == last else law.hidden
            offset = law.bias_std * drawn[last + 1 + index] if bias else None
            layers.append(Dense(draw(noise), offset, parameterization=parameterization))
        self.layers = tuple(layers)
        self.activations = (activation,) * last + (output_activation,)

    def through(
        self, x: Float[Array, " d"], additions: Sequence[Addition | None]
    ) -> tuple[Float[Array, " c"], tuple[Float[Array, " _"], ...]]:
        inputs = []
        for layer, activation, addition in zip(self.layers, self.activations, additions, strict=True):
            inputs.append(x)
            x = ACTIVATIONS[activation](add(addition, x, layer(x)))
        return x, tuple(inputs)
