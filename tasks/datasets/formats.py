"""The file formats of public image sets, read into bytes; whatever is not whole is refused in one line.

Images come out as rows of pixels, channel by channel and row by row within a channel, as `models.Conv` reads them.
Nothing here unpickles: CIFAR-10 is read from its binary version.
"""

from __future__ import annotations

import gzip
import math
import tarfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

SIDE, CHANNELS = 32, 3  # of CIFAR-10 and SVHN
PIXELS = CHANNELS * SIDE * SIDE
UNREADABLE = (OSError, EOFError, zlib.error)


class Images(NamedTuple):
    """Pixels 0..255, one row per image, and the classes 0..9."""

    pixels: UInt8[np.ndarray, "n d"]
    labels: Int[np.ndarray, " n"]


def read_idx(path: Path) -> UInt8[np.ndarray, "n *_"]:
    """Array of a gzipped IDX file of unsigned bytes (LeCun, Cortes & Burges, the MNIST page).

    Two bytes 0, the type 8, the number of dimensions, each dimension as four bytes, most significant first, the values.

    Raises:
        ValueError: not such a file, or not all of it.
    """
    try:
        with gzip.open(path, "rb") as file:
            content = file.read()
    except UNREADABLE as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
    dims = content[3] if len(content) > 3 else 0
    start = 4 + 4 * dims
    if content[:3] != b"\0\0\x08" or not 1 <= dims <= 3 or len(content) < start:
        raise ValueError(f"{path.name} is no IDX file of unsigned bytes")
    shape = tuple(int.from_bytes(content[4 + 4 * k : 8 + 4 * k], "big") for k in range(dims))
    if len(content) - start != math.prod(shape):
        raise ValueError(f"{path.name} is damaged: it has {len(content) - start} values instead of {math.prod(shape)}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def idx_images(pixels: Path, labels: Path) -> Images:
    """Images and labels of a pair of IDX files, one channel.

    Raises:
        ValueError: as `read_idx`, or the two do not belong together.
    """
    x, y = read_idx(pixels), read_idx(labels)
    if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
        raise ValueError(f"{pixels.name} and {labels.name} are not images and their labels: {x.shape} and {y.shape}")
    return Images(x.reshape(len(x), -1), _labels(labels, y))


def cifar10_images(path: Path) -> tuple[Images, Images]:
    """Training and test images of CIFAR-10's binary version: records of one byte for the label and 3072 for the pixels.

    Raises:
        ValueError: not such an archive, or not all of it.
    """
    parts = []
    for names in ([f"data_batch_{k}.bin" for k in range(1, 6)], ["test_batch.bin"]):
        content = _members(path, names)
        if not content or len(content) % (1 + PIXELS):
            raise ValueError(f"{path.name} is damaged: {len(content)} bytes are no whole number of images")
        records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
        parts.append(Images(records[:, 1:], _labels(path, records[:, 0])))
    return parts[0], parts[1]


def _members(path: Path, names: list[str]) -> bytes:
    """Contents of some files of CIFAR-10's archive, joined."""
    content = b""
    try:
        with tarfile.open(path, "r:gz") as archive:
            for name in names:
                member = archive.extractfile(f"cifar-10-batches-bin/{name}")
                if member is None:
                    raise KeyError(f"{name} is no file")
                content += member.read()
    except (*UNREADABLE, tarfile.TarError) as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
    except KeyError as error:
        raise ValueError(f"{path.name} is not CIFAR-10's binary version: {error.args[0]}") from error
    return content


def svhn_images(path: Path) -> Images:
    """Images of SVHN's cropped digits, a MATLAB file with X [row column channel image] and y, where 10 stands for 0.

    Raises:
        ValueError: not such a file, or not all of it.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=["X", "y"])
    except Exception as error:  # scipy raises half a dozen kinds for files that end early
        raise ValueError(f"{path.name} is damaged: {' '.join(str(error).split())}") from error
    x, y = (np.asarray(content.get(name, ())) for name in ("X", "y"))
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[:3] != (SIDE, SIDE, CHANNELS) or y.shape != (x.shape[3], 1):
        raise ValueError(f"{path.name} is not SVHN's cropped digits: X {x.dtype}{list(x.shape)} and y {list(y.shape)}")
    return Images(x.transpose(3, 2, 0, 1).reshape(-1, PIXELS), _labels(path, np.where(y[:, 0] == 10, 0, y[:, 0])))


def _labels(path: Path, labels: np.ndarray) -> Int[np.ndarray, " n"]:
    if np.any(labels > 9):
        raise ValueError(f"{path.name} is damaged: it has the label {labels.max()}, and the classes are 0 to 9")
    return labels.astype(np.int64)
