"""Tiny files in the formats of public image sets, and a server that offers them."""

import contextlib
import functools
import gzip
import hashlib
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from scipy.io import savemat

from tangentbench.tasks.datasets.files import PublicFile

SIDES = {"mnist": (1, 28), "fashion_mnist": (1, 28), "cifar10": (3, 32), "svhn": (3, 32)}
COUNTS = {"train": 200, "test": 80}
DISCARD = 9  # a port at which nothing listens
NOWHERE = f"http://localhost:{DISCARD}/"


def images(name: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Random images [n channels side side] and labels; drawn anew they are the same."""
    rng = np.random.Generator(np.random.PCG64([len(name), len(part)]))
    channels, side = SIDES[name]
    pixels = rng.integers(0, 256, (COUNTS[part], channels, side, side), np.uint8)
    return pixels, rng.integers(0, 10, COUNTS[part], np.uint8)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    head = bytes([0, 0, kind, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(head + array.tobytes(), mtime=0)


def cifar_archive(parts: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in parts.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def records(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    return np.concatenate([labels[:, None], pixels.reshape(len(pixels), -1)], axis=1).tobytes()


def matlab(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    savemat(stream, arrays, do_compression=True)
    return stream.getvalue()


@functools.cache  # a MATLAB file tells the second in which it was written
def contents(name: str) -> dict[str, bytes]:
    """Every file of a data set, with a few images in it."""
    (x, y), (x_test, y_test) = images(name, "train"), images(name, "test")
    if name == "cifar10":
        batches = np.array_split(np.arange(len(x)), 5)
        parts = {f"data_batch_{k}.bin": records(x[rows], y[rows]) for k, rows in enumerate(batches, 1)}
        return {"cifar-10-binary.tar.gz": cifar_archive(parts | {"test_batch.bin": records(x_test, y_test)})}
    if name == "svhn":
        made = {}
        for part, pixels, labels in (("train", x, y), ("test", x_test, y_test)):
            ten = np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)
            made[f"{part}_32x32.mat"] = matlab(X=pixels.transpose(2, 3, 1, 0), y=ten)
        return made
    return {
        "train-images-idx3-ubyte.gz": idx(x[:, 0]),
        "train-labels-idx1-ubyte.gz": idx(y),
        "t10k-images-idx3-ubyte.gz": idx(x_test[:, 0]),
        "t10k-labels-idx1-ubyte.gz": idx(y_test),
    }


def pinned(offered: dict[str, bytes], *folders: str) -> tuple[PublicFile, ...]:
    """The files with their true hashes, at these addresses."""
    return tuple(PublicFile(name, hashlib.sha256(data).hexdigest(), folders) for name, data in offered.items())


def keep(place: Path, offered: dict[str, bytes]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for name, content in offered.items():
        (place / name).write_bytes(content)


@contextlib.contextmanager
def server(pages: dict[str, bytes], cut: int | None = None):
    """Address of a server of these pages, and the list of what it was asked for; ``cut`` ends every answer early."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            content = pages.get(self.path.lstrip("/"))
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:cut])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("localhost", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://localhost:{running.server_port}/", asked
        finally:
            running.shutdown()
            thread.join()
