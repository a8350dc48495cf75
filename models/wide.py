"""Wide fully connected networks of any depth."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from .chain import Chain
from .layers import Init


class Wide(eqx.Module):
    """Fully connected network; in the NTK parameterisation f(x) = σ_out(W_{L+1} σ(W_L σ(… W_1 x/√d …)/√m)/√m).

    Sources: arXiv 2205.11787 (depth 1, output "rademacher"); arXiv 2209.15106 (any depth,
    output "unit_sphere", weights {"sigma1": σ₁}); arXiv 2010.01092 (output activation).
    """

    chain: Chain

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        key: PRNGKeyArray,
        depth: int,
        width: int | Sequence[int],
        activation: str,
        parameterization: str = "ntk",
        bias: bool = False,
        output_activation: str = "identity",
        init: Mapping[str, Any] | Init | None = None,
    ):
        """`depth` counts hidden layers; `width` is one number for all or a list with one per hidden layer.

        `init` holds the fields of `Init`. ValueError for unknown names and for a list of the wrong length.
        """
        widths = [width] * depth if isinstance(width, int) else list(width)
        if len(widths) != depth:
            raise ValueError(f"width lists {len(widths)} hidden layers but depth is {depth}; give one width per layer")
        self.chain = Chain(
            (in_size, *widths, out_size),
            key=key,
            activation=activation,
            output_activation=output_activation,
            parameterization=parameterization,
            bias=bias,
            init=init,
        )

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " c"]:
        return self.chain(x)
