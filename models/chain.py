"""A chain of dense layers: what the wide and the bottleneck networks are made of, and what the kernels exploit.

The gradient of an output f_k with respect to layer l is the outer product s_l · b_{l,k} a_lᵀ of the layer's input a_l
and the sensitivity b_{l,k} = ∂f_k/∂z_l of the output to its pre-activation z_l = s_l W_l a_l (+ bias, with gradient b).
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .layers import ACTIVATIONS, Dense, Init, check_choice, normals


class Chain(eqx.Module):
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

    def tapped(
        self, x: Float[Array, " d"], taps: Sequence[Float[Array, " _"]]
    ) -> tuple[Float[Array, " c"], tuple[Float[Array, " _"], ...]]:
        """Outputs with `taps` added to the pre-activations, and the input of every layer."""
        inputs = []
        for layer, activation, tap in zip(self.layers, self.activations, taps, strict=True):
            inputs.append(x)
            x = ACTIVATIONS[activation](layer(x) + tap)
        return x, tuple(inputs)

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " c"]:
        for layer, activation in zip(self.layers, self.activations, strict=True):
            x = ACTIVATIONS[activation](layer(x))
        return x

    def sensitivities(
        self, x: Float[Array, " d"]
    ) -> tuple[tuple[Float[Array, " _"], ...], tuple[Float[Array, "c _"], ...]]:
        """Per layer, its input a_l [fan-in] and the sensitivities b_{l,k} = ∂f_k/∂z_l of all outputs [c fan-out].

        One forward pass and one backward pass per output; no array of the size of the parameters is formed.
        """
        taps = tuple(jnp.zeros(layer.weight.shape[0], layer.weight.dtype) for layer in self.layers)
        out, pull, inputs = jax.vjp(lambda t: self.tapped(x, t), taps, has_aux=True)
        (cotangents,) = jax.vmap(pull)(jnp.eye(out.shape[0], dtype=out.dtype))
        return inputs, cotangents
