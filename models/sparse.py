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
from jaxtyping import Array, Bool, Float

from .gathering import Places, gather_product, places_of
from .layers import Dense, Factors
from .parameters import Frozen

SPARSE = 1 / 32
"""Share of the edges of a dense layer up to which a gather is used. Masked products are faster above about a tenth, and
need no index arrays."""

GRADIENTS = 2**24
"""Numbers of the gradients that are formed at a time, for a tangent kernel of gathered layers."""


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
    edges: Places
    mask: Bool[Array, "out k"]
    scale: Frozen

    def __call__(self, a: Float[Array, " in"]) -> Float[Array, " out"]:
        return self.scale.value * gather_product(jnp.where(self.mask, self.weight, 0), a, self.edges)

    def inner(self, a: Float[Array, " in"], others: Float[Array, "n in"]) -> Float[Array, "n out"]:
        return jax.vmap(lambda other: jnp.sum(jnp.where(self.mask, (a * other)[self.edges.heads], 0), axis=1))(others)

    def gram(self, left: Factors, right: Factors) -> Float[Array, "n c n2 c"]:
        """Inner products of the gradients, which have few numbers: formed for some nodes at a time, and multiplied."""
        out, k = self.weight.shape
        pairs = [side.cotangents.shape[1] * side.cotangents.shape[2] for side in (left, right)]
        nodes = max(1, min(out, GRADIENTS // (k * sum(pairs))))
        parts = -(-out // nodes)
        padding = ((0, parts * nodes - out), (0, 0))
        heads = jnp.pad(self.edges.heads, padding).reshape(parts, nodes, k)
        mask = jnp.pad(self.mask, padding).reshape(parts, nodes, k)
        scale = jnp.pad(self.scale.value, padding[:1]).reshape(parts, nodes)

        def gradients(side: Factors, part: tuple[Array, ...]) -> Float[Array, "edges nc"]:
            heads, mask, scale, sensitivities = part
            found = []
            for a, b in zip(jnp.swapaxes(side.inputs, 1, 2), sensitivities, strict=True):
                read = jnp.where(mask[:, :, None], a[heads], 0) * scale[:, None, None]
                found.append(read[..., None] * b[:, None])
            return sum(found[1:], found[0]).reshape(nodes * k, -1)

        def split(side: Factors) -> Float[Array, "parts r nodes n c"]:
            b = jnp.pad(jnp.transpose(side.cotangents, (0, 3, 1, 2)), ((0, 0), padding[0], (0, 0), (0, 0)))
            return jnp.swapaxes(b.reshape(b.shape[0], parts, nodes, *b.shape[2:]), 0, 1)

        def add(total: Array, part: tuple[Array, ...]) -> tuple[Array, None]:
            *places, ours, theirs = part
            first = gradients(left, (*places, ours))
            second = first if left is right else gradients(right, (*places, theirs))
            return total + first.T @ second, None

        zero = jnp.zeros((pairs[0], pairs[1]), self.weight.dtype)
        b = split(left)
        others = b if left is right else split(right)
        kernel, _ = jax.lax.scan(add, zero, (heads, mask, scale, b, others))
        (n, c), (n2, c2) = left.cotangents.shape[1:3], right.cotangents.shape[1:3]
        return kernel.reshape(n, c, n2, c2)


def places(mask: np.ndarray | None, shape: tuple[int, int]) -> tuple[int, int]:
    """Shape of the weights of a layer with this mask (None: all edges exist) of this shape."""
    if mask is None or mask.mean() > SPARSE:
        return shape
    return shape[0], int(mask.sum(1).max())


def layer(mask: np.ndarray | None, noise: Float[Array, "out k"], draw: Callable[[Array], Array]) -> Dense | Sparse:
    """The layer with the edges of `mask`, whose weights are `draw` of noise of the shape that `places` says."""
    if mask is None:
        return Dense(draw(noise))
    if noise.shape == mask.shape:
        return masked(mask, _drawn(jnp.asarray(mask), noise, draw))
    exists = np.arange(noise.shape[1])[None] < mask.sum(1)[:, None]
    return gathered(mask, _drawn(jnp.asarray(exists), noise, draw))


def masked(mask: np.ndarray, weight: Float[Array, "out in"]) -> Masked:
    """The layer with the edges of `mask` and these weights, by masked products."""
    return Masked(weight=weight, mask=jnp.asarray(mask), scale=_scale(mask, weight))


def gathered(mask: np.ndarray, weight: Float[Array, "out k"]) -> Gathered:
    """The layer with the edges of `mask` by gathers; `weight` has those of a node in its row, in the mask's order."""
    index = np.zeros(weight.shape, np.int32)
    exists = np.arange(weight.shape[1])[None] < mask.sum(1)[:, None]
    index[exists] = np.nonzero(mask)[1]
    edges = places_of(index, exists, mask.shape[1])
    return Gathered(weight=weight, edges=edges, mask=jnp.asarray(exists), scale=_scale(mask, weight))


def _scale(mask: np.ndarray, weight: Array) -> Frozen:
    return Frozen(jnp.asarray(1 / np.sqrt(mask.sum(1)), weight.dtype))


def _drawn(exists: Bool[Array, "out k"], noise: Float[Array, "out k"], draw: Callable[[Array], Array]) -> Array:
    # masked twice: before, because a row may be normalised; after, because a sign is never 0
    return jnp.where(exists, draw(jnp.where(exists, noise, 0)), 0)
