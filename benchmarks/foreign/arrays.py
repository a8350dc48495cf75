"""The same networks and inputs in every environment: numpy only."""

import numpy as np


def sizes(dim: int, width: int, depth: int = 2) -> list[int]:
    """Layer sizes of a network with `depth` hidden layers and one output."""
    return [dim, *[width] * depth, 1]


def weights(layer_sizes: list[int], seed: int = 0) -> list[np.ndarray]:
    """Standard normal weights (out, in) of every layer, float32."""
    rng = np.random.default_rng(seed)
    pairs = zip(layer_sizes[1:], layer_sizes[:-1], strict=True)
    return [rng.standard_normal(pair, dtype=np.float32) for pair in pairs]


def examples(n: int, dim: int, seed: int = 1) -> np.ndarray:
    """n standard normal examples, float32."""
    return np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)


def targets(n: int, seed: int = 2) -> np.ndarray:
    """n standard normal targets (n, 1), float32."""
    return np.random.default_rng(seed).standard_normal((n, 1), dtype=np.float32)
