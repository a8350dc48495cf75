"""The model `sines`: an Equinox module that is called with one example."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class Sines(eqx.Module):
    """f(x) = V sin(W x / sqrt(d)) / sqrt(m), weights N(0, 1).

    Every floating-point array is trained, unless it is inside a `tangentbench.models.Frozen`.
    """

    inner: Float[Array, "m d"]
    outer: Float[Array, "c m"]

    def __init__(self, in_size: int, out_size: int, *, key: PRNGKeyArray, width: int):
        first, second = jax.random.split(key)
        self.inner = jax.random.normal(first, (width, in_size))
        self.outer = jax.random.normal(second, (out_size, width))

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " c"]:
        hidden = jnp.sin(self.inner @ x / x.size**0.5)
        return self.outer @ hidden / hidden.size**0.5
