"""The data set `ridge`: drawn in float64 from the generator that it is given, and from nothing else."""

import numpy as np

from tangentbench.tasks.datasets import Dataset, Split


def ridge(
    rng: np.random.Generator, *, dim: int, train: int, validation: int = 0, test: int = 0, noise: float = 0.0
) -> Dataset:
    """y = x_0^2 for x ~ N(0, I_dim); inputs [n dim], targets [n 1]."""

    def function(x: np.ndarray) -> np.ndarray:
        return x[:, :1] ** 2

    # a generator for each split: more test examples change no training example
    generators = zip(rng.spawn(3), (train, validation, test), strict=True)
    drawn = [child.standard_normal((size, dim)) for child, size in generators]
    first, *rest = [Split(x, function(x)) if len(x) else None for x in drawn]
    agop = np.zeros((dim, dim))
    agop[0, 0] = np.mean((2 * first.x[:, 0]) ** 2)  # mean of grad f grad f^T over the training inputs
    if noise:
        first = Split(first.x, first.y + noise * rng.standard_normal(first.y.shape))
    return Dataset(first, *rest, task="regression", agop=agop, function=function)
