"""Small real data sets that scikit-learn installs with itself: nothing is downloaded.

The test split is the same for every seed: it is the first block of one permutation that never changes. The generator
shuffles the other examples, which give the validation and then the training split. So no seed trains or tunes on what
another one is judged on, and a larger training set contains the smaller one. All means and scales, those that test
inputs and targets are normalised with included, come from the training split alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.random import PCG64, Generator

from .base import Dataset, DatasetUnavailable, Split, row_norms, signed_labels

Normalize = Literal["sqrt_dim", "unit", "standard"]
Matrix = Float[np.ndarray, "n d"]

TEST_ORDER = 20231124  # seed of the permutation whose first block is the test split of every run


def _load(name: str, **options: object) -> tuple[np.ndarray, np.ndarray]:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DatasetUnavailable("scikit-learn is not installed", "pip install scikit-learn") from error
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True, **options)
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


def normalized(x: Matrix, train: Matrix, how: Normalize) -> Matrix:
    """Inputs without the training split's mean, scaled: each to norm sqrt(d) or 1, or each feature by its spread.

    Raises:
        ValueError: another word for `how`.
    """
    if how not in ("sqrt_dim", "unit", "standard"):
        raise ValueError(f"normalize must be sqrt_dim, unit or standard; got {how!r}")
    centred = x - np.mean(train, axis=0)
    if how == "standard":
        scale = np.std(train, axis=0)
        return centred / np.where(scale > 0, scale, 1.0)  # a pixel that is constant in the training split has no scale
    length = math.sqrt(x.shape[1]) if how == "sqrt_dim" else 1.0
    norms = row_norms(centred)
    return centred * (length / np.where(norms > 0, norms, 1.0))


def _partition(
    rng: Generator, what: str, unit: str, x: Matrix, sizes: tuple[int, int, int], normalize: Normalize, pool: bool
) -> tuple[list[np.ndarray], list[Matrix | None]]:
    """Row indices of train, validation and test (of these `sizes`) and of the pool, and their normalised inputs.

    The test rows do not depend on `rng`. The pool is empty unless asked for.
    """
    train, validation, test = sizes
    asked = train + validation + test
    if train < 2 or validation < 0 or test < 0:
        raise ValueError(f"sizes must be train >= 2, validation >= 0, test >= 0; got {train}, {validation}, {test}")
    if asked > len(x):
        raise ValueError(f"{what} has {len(x)} {unit}; train+validation+test asks for {asked}")
    fixed = Generator(PCG64(TEST_ORDER)).permutation(len(x))
    rest = rng.permutation(fixed[test:])
    rows = [rest[validation : validation + train], rest[:validation], fixed[:test], rest if pool else rest[:0]]
    return rows, [normalized(x[index], x[rows[0]], normalize) if len(index) else None for index in rows]


def _dataset(
    inputs: list[Matrix | None], targets: list[np.ndarray], task: Literal["regression", "classification"]
) -> Dataset:
    train, validation, test, pool = (None if x is None else Split(x, y) for x, y in zip(inputs, targets, strict=True))
    assert train is not None
    return Dataset(train, validation, test, task, pool=pool)


def _standard_targets(y: np.ndarray, rows: list[np.ndarray]) -> list[np.ndarray]:
    mean, scale = np.mean(y[rows[0]]), np.std(y[rows[0]])
    return [((y[index] - mean) / (scale if scale > 0 else 1.0))[:, None] for index in rows]


def digits(
    rng: Generator,
    *,
    task: Literal["regression", "two_class"] = "two_class",
    classes: Sequence[int] = (3, 8),
    train: int,
    validation: int = 0,
    test: int = 0,
    normalize: Normalize = "sqrt_dim",
    reference: Mapping[str, Any] | None = None,
) -> Dataset:
    """Handwritten digits, 8 x 8 pixels (UCI; `sklearn.datasets.load_digits`, 1797 images).

    `two_class` keeps the two digits `classes` and labels them 1 and -1; `regression` keeps all ten and predicts the
    digit's value, standardised. Pixels are centred; then `sqrt_dim` scales each image to norm sqrt(64) = 8, `unit` to
    norm 1, and `standard` each pixel to variance 1. The test images are the same for every `rng`. With a `reference`
    (the recipe of a reference model, which the runner trains) all other images of the classes are the `pool`.

    Raises:
        ValueError: more images than there are, or options outside the above.
        DatasetUnavailable: scikit-learn is not installed.
    """
    x, y = _load("digits")
    sizes, pool = (train, validation, test), reference is not None
    if task == "regression":
        rows, inputs = _partition(rng, "digits", "images", x, sizes, normalize, pool)
        return _dataset(inputs, _standard_targets(y, rows), "regression")
    if task != "two_class":
        raise ValueError(f"task must be regression or two_class; got {task!r}")
    if len(classes) != 2 or classes[0] == classes[1] or not all(0 <= digit <= 9 for digit in classes):
        raise ValueError(f"classes must be two different digits; got {list(classes)}")
    keep = (y == classes[0]) | (y == classes[1])
    x, positive = x[keep], y[keep] == classes[0]
    name = f"digits {classes[0]} vs {classes[1]}"
    rows, inputs = _partition(rng, name, "images", x, sizes, normalize, pool)
    return _dataset(inputs, [signed_labels(positive[index]) for index in rows], "classification")


def diabetes(
    rng: Generator,
    *,
    task: Literal["regression", "two_class"] = "regression",
    train: int,
    validation: int = 0,
    test: int = 0,
    normalize: Normalize = "standard",
    reference: Mapping[str, Any] | None = None,
) -> Dataset:
    """Disease progression of 442 patients from 10 measurements (Efron et al. 2004; `sklearn.datasets.load_diabetes`).

    `regression` predicts the progression, standardised; `two_class` whether it is above the training median (1) or not
    (-1). Inputs are normalised as those of `digits`. The test patients are the same for every `rng`; all others are the
    `pool` if there is a `reference`.

    Raises:
        ValueError: more patients than there are, or options outside the above.
        DatasetUnavailable: scikit-learn is not installed.
    """
    x, y = _load("diabetes", scaled=False)
    sizes, pool = (train, validation, test), reference is not None
    if task not in ("regression", "two_class"):
        raise ValueError(f"task must be regression or two_class; got {task!r}")
    rows, inputs = _partition(rng, "diabetes", "patients", x, sizes, normalize, pool)
    if task == "regression":
        return _dataset(inputs, _standard_targets(y, rows), "regression")
    median = np.median(y[rows[0]])
    return _dataset(inputs, [signed_labels(y[index] > median) for index in rows], "classification")
