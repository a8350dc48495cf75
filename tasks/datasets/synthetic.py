"""Synthetic data: every array is drawn from the generator it is given (PCG64, float64).

Each split, and the hidden directions of a data set, has a child generator of its own: asking for more test points
changes no training point, and a larger training set begins with the smaller one.

Products of matrices are written as loops over columns or sums over axes, not with `@`: a BLAS orders its sums by
processor and thread count, and the content hash would differ between machines in the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from .base import Dataset, Split, row_norms, signed_labels

Matrix = Float[np.ndarray, "n d"]
Targets = Float[np.ndarray, "n c"]
Draw = Callable[[Generator, int], Split]


def _splits(
    draw: Draw, rngs: Sequence[Generator], train: int, validation: int, test: int
) -> tuple[Split, Split | None, Split | None]:
    if train < 1 or validation < 0 or test < 0:
        raise ValueError(f"sizes must be train >= 1, validation >= 0, test >= 0; got {train}, {validation}, {test}")
    first, second, third = rngs
    return draw(first, train), draw(second, validation) if validation else None, draw(third, test) if test else None


def _times(x: Matrix, columns: Float[np.ndarray, "d r"]) -> Float[np.ndarray, "n r"]:
    """`x @ columns`, summed in the order of the columns of x."""
    out = np.zeros((len(x), columns.shape[1]))
    for j in range(x.shape[1]):
        out += x[:, j, None] * columns[j]
    return out


def _outer_mean(gradients: Float[np.ndarray, "n r"]) -> Float[np.ndarray, "r r"]:
    """(1/n) sum_i g_i g_i^T."""
    return np.sum(gradients[:, :, None] * gradients[:, None, :], axis=0) / len(gradients)


def _orthonormal(rng: Generator, dim: int, count: int) -> Float[np.ndarray, "d r"]:
    """`count` random orthonormal directions (Gram-Schmidt, twice for accuracy)."""
    basis: list[np.ndarray] = []
    for _ in range(count):
        v = rng.standard_normal(dim)
        for _ in range(2):
            for u in basis:
                v = v - np.sum(u * v) * u
            v = v / np.sqrt(np.sum(v * v))
        basis.append(v)
    return np.stack(basis, axis=1)


def monomial(
    rng: Generator,
    *,
    dim: int,
    factors: Sequence[int] = (0, 1),
    train: int,
    validation: int = 0,
    test: int = 0,
    noise: float = 0.0,
) -> Dataset:
    """y = product of the coordinates `factors` of x, x ~ N(0, I_dim); an index may repeat (`[0, 0]` is x_0^2).

    `noise` is the standard deviation of Gaussian noise on the *training* targets; the other targets are exact.
    With `factors: [0, 1]` it is a rank-2 task, of the kind on which arXiv 2306.04815 studies feature learning.

    Raises:
        ValueError: no factor, a factor outside 0..dim-1, or impossible sizes.
    """
    if not factors or not all(0 <= j < dim for j in factors):
        raise ValueError(f"factors must be indices in 0..{dim - 1} (dim is {dim}); got {list(factors)}")

    active = sorted(set(factors))

    def gradient(x: Matrix) -> Matrix:
        out = np.zeros((len(x), len(active)))
        for position, j in enumerate(factors):
            others = [k for other, k in enumerate(factors) if other != position]
            out[:, active.index(j)] += np.prod(x[:, others], axis=1)
        return out

    def function(x: Matrix) -> Targets:
        return np.prod(x[:, list(factors)], axis=1)[:, None]

    return _regression(rng, function, gradient, np.eye(dim)[:, active], train, validation, test, noise)


def low_rank_polynomial(
    rng: Generator,
    *,
    dim: int,
    rank: int,
    degree: int,
    train: int,
    validation: int = 0,
    test: int = 0,
    noise: float = 0.0,
) -> Dataset:
    """A polynomial of `rank` hidden directions: y = sum_k (-1)^k He_p(u_k . x) / sqrt(rank p!), x ~ N(0, I_dim).

    u_1..u_rank are random orthonormal directions and He_p is the probabilists' Hermite polynomial of degree p =
    `degree`; y has mean 0 and variance 1 whatever the options. The signs alternate, so that rank 2 and degree 2 is a
    product of two directions (the `monomial` of degree 2, rotated) and not a function of the norm alone.
    `noise` is the standard deviation of Gaussian noise on the *training* targets.

    Raises:
        ValueError: rank outside 1..dim, degree below 1, or impossible sizes.
    """
    if not 1 <= rank <= dim:
        raise ValueError(f"rank must be in 1..{dim} (dim is {dim}); got {rank}")
    if degree < 1:
        raise ValueError(f"degree must be at least 1; got {degree}")
    rng, hidden = rng.spawn(2)
    directions = _orthonormal(hidden, dim, rank)
    signs = np.where(np.arange(rank) % 2 == 0, 1.0, -1.0) / math.sqrt(rank * math.factorial(degree))

    def function(x: Matrix) -> Targets:
        return np.sum(signs * _hermite(_times(x, directions), degree), axis=1, keepdims=True)

    def gradient(x: Matrix) -> Matrix:  # He_p' = p He_{p-1}
        return signs * degree * _hermite(_times(x, directions), degree - 1)

    return _regression(rng, function, gradient, directions, train, validation, test, noise)


def _hermite(z: Matrix, degree: int) -> Matrix:
    """He_0 = 1, He_1 = z, He_{p+1} = z He_p - p He_{p-1}."""
    previous, current = np.zeros_like(z), np.ones_like(z)
    for p in range(degree):
        previous, current = current, z * current - p * previous
    return current


def _regression(
    rng: Generator,
    function: Callable[[Matrix], Targets],
    gradient: Callable[[Matrix], Float[np.ndarray, "n r"]],
    basis: Float[np.ndarray, "d r"],
    train: int,
    validation: int,
    test: int,
    noise: float,
) -> Dataset:
    """Splits of a true function of N(0, I) with its AGOP; `gradient` gives its gradients as coordinates in `basis`."""

    def draw(rng: Generator, size: int) -> Split:
        x = rng.standard_normal((size, len(basis)))
        return Split(x, function(x))

    children = rng.spawn(3)
    first, *rest = _splits(draw, children, train, validation, test)
    agop = _times(_times(basis, _outer_mean(gradient(first.x))), basis.T)
    if noise:
        first = Split(first.x, first.y + noise * children[0].standard_normal(first.y.shape))
    return Dataset(first, *rest, task="regression", agop=agop, function=function)


def gaussian_mixture(
    rng: Generator,
    *,
    dim: int,
    classes: int = 2,
    separation: float = 4.0,
    mean_scale: float = 0.0,
    train: int,
    validation: int = 0,
    test: int = 0,
) -> Dataset:
    """Equally likely classes with unit covariance, in random orientation.

    The centres lie `separation` apart from each other (a regular simplex) around a common mean of norm `mean_scale`,
    orthogonal to their differences. Class sizes of a split differ by at most one. Labels are -1 and 1 for two classes,
    one-hot rows for more.

    Raises:
        ValueError: fewer than two classes, fewer than classes + 1 dimensions, or impossible sizes.
    """
    if classes < 2:
        raise ValueError(f"a mixture needs at least 2 classes; got {classes}")
    if dim < classes + 1:
        raise ValueError(f"{classes} centres and their mean need dim >= {classes + 1}; got {dim}")
    hidden, *children = rng.spawn(4)
    axes = _orthonormal(hidden, dim, classes + 1).T
    corners = axes[1:] * (separation / math.sqrt(2.0))
    centres = mean_scale * axes[0] + corners - np.mean(corners, axis=0)

    def draw(rng: Generator, size: int) -> Split:
        label = rng.permutation(np.arange(size) % classes)
        x = centres[label] + rng.standard_normal((size, dim))
        return Split(x, signed_labels(label == 1) if classes == 2 else np.eye(classes)[label])

    first, *rest = _splits(draw, children, train, validation, test)
    return Dataset(first, *rest, task="classification")


def sphere(
    rng: Generator,
    *,
    dim: int,
    train: int,
    validation: int = 0,
    test: int = 0,
    radius: Literal["sqrt_dim", "unit"] = "sqrt_dim",
    target: Literal["linear", "sign", "noise"] = "linear",
) -> Dataset:
    """x uniform on the sphere of radius sqrt(dim) or 1, with z = sqrt(dim) u . x/|x| for a random unit u.

    Targets: `linear` y = z (variance 1), `sign` y = the sign of z (classification), `noise` y ~ N(0, 1), unrelated to
    x. The AGOP is known for `linear` alone, where the gradient is constant: (dim/radius^2) u u^T.

    Raises:
        ValueError: an unknown radius or target, or impossible sizes.
    """
    if radius not in ("sqrt_dim", "unit"):
        raise ValueError(f"radius must be sqrt_dim or unit; got {radius!r}")
    if target not in ("linear", "sign", "noise"):
        raise ValueError(f"target must be linear, sign or noise; got {target!r}")
    hidden, *children = rng.spawn(4)
    length = math.sqrt(dim) if radius == "sqrt_dim" else 1.0
    u = _orthonormal(hidden, dim, 1)

    def function(x: Matrix) -> Targets:
        return _times(x, u) * (math.sqrt(dim) / length)

    def draw(rng: Generator, size: int) -> Split:
        x = rng.standard_normal((size, dim))
        x = x * (length / row_norms(x))
        z = function(x)
        if target == "linear":
            return Split(x, z)
        return Split(x, signed_labels(z[:, 0] >= 0) if target == "sign" else rng.standard_normal((size, 1)))

    first, *rest = _splits(draw, children, train, validation, test)
    if target != "linear":
        return Dataset(first, *rest, task="classification" if target == "sign" else "regression")
    return Dataset(first, *rest, task="regression", agop=(u * u.T) * (dim / length**2), function=function)


def single_example(
    rng: Generator, *, dim: int, norm: Literal["sqrt_dim"] | float = "sqrt_dim", target: float = 1.0
) -> Dataset:
    """One input in a random direction with the given norm, and its target (the setting of Theorem 1 of arXiv
    2205.11787).

    Raises:
        ValueError: a norm that is neither `sqrt_dim` nor positive.
    """
    length = math.sqrt(dim) if norm == "sqrt_dim" else norm
    if isinstance(length, str) or not length > 0:
        raise ValueError(f"norm must be sqrt_dim or a positive number; got {norm!r}")
    x = rng.standard_normal((1, dim))
    return Dataset(Split(x * (length / row_norms(x)), np.array([[float(target)]])), None, None, "regression")


def two_clusters(
    rng: Generator,
    *,
    train: int,
    means: Sequence[float] = (2.6, -2.0),
    weights: Sequence[float] = (0.5, 0.5),
    labels: Sequence[float] = (1.0, -1.0),
    validation: int = 0,
    test: int = 0,
) -> Dataset:
    """One-dimensional inputs around two means with unit variance, one label per cluster.

    The set-up of Figure 3 of arXiv 2205.11787 has means 2 and -2; unequal ones separate the two kernel eigenvalues.
    Each split holds `round(weight * size)` examples of the first cluster, the rest of the second, first cluster first.

    Raises:
        ValueError: not two means, weights or labels, weights that are not positive with sum 1, or impossible sizes.
    """
    if not len(means) == len(weights) == len(labels) == 2:
        raise ValueError("two_clusters needs two means, two weights and two labels")
    if min(weights) <= 0 or abs(sum(weights) - 1) > 1e-9:
        raise ValueError(f"weights must be positive with sum 1; got {list(weights)}")

    def draw(rng: Generator, size: int) -> Split:
        cluster = (np.arange(size) >= round(weights[0] * size)).astype(int)
        x = np.asarray(means, float)[cluster] + rng.standard_normal(size)
        return Split(x[:, None], np.asarray(labels, float)[cluster][:, None])

    first, *rest = _splits(draw, rng.spawn(3), train, validation, test)
    signed = sorted(labels) == [-1.0, 1.0]
    return Dataset(first, *rest, task="classification" if signed else "regression")
