"""Loss, gradient and tangent kernel from one pass over the layers.

All three are made of the same factors (see `tangent`): the gradient of ⟨r, f⟩ with r the loss's slope in the outputs is
Σ_i Σ_k r_ik times that of output k on example i. So with the kernel at hand the gradient costs two products per layer
and no pass of its own. A quadratic model's outputs come of them, too: f(w₀) + ½ ∂f[Δ] + ½ ⟨∂q, Δ⟩ with ∂q = ∂f + H Δ
the gradient of the quadratic model q itself.

Source: arXiv 2205.11787 (the quadratic model)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..expansion import Expansion, QuadraticExpansion
from ..layered import Layer, Layered, layered
from ..layers import Factors
from ..parameters import partition, predict
from .tangent import kernel_of, tangent_kernel

Loss = Callable[[Float[Array, "n c"], Float[Array, "n c"]], Float[Array, ""]]


class Slope(NamedTuple):
    """A loss, its gradient in the trained parameters (a tree like theirs), and the tangent kernel of the examples."""

    value: Float[Array, ""]
    gradient: PyTree
    kernel: Float[Array, "nc nc"]


def slope_and_kernel(model: Any, loss: Loss, x: Float[Array, "n d"], y: Float[Array, "n c"]) -> Slope:
    """loss(f(x), y), its gradient and `tangent_kernel`, which networks of layers and their quadratic expansions give
    together; any other model one after the other."""
    quadratic = isinstance(model, QuadraticExpansion)
    network = layered(model.at_origin() if quadratic else model)
    if network is None or (isinstance(model, Expansion) and not quadratic):
        value, gradient = eqx.filter_value_and_grad(lambda m: loss(predict(m, x), y))(model)
        return Slope(value, partition(gradient)[0], tangent_kernel(model, x))
    if quadratic:
        outputs, terms = _of_quadratic(network, layered(model.displacement()), x)
    else:
        outputs, *terms = jax.vmap(lambda example: (network(example), *network.sensitivities(example)))(x)
    value, slopes = jax.value_and_grad(loss)(outputs, y)
    pulled = tuple(_pulled(layer, slopes, *parts) for layer, *parts in zip(network.layers, *terms, strict=True))
    trained = partition(model)[0]
    gradient = eqx.tree_at(lambda m: _layers(m.model if quadratic else m), trained, pulled)
    factors = [Factors(*map(jnp.stack, zip(*_terms(*parts), strict=True))) for parts in zip(*terms, strict=True)]
    return Slope(value, gradient, kernel_of(model, factors, factors))


def _of_quadratic(network: Layered, step: Layered | None, x: Float[Array, "n d"]) -> tuple[Array, tuple[Any, ...]]:
    """Outputs of the quadratic model and, per layer, a, b and their changes ȧ and ḃ along Δ."""
    params, rest = partition(network)
    direction = eqx.combine(partition(step)[0], rest)

    def one(example: Float[Array, " d"]) -> tuple[Array, tuple[Any, ...]]:
        def both(p: PyTree) -> tuple[Array, tuple[Any, Any]]:
            moved = eqx.combine(p, rest)
            return moved(example), moved.sensitivities(example)

        (value, (a, b)), (change, (da, db)) = jax.jvp(both, (params,), (partition(step)[0],))
        along = 0.0
        for layer, *parts in zip(direction.layers, a, b, da, db, strict=True):
            for z, sensitivity in zip(_applied(layer, parts[0], parts[2]), _sensitivities(*parts), strict=True):
                along = along + jnp.tensordot(sensitivity, z, z.ndim)
        return value + 0.5 * change + 0.5 * along, (a, b, da, db)

    return jax.vmap(one)(x)


def _terms(a: Array, b: Array, da: Array | None = None, db: Array | None = None) -> list[tuple[Array, Array]]:
    """The terms of a layer's gradients: (a, b), of a quadratic model (a, b + ḃ) and (ȧ, b)."""
    return [(a, b)] if da is None or db is None else [(a, b + db), (da, b)]


def _sensitivities(a: Array, b: Array, da: Array | None = None, db: Array | None = None) -> list[Array]:
    return [sensitivity for _, sensitivity in _terms(a, b, da, db)]


def _layers(model: Any) -> tuple[Any, ...]:
    network = layered(model)
    assert network is not None
    return network.layers


def _applied(layer: Layer, a: Array, da: Array | None) -> tuple[Array, ...]:
    """z(a) and, where a changes, how z does; the bias does not."""
    return (layer(a),) if da is None else jax.jvp(layer, (a,), (da,))


def _pulled(
    layer: Layer, slopes: Float[Array, "n c"], a: Array, b: Array, da: Array | None = None, db: Array | None = None
) -> PyTree:
    """Σ_i Σ_k of slopes times the gradients in the layer's weights, as a tree of them."""
    params, rest = partition(layer)

    def outputs(p: PyTree) -> tuple[Array, ...]:
        moved = eqx.combine(p, rest)
        if da is None:
            return jax.vmap(lambda one: _applied(moved, one, None))(a)
        return jax.vmap(lambda one, change: _applied(moved, one, change))(a, da)

    weighted = tuple(jnp.einsum("nc,nc...->n...", slopes, part) for part in _sensitivities(a, b, da, db))
    return jax.linear_transpose(outputs, params)(weighted)[0]
