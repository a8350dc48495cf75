"""Random streams: which numbers a run draws, for what.

A stream is named by the task's `stream` number, a purpose and a seed, and by nothing else: never by a swept value, a
method, a tier or a path. Cells that are compared therefore share data, initialisation, batch order and the random
vectors of their metrics, and a difference between them is paired.

Sub-seeds are hashes (BLAKE2b), not sums or offsets: neighbouring seeds and purposes give unrelated streams, and the
number is the same in every Python, on every platform. `tests/tasks/test_streams.py` pins one per purpose, because
changing any of them changes every result of the suite.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    import jax

Purpose = Literal["data", "init", "order", "probe", "metric", "reference"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


def stream_seed(stream: int, purpose: Purpose, seed: int) -> int:
    """The 64-bit number that starts a stream.

    Args:
        stream: the task's `stream` number; tasks with the same number share their random numbers.
        purpose: `data` (data set), `init` (weights), `order` (mini-batches), `probe` (directions in weight space),
            `metric` (start vectors of eigenvalue iterations) or `reference` (weights of reference models).
        seed: the run's seed, any integer.

    Raises:
        ValueError: an unknown purpose.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"unknown purpose {purpose!r}; the purposes of random streams are {', '.join(PURPOSES)}")
    text = f"{stream:d}/{purpose}/{seed:d}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, person=b"tangentbench").digest(), "big")


def generator(stream: int, purpose: Purpose, seed: int) -> np.random.Generator:
    """A numpy generator at the start of the stream; PCG64 by name, since numpy may change its default."""
    return np.random.Generator(np.random.PCG64(stream_seed(stream, purpose, seed)))


def jax_key(stream: int, purpose: Purpose, seed: int) -> jax.Array:
    """A JAX key (raw threefry key, `uint32[2]`) at the start of the stream.

    The two words are the halves of the 64-bit seed. `jax.random.PRNGKey` would need the x64 mode to accept such a seed
    and drops its upper half otherwise; these words are the same in either mode.
    """
    import jax.numpy as jnp

    seed64 = stream_seed(stream, purpose, seed)
    return jnp.asarray(np.array([seed64 >> 32, seed64 & 0xFFFFFFFF], dtype=np.uint32))
