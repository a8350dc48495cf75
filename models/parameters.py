"""Which arrays of a model are trained: marking, splitting and evaluating.

Every floating-point array of a model is trained unless it sits inside a `Frozen`. Frozen arrays stay leaves of the
model, so models that differ in frozen values (origins of Taylor models, γ of a quadratic model) are one `vmap`.
"""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree


class Frozen(eqx.Module):
    """Marks `value`, an array or a tree of arrays, as part of the model that training must not touch."""

    value: Any


def _is_frozen(node: Any) -> bool:
    return isinstance(node, Frozen)


def partition(model: PyTree) -> tuple[PyTree, PyTree]:
    """Split a model into (params, rest): its trained arrays and everything else.

    Both have the model's structure with None in the holes; `equinox.combine(params, rest)` is the model again.
    `rest` holds the frozen arrays as leaves.
    """
    trained = jax.tree.map(
        lambda node: False if _is_frozen(node) else eqx.is_inexact_array(node), model, is_leaf=_is_frozen
    )
    return eqx.partition(model, trained)


def predict(model: Any, x: Float[Array, "n d"]) -> Float[Array, "n c"]:
    """Outputs of a single-example model on n examples."""
    return jax.vmap(model)(x)
