"""Products with few weights per row, z_v = Σ_j w_vj a_(index_vj), with the examples in the trailing axis.

Under `vmap` over examples a plain gather puts the examples first, and then reads single numbers all over the memory. A
primitive of its own decides for itself: its batching rule puts them last, so that what is gathered are rows. It is
bilinear; its transpose in a is a product of the same kind, over the edges sorted by where they start, and that in w
takes a dense product and picks the edges that exist.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float, Int

NODES = 64  # whose sums are taken together on a CPU
UNROLLED = 64  # columns of weights up to which the sum over them is one fused loop


class Places(NamedTuple):
    """Where edges start and end: as seen from the nodes that read, and from those that are read.

    heads: per place of the weights, the node that is read; own: the same place among the other side's places (flat).
    tails, back: the same from the other side. A place that holds no edge refers to the place after the last one.
    """

    heads: Int[Array, "out k"]
    own: Int[Array, "out k"]
    tails: Int[Array, "in k2"]
    back: Int[Array, "in k2"]

    @property
    def turned(self) -> "Places":
        """The same from the other side."""
        return Places(self.tails, self.back, self.heads, self.own)


def places_of(index: np.ndarray, exists: np.ndarray, reads: int) -> Places:
    """The places of weights whose nodes read `index` [out, k] of `reads` values, where `exists`."""
    out, k = index.shape
    rows, columns = np.nonzero(exists)
    read = index[rows, columns]
    degrees = np.bincount(read, minlength=reads)
    width = max(1, int(degrees.max(initial=0)))
    order = np.argsort(read, kind="stable")
    rank = np.empty(len(read), np.int64)
    rank[order] = np.arange(len(read)) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    own = np.full((out, k), reads * width, np.int32)
    own[rows, columns] = read * width + rank
    tails = np.zeros((reads, width), np.int32)
    back = np.full((reads, width), out * k, np.int32)
    tails[read, rank], back[read, rank] = rows, rows * k + columns
    heads = np.where(exists, index, 0).astype(np.int32)
    return Places(*map(jnp.asarray, (heads, own, tails, back)))


def gather_product(weight: Float[Array, "out k"], a: Float[Array, " in"], places: Places) -> Float[Array, " out"]:
    """z_v = Σ_j w_vj a_(heads_vj); weights at places that hold no edge must be 0."""
    return _product.bind(weight, a[:, None], *places)[:, 0]


def _rows(weight: Float[Array, "out k"], a: Float[Array, "in n"], heads: Int[Array, "out k"]) -> Float[Array, "out n"]:
    if weight.shape[1] > UNROLLED:
        return jax.lax.map(lambda row: row[0] @ a[row[1]], (weight, heads))
    return sum((weight[:, j, None] * a[heads[:, j]] for j in range(1, weight.shape[1])), weight[:, :1] * a[heads[:, 0]])


def _at_once(weight: Array, a: Array, heads: Array, *_: Array) -> Array:
    return _rows(weight, a, heads)


def _in_turns(weight: Array, a: Array, heads: Array, *_: Array) -> Array:
    # A loop keeps apart what XLA would fuse on a CPU: the producer of a, computed anew for every edge, and a transposed
    # use of z, for which everything would be read against the grain.
    out, k = weight.shape
    parts = -(-out // NODES)
    parted = [jnp.pad(side, ((0, parts * NODES - out), (0, 0))).reshape(parts, NODES, k) for side in (weight, heads)]
    return jax.lax.map(lambda part: _rows(part[0], a, part[1]), tuple(parted)).reshape(-1, a.shape[1])[:out]


_product = Primitive("gather_product")
_product.def_impl(jax.jit(_at_once))
mlir.register_lowering(_product, mlir.lower_fun(_at_once, multiple_results=False))
mlir.register_lowering(_product, mlir.lower_fun(_in_turns, multiple_results=False), platform="cpu")


@_product.def_abstract_eval
def _shape(weight: Any, a: Any, *_: Any) -> Any:
    return a.update(shape=(weight.shape[0], a.shape[1]))


def _to_weights(cotangent: Any, weight: Any, a: Array, *places: Array) -> Array:
    """Σ_n z̄_vn a_(heads_vj)n at every place that holds an edge."""
    there = Places(*places)
    return jnp.where(there.own < there.tails.size, jnp.take_along_axis(cotangent @ a.T, there.heads, axis=1), 0)


def _to_inputs(cotangent: Any, weight: Array, a: Any, *places: Array) -> Array:
    there = Places(*places)
    turned = jnp.append(weight.reshape(-1), jnp.zeros((), weight.dtype))[there.back]
    return _product.bind(turned, cotangent, *there.turned)


def _transpose(cotangent: Any, weight: Any, a: Any, *places: Any) -> list[Any]:
    of_weights = ad.is_undefined_primal(weight)
    if type(cotangent) is ad.Zero:
        found = ad.Zero((weight if of_weights else a).aval)
    else:
        found = (_to_weights if of_weights else _to_inputs)(cotangent, weight, a, *places)
    return [found, None, *[None] * len(places)] if of_weights else [None, found, *[None] * len(places)]


def _tangent(primals: Any, tangents: Any) -> tuple[Any, Any]:
    """Bilinear; the tangents of the places, which are whole numbers, are nothing."""
    weight, a, *places = primals
    dw, da = tangents[:2]
    parts = [] if type(dw) is ad.Zero else [_product.bind(dw, a, *places)]
    parts += [] if type(da) is ad.Zero else [_product.bind(weight, da, *places)]
    return _product.bind(*primals), sum(parts[1:], parts[0])


def _batched(operands: Any, axes: Any) -> tuple[Array, int]:
    """Examples go last, unless weights or edges differ between them."""
    weight, a, *places = operands
    if axes[0] is None and all(axis is None for axis in axes[2:]):
        moved = jnp.moveaxis(a, axes[1], -1)
        out = _product.bind(weight, moved.reshape(moved.shape[0], -1), *places)
        return out.reshape(out.shape[0], *moved.shape[1:]), moved.ndim - 1
    return jax.vmap(_at_once, in_axes=tuple(axes))(*operands), 0


ad.primitive_jvps[_product] = _tangent
ad.primitive_transposes[_product] = _transpose
batching.primitive_batchers[_product] = _batched
