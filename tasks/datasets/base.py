"""What a data set is: splits of inputs and targets, and the true function's AGOP where it is known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float


class DatasetUnavailable(Exception):
    """Files or packages that a data set needs are missing; a run that asks for it is skipped, not failed.

    Attributes:
        reason: what is missing.
        how_to_get: what to type to get it.
    """

    def __init__(self, reason: str, how_to_get: str):
        super().__init__(f"{reason} ({how_to_get})")
        self.reason = reason
        self.how_to_get = how_to_get


@dataclass(frozen=True)
class Split:
    """Inputs and targets of one part of a data set, float64.

    Raises:
        ValueError: arrays that are not float64 matrices with as many rows as each other.
    """

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, "n c"]

    def __post_init__(self) -> None:
        for name, array in (("x", self.x), ("y", self.y)):
            if array.ndim != 2 or array.dtype.kind != "f" or array.dtype.itemsize != 8:
                raise ValueError(f"{name} must be a float64 matrix; got {array.dtype} with shape {array.shape}")
        if len(self.x) != len(self.y):
            raise ValueError(f"x has {len(self.x)} rows and y has {len(self.y)}")


@dataclass(frozen=True)
class Dataset:
    """A training split and, where asked for, a validation and a test split; no example is in two of them.

    Attributes:
        train, validation, test: the splits; `None` for a size of 0.
        task: `regression`, or `classification` (targets are -1 and 1 in one column, or one-hot rows).
        agop: average gradient outer product [d d] of the true function on the training inputs, (1/n) sum_i of
            grad f*(x_i) grad f*(x_i)^T (arXiv 2306.04815); `None` where no true function is known.
        pool: every example outside the test split, on which reference models are trained in place of an unknown true
            function (`runners.references`); `None` unless a reference is asked for.
        function: the true function f*, from inputs [n d] to targets without noise [n c]; wherever there is an `agop`,
            which `tangentbench check` compares with its derivatives.
    """

    train: Split
    validation: Split | None
    test: Split | None
    task: Literal["regression", "classification"]
    agop: Float[np.ndarray, "d d"] | None = None
    pool: Split | None = None
    function: Callable[[Float[np.ndarray, "n d"]], Float[np.ndarray, "n c"]] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name in ("validation", "test", "pool"):
            split = getattr(self, name)
            if split is not None and (split.x.shape[1], split.y.shape[1]) != (self.in_size, self.out_size):
                raise ValueError(f"the {name} split has other columns than the training split")

    @property
    def in_size(self) -> int:
        """Number of input features d."""
        return self.train.x.shape[1]

    @property
    def out_size(self) -> int:
        """Number of target columns c."""
        return self.train.y.shape[1]

    def content_hash(self) -> str:
        """SHA-256 (hex) of every array: name, shape and values as little-endian float64, in a fixed order."""
        digest = hashlib.sha256(self.task.encode())
        arrays = {"agop": self.agop}
        for name in ("train", "validation", "test", *(() if self.pool is None else ("pool",))):
            split = getattr(self, name)
            arrays |= {f"{name}.x": None if split is None else split.x, f"{name}.y": None if split is None else split.y}
        for name, array in arrays.items():
            shape = None if array is None else array.shape
            digest.update(f"|{name}:{shape}|".encode())
            if array is not None:
                digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return digest.hexdigest()


def row_norms(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 1"]:
    """Euclidean norm of each row, as a column."""
    return np.sqrt(np.sum(x * x, axis=1, keepdims=True))


def signed_labels(positive: np.ndarray) -> Float[np.ndarray, "n 1"]:
    """1.0 where true, -1.0 where false, as a column."""
    return np.where(positive, 1.0, -1.0)[:, None]
