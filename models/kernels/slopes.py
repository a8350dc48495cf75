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
from .tangent import Terms, kernel_of, quadratic_terms, stacked, tangent_kernel, with_factors

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
        outputs, factors = _of_quadratic(network, layered(model.displacement()), x)
    else:
        outputs, factors = with_factors(network, x)
    value, slopes = jax.value_and_grad(loss)(outputs, y)
    pulled = tuple(_pulled(layer, slopes, one) for layer, one in zip(network.layers, factors, strict=True))
    gradient = eqx.tree_at(lambda m: _layers(m.model if quadratic else m), partition(model)[0], pulled)
    return Slope(value, gradient, kernel_of(model, factors, factors))


def _of_quadratic(network: Layered, step: Any, x: Float[Array, "n d"]) -> tuple[Float[Array, "n c"], list[Factors]]:
    """Outputs of the quadratic model, and the factors of its gradients."""
    direction = eqx.combine(step, partition(network)[1])

    def one(example: Float[Array, " d"]) -> tuple[Array, list[Terms]]:
        value, change, terms = quadratic_terms(network, step, example)
        return value + 0.5 * change + 0.5 * _along(direction.layers, terms), terms

    outputs, terms = jax.vmap(one)(x)
    return outputs, [stacked(one) for one in terms]


def _along(directions: tuple[Layer, ...], terms: list[Terms]) -> Float[Array, " c"]:
    """Inner products of one example's gradients with the weights of `directions`.

    Those of terms after a layer's first, which the bias does not enter, are taken in the layer's input: the JVP pulls
    the sensitivities back through the direction, too. One product for all layers: XLA fuses products of their own with
    what they are of, which took half as long again for a whole step.
    """
    left, right = [], []
    for direction, ((a, b), *others) in zip(directions, terms, strict=True):
        z, pull = jax.vjp(direction, a)
        left += [b, *(jax.vmap(pull)(other)[0] for _, other in others)]
        right += [z, *(other for other, _ in others)]
    flat = jnp.concatenate([one.reshape(len(one), -1) for one in left], axis=1)
    return flat @ jnp.concatenate([one.reshape(-1) for one in right])


def _layers(model: Any) -> tuple[Any, ...]:
    network = layered(model)
    assert network is not None
    return network.layers


def _pulled(layer: Layer, slopes: Float[Array, "n c"], factors: Factors) -> PyTree:
    """Σ_i Σ_k of slopes times the gradients in the layer's weights, as a tree of them."""
    params, rest = partition(layer)
    first, *others = factors.inputs

    def outputs(p: PyTree) -> list[Array]:
        """z of the first term's inputs, and its change along those of the others, which the bias does not enter."""
        moved = eqx.combine(p, rest)
        return [jax.vmap(moved)(first)] + [jax.jvp(jax.vmap(moved), (first,), (other,))[1] for other in others]

    weighted = jnp.einsum("nc,rnc...->rn...", slopes, factors.cotangents)
    return jax.linear_transpose(outputs, params)(list(weighted))[0]
