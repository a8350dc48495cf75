"""Public image sets: MNIST, Fashion-MNIST, CIFAR-10 and SVHN, downloaded once (see `files`).

Training and validation images come from the publisher's training set, in an order that the generator draws; test
images from the publisher's test set, the same for every seed. A larger training set contains the smaller one. Means and
scales come from the training split alone. Images are flat rows, as `formats` lays them out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import PCG64, Generator

from .base import Dataset, Split, signed_labels
from .bundled import TEST_ORDER, Normalize, normalized
from .files import PublicFile, fetch
from .formats import Images, cifar10_images, idx_images, svhn_images


def _files(folders: tuple[str, ...], digests: Mapping[str, str]) -> tuple[PublicFile, ...]:
    return tuple(PublicFile(name, sha256, folders) for name, sha256 in digests.items())


FILES = {
    "mnist": _files(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "http://yann.lecun.com/exdb/mnist/",  # the publisher's own, last because it often refuses
        ),
        {
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "fashion_mnist": _files(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        {
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
    "cifar10": _files(
        ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"),
        {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
    ),
    "svhn": _files(
        ("http://ufldl.stanford.edu/housenumbers/",),
        {
            "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        },
    ),
}


@functools.lru_cache(maxsize=1)  # every seed draws from the same images
def _load(name: str) -> tuple[Images, Images]:
    """The publisher's training and test images."""
    paths = fetch(name, FILES[name])
    if name == "cifar10":
        return cifar10_images(paths[0])
    if name == "svhn":
        return svhn_images(paths[0]), svhn_images(paths[1])
    return idx_images(paths[0], paths[1]), idx_images(paths[2], paths[3])


def _dataset(
    rng: Generator,
    name: str,
    classes: Sequence[int],
    sizes: tuple[int, int, int],
    normalize: Normalize,
    reference: Mapping[str, Any] | None,
) -> Dataset:
    train, validation, test = sizes
    if len(classes) < 2 or len(set(classes)) < len(classes) or not all(0 <= label <= 9 for label in classes):
        raise ValueError(f"classes must be two or more different numbers from 0 to 9; got {list(classes)}")
    if train < 2 or validation < 0 or test < 0:
        raise ValueError(f"sizes must be train >= 2, validation >= 0, test >= 0; got {train}, {validation}, {test}")
    drawn, judged = (np.flatnonzero(np.isin(part.labels, classes)) for part in _load(name))
    for what, asked, rows in (("train+validation", train + validation, drawn), ("test", test, judged)):
        if asked > len(rows):
            raise ValueError(f"{name} has {len(rows)} {what} images of {list(classes)}; {asked} are asked for")
    order = rng.permutation(drawn)
    fixed = Generator(PCG64(TEST_ORDER)).permutation(judged)
    source, other = _load(name)
    parts = [
        (source, order[validation : validation + train]),
        (source, order[:validation]),
        (other, fixed[:test]),
        (source, order[:0] if reference is None else order),
    ]
    pixels = [images.pixels[rows].astype(np.float64) for images, rows in parts]
    splits = [
        Split(normalized(x, pixels[0], normalize), _targets(images.labels[rows], classes)) if len(rows) else None
        for x, (images, rows) in zip(pixels, parts, strict=True)
    ]
    assert splits[0] is not None
    return Dataset(splits[0], splits[1], splits[2], "classification", pool=splits[3])


def _targets(labels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """1 and -1 in one column for two classes, one-hot rows in the order of `classes` for more."""
    if len(classes) == 2:
        return signed_labels(labels == classes[0])
    return (labels[:, None] == np.asarray(classes)).astype(np.float64)


def mnist(
    rng: Generator,
    *,
    classes: Sequence[int],
    train: int,
    validation: int = 0,
    test: int = 0,
    normalize: Normalize = "sqrt_dim",
    reference: Mapping[str, Any] | None = None,
) -> Dataset:
    """Some classes of MNIST, handwritten digits of 28 x 28 pixels (LeCun, Cortes & Burges).

    Two classes are labelled 1 and -1, more are one-hot. Pixels are centred; then `sqrt_dim` scales each image to norm
    28, `unit` to norm 1, and `standard` each pixel to variance 1. The test images are the same for every `rng`.
    With a `reference` (the recipe of a reference model, which the runner trains) all training images of the classes are
    the `pool`.

    Raises:
        ValueError: more images than there are, or options outside the above.
        DatasetUnavailable: its files are neither there nor can be downloaded.
    """
    return _dataset(rng, "mnist", classes, (train, validation, test), normalize, reference)


def fashion_mnist(
    rng: Generator,
    *,
    classes: Sequence[int],
    train: int,
    validation: int = 0,
    test: int = 0,
    normalize: Normalize = "sqrt_dim",
    reference: Mapping[str, Any] | None = None,
) -> Dataset:
    """Some classes of Fashion-MNIST, articles of 28 x 28 pixels (Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747).

    Everything else is as in `mnist`.
    """
    return _dataset(rng, "fashion_mnist", classes, (train, validation, test), normalize, reference)


def cifar10(
    rng: Generator,
    *,
    classes: Sequence[int],
    train: int,
    validation: int = 0,
    test: int = 0,
    normalize: Normalize = "sqrt_dim",
    reference: Mapping[str, Any] | None = None,
) -> Dataset:
    """Some classes of CIFAR-10, colour photographs of 32 x 32 pixels (Krizhevsky 2009); 0 is airplane, 2 is bird.

    Everything else is as in `mnist`; `sqrt_dim` scales to norm sqrt(3072).
    """
    return _dataset(rng, "cifar10", classes, (train, validation, test), normalize, reference)


def svhn(
    rng: Generator,
    *,
    classes: Sequence[int],
    train: int,
    validation: int = 0,
    test: int = 0,
    normalize: Normalize = "sqrt_dim",
    reference: Mapping[str, Any] | None = None,
) -> Dataset:
    """Some classes of SVHN, cropped house numbers of 32 x 32 pixels in colour (Netzer et al. 2011).

    Everything else is as in `mnist`; `sqrt_dim` scales to norm sqrt(3072).
    """
    return _dataset(rng, "svhn", classes, (train, validation, test), normalize, reference)
