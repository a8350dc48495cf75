"""Layers with few of the weights of a dense one: masked products and gathers.

Node v of such a layer has z_v = s_v Σ_{u ∈ in(v)} w_vu a_u with s_v = 1/√in(v), the number of its own incoming edges.
The gradient of ⟨b, z⟩ with respect to w_vu is s_v b_v a_u, so the inner product of two gradients is

    Σ_v s_v² b_v b'_v ⟨a, a'⟩_v,   ⟨a, a'⟩_v = Σ_{u ∈ in(v)} a_u a'_u

Source: arXiv 2205.11786, Section 2 (the model)
"""

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .layers import Dense, Factors
from .parameters import Frozen

SPARSE = 1 / 32
"""Share of the edges of a dense layer below which a gather is used. Masked products are faster above about a tenth, and
need no index arrays."""


class Sparse(eqx.Module):
    """z = scale ∘ (the weights of the edges that exist) a, for one example."""

    weight: eqx.AbstractVar[Float[Array, "out k"]]
    scale: eqx.AbstractVar[Frozen]

    @abstractmethod
    def __call__(self, a: Float[Array, " in"]) -> Float[Array, " out"]:
        """The pre-activation."""

    @abstractmethod
    def inner(self, a: Float[Array, " in"], others: Float[Array, "n in"]) -> Float[Array, "n out"]:
        """Per node, the inner products of a with others over what the node reads."""

    @property
    def z_shape(self) -> tuple[int, ...]:
        """Shape of z."""
        return self.weight.shape[:1]

    def along(self, inputs: Float[Array, "r in"], cotangents: Float[Array, "r out"], a: Float[Array, " in"]) -> Array:
        """Σ_r s_v² b_rv ⟨a_r, a⟩_v: z if the weights were a gradient."""
        return jnp.square(self.scale.value) * jnp.sum(cotangents * self.inner(a, inputs), axis=0)

    def gram(self, left: Factors, right: Factors) -> Float[Array, "n c n2 c"]:
        """Inner products of the gradients; row by row, so that no gradient is formed and memory is that of a layer."""
        others, n2 = right.inputs.shape[:2]
        inputs = right.inputs.reshape(others * n2, -1)

        def row(one: tuple[Float[Array, " in"], Float[Array, "c out"]]) -> Float[Array, "c n2 c"]:
            a, b = one
            inner = self.inner(a, inputs).reshape(others, n2, -1)
            return jnp.einsum("cw,qmdw,qmw->cmd", b * jnp.square(self.scale.value)[None], right.cotangents, inner)

        def term(one: tuple[Float[Array, "n in"], Float[Array, "n c out"]]) -> Float[Array, "n c n2 c"]:
            return jax.lax.map(row, one)

        return jnp.sum(jax.lax.map(term, (left.inputs, left.cotangents)), axis=0)


class Masked(Sparse):
    """A dense product with a mask; the weights of edges that do not exist are 0."""

    weight: Float[Array, "out in"]
    mask: Bool[Array, "out in"]
    scale: Frozen

    def __call__(self, a: Float[Array, " in"]) -> Float[Array, " out"]:
        return self.scale.value * (jnp.where(self.mask, self.weight, 0) @ a)

    def inner(self, a: Float[Array, " in"], others: Float[Array, "n in"]) -> Float[Array, "n out"]:
        return (others * a[None]) @ self.mask.astype(a.dtype).T


class Gathered(Sparse):
    """The inputs of every node, gathered by their numbers. Nodes that read fewer have places of weight 0."""

    weight: Float[Array, "out k"]
    index: Int[Array, "out k"]
    mask: Bool[Array, "out k"]
    scale: Frozen

    def __call__(self, a: Float[Array, " in"]) -> Float[Array, " out"]:
        return self.scale.value * jnp.sum(jnp.where(self.mask, self.weight * a[self.index], 0), axis=1)

    def inner(self, a: Float[Array, " in"], others: Float[Array, "n in"]) -> Float[Array, "n out"]:
        read = jnp.where(self.mask, a[self.index], 0)
        return jnp.sum(read[None] * others[:, self.index], axis=2)


def places(mask: np.ndarray | None, shape: tuple[int, int]) -> tuple[int, int]:
    """Shape of the weights of a layer with this mask (None: all edges exist) of this shape."""
    if mask is None or mask.mean() >= SPARSE:
        return shape
    return shape[0], int(mask.sum(1).max())


def layer(mask: np.ndarray | None, noise: Float[Array, "out k"], draw: Callable[[Array], Array]) -> Dense | Sparse:
    """The layer with the edges of `mask`, whose weights are `draw` of noise of the shape that `places` says."""
    if mask is None:
        return Dense(draw(noise))
    degrees = mask.sum(1)
    scale = Frozen(jnp.asarray(1 / np.sqrt(degrees), noise.dtype))
    if noise.shape == mask.shape:
        exists = jnp.asarray(mask)
        return Masked(weight=_drawn(exists, noise, draw), mask=exists, scale=scale)
    index = np.zeros(noise.shape, np.int32)
    exists = np.arange(noise.shape[1])[None] < degrees[:, None]
    index[exists] = np.nonzero(mask)[1]
    exists = jnp.asarray(exists)
    return Gathered(weight=_drawn(exists, noise, draw), index=jnp.asarray(index), mask=exists, scale=scale)


def _drawn(exists: Bool[Array, "out k"], noise: Float[Array, "out k"], draw: Callable[[Array], Array]) -> Array:
    # masked twice: before, because a row may be normalised; after, because a sign is never 0
    return jnp.where(exists, draw(jnp.where(exists, noise, 0)), 0)
