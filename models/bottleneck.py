"""Wide networks with narrow hidden layers, cut at them into blocks."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .chain import Chain
from .layers import Init


class Bottleneck(eqx.Module):
    """Fully connected network whose hidden layers `at` have `bottleneck_width` neurons and all others `width`.

    With identity activations and B−1 bottlenecks it is close to multilinear of degree B in its weights.
    Sources: arXiv 2206.15058 (linear); arXiv 2010.01092 (non-linear).
    """

    chain: Chain
    at: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        key: PRNGKeyArray,
        depth: int,
        width: int,
        bottleneck_width: int,
        at: Sequence[int],
        activation: str = "identity",
        parameterization: str = "ntk",
        bias: bool = False,
        output_activation: str = "identity",
        init: Mapping[str, Any] | Init | None = None,
    ):
        """`at` numbers hidden layers from 1 to `depth`, increasing; an empty `at` is one block.

        Other options as for `Wide`. ValueError for an `at` that is not so.
        """
        places = tuple(at)
        if list(places) != sorted(set(places)) or any(not 1 <= place <= depth for place in places):
            raise ValueError(f"at must list increasing hidden layers between 1 and depth={depth}, got {list(places)}")
        widths = [bottleneck_width if index in places else width for index in range(1, depth + 1)]
        self.at = places
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

    def blocks(self) -> tuple[PyTree, ...]:
        """The partition of the parameters at the bottlenecks, from input to output.

        One filter (a tree of booleans shaped like the model) per block; every parameter is True in exactly one.
        """
        cuts = (0, *self.at, len(self.chain.layers))
        masks = []
        for start, stop in pairwise(cuts):
            chosen = tuple(
                jax.tree.map(lambda _, inside=start <= index < stop: inside, layer)
                for index, layer in enumerate(self.chain.layers)
            )
            masks.append(eqx.tree_at(lambda model: model.chain.layers, self, chosen))
        return tuple(masks)
