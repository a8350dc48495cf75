"""Networks of layers: what the kernels exploit.

A layer maps its input a, which has no weights of its own, to a pre-activation z that is linear in the layer's weights.
So the gradient of an output f_k with respect to the layer's weights is that of ⟨b, z(a)⟩, with b = ∂f_k/∂z the
sensitivity of the output to the pre-activation: for a dense layer the outer product s · b aᵀ. Between layers anything
may happen that has no weights: activations, sums, concatenations, patches, averages.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .layers import Factors

Addition = Callable[[Float[Array, "*a"]], Float[Array, "*z"]]
"""What is added to the pre-activation of a layer, given the layer's input."""


@runtime_checkable
class Layer(Protocol):
    """A map that is linear in its weights (and may have a bias), for one example."""

    def __call__(self, a: Float[Array, "*a"]) -> Float[Array, "*z"]:
        """The pre-activation."""
        ...

    @property
    def z_shape(self) -> tuple[int, ...]:
        """Shape of the pre-activation."""
        ...

    def gram(self, left: Factors, right: Factors) -> Float[Array, "n c n2 c"]:
        """Inner products of the gradients with respect to the layer's weights."""
        ...

    def along(self, inputs: Float[Array, "r *a"], cotangents: Float[Array, "r *z"], a: Float[Array, "*a"]) -> Array:
        """The pre-activation at input a if the weights were the gradient Σ_r of these terms."""
        ...


class Layered(eqx.Module):
    """A network of layers, for one example."""

    layers: eqx.AbstractVar[tuple[Any, ...]]

    @abstractmethod
    def through(
        self, x: Float[Array, " d"], additions: Sequence[Addition | None]
    ) -> tuple[Float[Array, " c"], tuple[Float[Array, "*_"], ...]]:
        """Outputs with `additions` (None: nothing) added to the pre-activations, and the input of every layer."""

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " c"]:
        return self.through(x, (None,) * len(self.layers))[0]

    def sensitivities(
        self, x: Float[Array, " d"], additions: Sequence[Addition | None] | None = None
    ) -> tuple[tuple[Float[Array, "*_"], ...], tuple[Float[Array, "c *_"], ...]]:
        """Per layer, its input a_l and the sensitivities b_{l,k} = ∂f_k/∂z_l of all outputs [c, shape of z_l].

        One forward pass and one backward pass per output; no array of the size of the parameters is formed.
        additions: to the pre-activations, as for `through`.
        """
        return self.with_sensitivities(x, additions)[1:]

    def with_sensitivities(
        self, x: Float[Array, " d"], additions: Sequence[Addition | None] | None = None
    ) -> tuple[Float[Array, " c"], tuple[Float[Array, "*_"], ...], tuple[Float[Array, "c *_"], ...]]:
        """Outputs, and the `sensitivities` from the same pass."""
        given = additions or (None,) * len(self.layers)

        def tapped(taps: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
            both = zip(given, taps, strict=True)
            return self.through(x, [lambda a, given=given, tap=tap: add(given, a, tap) for given, tap in both])

        taps = tuple(jnp.zeros(layer.z_shape, x.dtype) for layer in self.layers)
        out, pull, inputs = jax.vjp(tapped, taps, has_aux=True)
        (cotangents,) = jax.vmap(pull)(jnp.eye(out.shape[0], dtype=out.dtype))
        return out, inputs, cotangents


def layered(model: Any) -> Layered | None:
    """The network of layers that the model consists of (itself, or its `chain`), or None."""
    network = getattr(model, "chain", model)
    return network if isinstance(network, Layered) else None


def add(addition: Addition | None, a: Float[Array, "*a"], z: Float[Array, "*z"]) -> Float[Array, "*z"]:
    """The pre-activation z of a layer with input a, after its addition."""
    return z if addition is None else z + addition(a)
