"""Tangent kernels that do not fit at once: block by block, or as products with vectors.

Blocks. Of each block of examples what the kernel is made of (factors of layers, else a Jacobian) is computed and kept
if that of all examples fits the memory given, else computed anew for each pair of blocks. Only blocks on and below the
diagonal are computed where the kernel is symmetric. The number of examples in a block comes from counting: two blocks'
factors, and four matrices of the size of a block's.

Products. K v = J (Jᵀ v) takes a backward and a forward pass over the examples, for all outputs together, and no memory
to speak of; the kernel itself costs their number squared, once. Which is less is counted (`product_costs`).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..parameters import partition, predict
from .tangent import features, kernel_of, tangent_kernel

MEMORY = 2**29  # bytes that blocks in work take


class Costs(NamedTuple):
    """Multiplications and additions of a number of kernel–vector products: with the kernel formed, and without."""

    formed: float
    free: float


def block_examples(model: Any, x: Float[Array, "n d"], memory: int = MEMORY) -> int:
    """How many examples a block has, so that a pair of blocks in work takes no more than so many bytes (or 1)."""
    outputs, half, numbers = _outputs(model, x), _numbers(model, x), memory / x.dtype.itemsize
    # the B with 4 (B c)² + 2 B · half = numbers
    size = (math.sqrt(half**2 + 4 * outputs**2 * numbers) - half) / (4 * outputs**2)
    return max(1, min(len(x), int(size)))


def kernel_in_blocks(
    model: Any, x: Float[Array, "n d"], z: Float[Array, "n2 d"] | None = None, *, memory: int = MEMORY
) -> Float[np.ndarray, "nc n2c"]:
    """`tangent_kernel`, as a numpy array that the host fills block by block; not to be called inside `jit`."""
    size = block_examples(model, x, memory)
    compute, multiply = partial(eqx.filter_jit(features), model), partial(eqx.filter_jit(kernel_of), model)
    rows = [x[start : start + size] for start in range(0, len(x), size)]
    columns = rows if z is None else [z[start : start + size] for start in range(0, len(z), size)]
    kept = _numbers(model, x) * x.dtype.itemsize * sum(map(len, columns)) <= memory
    right = [compute(block) for block in columns] if kept else None
    outputs = _outputs(model, x)
    kernel = np.empty((len(x) * outputs, sum(map(len, columns)) * outputs), x.dtype)
    step = size * outputs
    for i, row in enumerate(rows):
        left = right[i] if z is None and right is not None else compute(row)
        for j, column in enumerate(columns[: i + 1] if z is None else columns):
            found = np.asarray(multiply(left, compute(column) if right is None else right[j]))
            kernel[i * step : (i + 1) * step, j * step : (j + 1) * step] = found
            if z is None and j < i:
                kernel[j * step : (j + 1) * step, i * step : (i + 1) * step] = found.T
    return kernel


def product_costs(model: Any, x: Float[Array, "n d"], products: int) -> Costs:
    """What so many products with the kernel of x cost; a forward pass counts two operations per weight."""
    n, outputs = len(x), _outputs(model, x)
    weights = sum(leaf.size for leaf in jax.tree.leaves(partition(model)[0]))
    pairs = (n * outputs) ** 2
    width = _numbers(model, x) / outputs
    form = 2 * n * weights * (1 + outputs) + 2 * pairs * width
    return Costs(form + 2 * pairs * products, 2 * n * weights * (1 + 4 * products))


def kernel_product(
    model: Any, x: Float[Array, "n d"], products: int = 32
) -> Callable[[Float[Array, " nc"]], Float[Array, " nc"]]:
    """v ↦ Kv with the tangent kernel of x, by the cheaper way for so many products. Rows as for `tangent_kernel`."""
    costs = product_costs(model, x, products)
    if costs.formed <= costs.free:
        kernel = tangent_kernel(model, x)
        return lambda v: kernel @ v
    return free_product(model, x)


def free_product(model: Any, x: Float[Array, "n d"]) -> Callable[[Float[Array, " nc"]], Float[Array, " nc"]]:
    """v ↦ J (Jᵀ v), for any model; the forward pass is made once."""
    params, rest = partition(model)
    origin, unravel = ravel_pytree(params)
    _, push = jax.linearize(lambda flat: predict(eqx.combine(unravel(flat), rest), x).reshape(-1), origin)
    pull = jax.linear_transpose(push, origin)
    return lambda v: push(pull(v)[0])


def _numbers(model: Any, x: Float[Array, "n d"]) -> int:
    """How many numbers the features of one example have."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter_eval_shape(features, model, x[:1])))


def _outputs(model: Any, x: Float[Array, "n d"]) -> int:
    return math.prod(eqx.filter_eval_shape(model, x[0]).shape)
