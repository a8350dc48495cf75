"""neural-tangents' tangent kernel by structured derivatives, its best on networks of dense layers. Runs in `worker`."""

import sys
from collections.abc import Callable
from unittest.mock import MagicMock

import arrays  # pyright: ignore[reportMissingImports]
import numpy as np


def tangent_kernel(n: int, width: int, dim: int) -> Callable[[], float]:
    """The kernel of n examples; its trace is the number."""
    for name in ("tensorflow", "tf2jax", "jax.experimental.jax2tf"):
        sys.modules[name] = MagicMock()  # for a converter that nobody asks for
    import jax
    import jax.numpy as jnp
    import neural_tangents  # pyright: ignore[reportMissingImports]

    # (in, out): the rules for structured derivatives do not see through a transposed weight
    params = [jnp.asarray(w.T.copy()) for w in arrays.weights(arrays.sizes(dim, width))]
    x = jnp.asarray(arrays.examples(n, dim))

    def network(params: list, x: jax.Array) -> jax.Array:
        for index, w in enumerate(params):
            x = x @ w / np.sqrt(w.shape[0])
            x = x if index == len(params) - 1 else jnp.tanh(x)
        return x

    kernel = jax.jit(
        neural_tangents.empirical_ntk_fn(
            network,
            trace_axes=(-1,),
            vmap_axes=0,
            implementation=neural_tangents.NtkImplementation.STRUCTURED_DERIVATIVES,
        )
    )

    def job() -> float:
        return float(jnp.trace(jax.block_until_ready(kernel(x, None, params))))

    return job
