"""Taylor models: a network expanded in its weights around the weights it has when `expand` is called.

With Δ = w − w₀:
  linear        f(w₀) + ∂f[Δ]
  quadratic     f(w₀) + ∂f[Δ] + ½ ∂²f[Δ, Δ]                      arXiv 2205.11787
  multilinear   T_1 T_2 … T_B f, with T_k g = (g + ∂_k g[Δ_k]) at w_k = w₀_k for each block of parameters w_k: the part
                of the Taylor series of degree ≤ 1 in each block     arXiv 2206.15058
All derivatives are directional and taken forward, so an evaluation costs a few forward passes and no Hessian is formed.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .layers import check_choice
from .parameters import Frozen, partition

ORDERS = ("linear", "quadratic", "multilinear")


class Expansion(eqx.Module):
    """A Taylor model of `model`. Its trained arrays are those of `model`; the origin is frozen.

    `partition(expansion)[0].model` has the tree of `partition(model)[0]`.
    """

    model: eqx.AbstractVar[Any]
    origin: eqx.AbstractVar[Frozen]

    @abstractmethod
    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " c"]:
        """Output for one example at the current weights."""

    def at(self, model: Any) -> "Expansion":
        """The same Taylor polynomial, evaluated at the weights of `model`."""
        return eqx.tree_at(lambda expansion: expansion.model, self, model)

    def displacement(self) -> PyTree:
        """Δ = w − w₀, as a tree of parameters."""
        return jax.tree.map(jnp.subtract, partition(self.model)[0], self.origin.value)

    def at_origin(self) -> Any:
        """The expanded network itself, at w₀."""
        return eqx.combine(self.origin.value, partition(self.model)[1])

    def network(self, x: Float[Array, " d"]) -> Callable[[PyTree], Float[Array, " c"]]:
        """The expanded network as a function of its parameters."""
        rest = partition(self.model)[1]
        return lambda params: eqx.combine(params, rest)(x)


class LinearExpansion(Expansion):
    """First-order Taylor model."""

    model: Any
    origin: Frozen

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " c"]:
        value, slope = jax.jvp(self.network(x), (self.origin.value,), (self.displacement(),))
        return value + slope


class QuadraticExpansion(Expansion):
    """Second-order Taylor model. For ReLU the second derivative of the activation is 0, its value almost everywhere."""

    model: Any
    origin: Frozen

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " c"]:
        f, delta = self.network(x), self.displacement()

        def first_order(params: PyTree) -> tuple[Array, Array]:
            return jax.jvp(f, (params,), (delta,))

        (value, slope), (_, curvature) = jax.jvp(first_order, (self.origin.value,), (delta,))
        return value + slope + 0.5 * curvature


class MultilinearExpansion(Expansion):
    """Taylor model of degree ≤ 1 in each block, cut at total degree `truncate` in Δ if that is given.

    The terms are graded by their degree while they are computed: the operators act on a stack [degree c] of the parts
    of the polynomial, and T_k sends a stack p to p + shift(∂_k p[Δ_k]). So a truncation drops exactly the terms above
    it, without cancellation, and a truncation at or above the number of blocks changes nothing.
    """

    model: Any
    origin: Frozen
    truncate: int | None = eqx.field(static=True)

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " c"]:
        f, delta = self.network(x), self.displacement()
        blocks = self.model.blocks()
        limit = len(blocks) if self.truncate is None else self.truncate

        def degree_zero(params: PyTree) -> Float[Array, "1 c"]:
            return f(params)[None]

        graded: Callable[[PyTree], Float[Array, "degree c"]] = degree_zero
        for block in blocks:
            graded = _taylor_operator(graded, block, delta, limit)
        return jnp.sum(graded(self.origin.value), axis=0)


def _taylor_operator(
    graded: Callable[[PyTree], Float[Array, "degree c"]], block: PyTree, delta: PyTree, limit: int
) -> Callable[[PyTree], Float[Array, "degree1 c"]]:
    """T_k: value plus first derivative along Δ_k, one degree higher; degrees above `limit` are dropped."""
    step, _ = eqx.partition(delta, block)

    def operated(params: PyTree) -> Float[Array, "degree1 c"]:
        moving, still = eqx.partition(params, block)
        value, slope = jax.jvp(lambda part: graded(eqx.combine(part, still)), (moving,), (step,))
        none = jnp.zeros_like(value[:1])
        return (jnp.concatenate([value, none]) + jnp.concatenate([none, slope]))[: limit + 1]

    return operated


def expand(model: Any, order: str, truncate: int | None = None) -> Expansion:
    """The Taylor model of `model` at its current weights, where it also starts.

    order: "linear", "quadratic", or "multilinear" for a model with `blocks()`.
    truncate: for "multilinear", the total degree in Δ above which terms are dropped.
    Raises ValueError for another order, a Taylor model of a Taylor model, a multilinear expansion of a model without
    blocks, and a `truncate` that is negative or belongs to another order.
    """
    check_choice("expansion", order, ORDERS)
    if isinstance(model, Expansion):
        raise ValueError(f"the model is already a {type(model).__name__}; expand the network itself")
    if truncate is not None and order != "multilinear":
        raise ValueError(f"truncate belongs to the multilinear expansion, not to {order!r}; remove it")
    if truncate is not None and truncate < 0:
        raise ValueError(f"truncate is a total degree, at least 0; got {truncate}")
    # A copy: training may donate the buffers of the weights, and the origin must outlive them.
    origin = Frozen(jax.tree.map(jnp.copy, partition(model)[0]))
    if order == "linear":
        return LinearExpansion(model, origin)
    if order == "quadratic":
        return QuadraticExpansion(model, origin)
    if not hasattr(model, "blocks"):
        raise ValueError(
            f"a multilinear expansion needs a partition of the parameters into blocks, and {type(model).__name__} has "
            "none; use 'linear' or 'quadratic', or the bottleneck model"
        )
    return MultilinearExpansion(model, origin, truncate)
