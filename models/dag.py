"""Networks on any feed-forward graph."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .graphs import Edge, graph
from .layered import Addition, Layered, add
from .layers import ACTIVATIONS, Dense, Init, check_choice, normals
from .sparse import Sparse, layer, places


class Dag(Layered):
    """f_v = σ(f̃_v), f̃_v = in(v)^(-1/2) Σ_{u→v} w_uv f_u with w ~ N(0, 1), in(v) the node's own in-degree, no bias.

    Inputs are the coordinates of the example; outputs have the output activation, the identity in the paper. A level of
    the graph is one layer: its nodes read a range of the earlier nodes' values, all of it, some or few.
    Source: arXiv 2205.11786, Section 2
    """

    layers: tuple[Dense | Sparse, ...]
    activations: tuple[str, ...] = eqx.field(static=True)
    spans: tuple[tuple[int, int], ...] = eqx.field(static=True)
    skips: tuple[int | None, ...] = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        key: PRNGKeyArray,
        activation: str,
        edges: Iterable[Edge] | None = None,
        generator: Mapping[str, Any] | None = None,
        readout: int | None = None,
        output_activation: str = "identity",
        init: Mapping[str, Any] | Init | None = None,
    ):
        """`edges` or `generator`: see `graphs.of_edges` and the generators there. `init` holds the fields of `Init`.

        readout: a hidden level, counted from 1, whose first `out_size` pre-activations are the outputs in place of the
            output level; what they do not depend on is left out. They have no activation, and are drawn as hidden.
        ValueError for unknown names and graphs that do not fit the data.
        """
        check_choice("activation", activation, ACTIVATIONS)
        check_choice("output_activation", output_activation, ACTIVATIONS)
        law = Init.of(init)
        shape = graph(in_size, None if readout else out_size, edges, generator)
        if readout is not None:
            shape, output_activation = shape.read_at(readout, out_size), "identity"
        levels = shape.levels
        sizes = [places(level.mask, (level.size, level.stop - level.start)) for level in levels]
        draws = [law.hidden] * (len(levels) - 1) + [law.hidden if readout else law.last]
        noises = normals(key, sizes)
        self.layers = tuple(layer(lv.mask, noise, draw) for lv, noise, draw in zip(levels, noises, draws, strict=True))
        self.activations = (activation,) * (len(levels) - 1) + (output_activation,)
        self.spans = tuple((level.start, level.stop) for level in levels)
        self.skips = tuple(level.skip for level in levels)

    def through(
        self, x: Float[Array, " d"], additions: Sequence[Addition | None]
    ) -> tuple[Float[Array, " c"], tuple[Float[Array, " _"], ...]]:
        values, out, inputs = x, x, []
        levels = zip(self.layers, self.activations, self.spans, self.skips, additions, strict=True)
        for index, (level, activation, (start, stop), skip, addition) in enumerate(levels):
            a = values[start:stop]
            inputs.append(a)
            out = ACTIVATIONS[activation](add(addition, a, level(a)))
            if skip is not None:
                out = out + values[skip : skip + out.shape[0]]
            if index < len(self.layers) - 1:
                values = jnp.concatenate([values, out])
        return out, tuple(inputs)

    def preactivations(self, x: Float[Array, " d"]) -> tuple[Float[Array, " _"], ...]:
        """f̃ of every hidden level and of the outputs."""
        _, inputs = self.through(x, (None,) * len(self.layers))
        return tuple(level(a) for level, a in zip(self.layers, inputs, strict=True))
