"""MNIST, Fashion-MNIST, CIFAR-10 and SVHN, from tiny files in their formats."""

import gzip
import io
import pickle

import numpy as np
import pytest

from tangentbench.tasks import dataset_options, datasets
from tangentbench.tasks.datasets import Dataset, DatasetUnavailable, images
from tangentbench.tasks.datasets.formats import cifar10_images, idx_images, read_idx, svhn_images

from . import public_files as public

NAMES = ("mnist", "fashion_mnist", "cifar10", "svhn")
every = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """Tiny files of every data set in the place of the published ones."""
    monkeypatch.setenv("TANGENTBENCH_DATA", str(tmp_path))
    made = {name: public.contents(name) for name in NAMES}
    for name, content in made.items():
        public.keep(tmp_path / name, content)
    monkeypatch.setattr(images, "FILES", {name: public.pinned(content) for name, content in made.items()})
    images._load.cache_clear()
    yield tmp_path
    images._load.cache_clear()


def make(name: str, seed: int = 0, **options) -> Dataset:
    rng = np.random.Generator(np.random.PCG64(seed))
    return getattr(datasets, name)(rng, **{"classes": [3, 8], "train": 12, "validation": 6, "test": 8} | options)


def originals(name: str, part: str, standardised: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> list[int]:
    """Which of the images written to the files each row is."""
    pixels, _ = public.images(name, part)
    rows = pixels.reshape(len(pixels), -1).astype(float)
    found = standardised * scale + mean
    index = [int(np.argmin(np.abs(rows - row).max(axis=1))) for row in found]
    np.testing.assert_allclose(found, rows[index], atol=1e-9 * 255)
    return index


@every
def test_images_and_labels_are_those_of_the_files(name):
    """Undoes the normalisation and finds each image, channel by channel and row by row, with its own label."""
    data = make(name, normalize="standard")
    pixels, labels = public.images(name, "train")
    keep = np.flatnonzero(np.isin(labels, (3, 8)))
    order = np.random.Generator(np.random.PCG64(0)).permutation(keep)
    train = pixels[order[6:18]].reshape(12, -1).astype(float)
    scale = np.where(train.std(0) > 0, train.std(0), 1.0)
    for part, split in (("train", data.train), ("train", data.validation), ("test", data.test)):
        index = originals(name, part, split.x, train.mean(0), scale)
        label = public.images(name, part)[1][index]
        assert set(label) == {3, 8} and len(set(index)) == len(index)
        np.testing.assert_array_equal(split.y[:, 0], np.where(label == 3, 1.0, -1.0))
        if split is data.train:
            assert index == list(order[6:18])
    assert data.task == "classification" and data.in_size == np.prod(public.SIDES[name]) * public.SIDES[name][1]


@every
def test_lengths(name):
    for how, length in (("unit", 1.0), ("sqrt_dim", None)):
        data = make(name, normalize=how)
        for split in (data.train, data.validation, data.test):
            np.testing.assert_allclose(np.linalg.norm(split.x, axis=1), length or np.sqrt(data.in_size), rtol=1e-12)
    with pytest.raises(ValueError, match="normalize must be"):
        make(name, normalize="whiten")


@every
def test_one_test_set_and_nested_training_sets(name):
    """The order of test images along a pixel shows that they are the same ones, whatever they are scaled by."""
    first, second = make(name, 0, normalize="standard"), make(name, 1, normalize="standard")
    np.testing.assert_array_equal(first.test.y, second.test.y)
    ranks = [np.argsort(data.test.x, axis=0, kind="stable") for data in (first, second)]
    np.testing.assert_array_equal(*ranks)
    assert not np.array_equal(first.train.y, second.train.y) or not np.allclose(first.train.x, second.train.x)
    np.testing.assert_array_equal(make(name, train=8).train.y, first.train.y[:8])


def test_three_classes_are_one_hot_in_the_order_given():
    data = make("mnist", classes=[5, 0, 7], train=20, normalize="standard")
    assert data.train.y.shape == (20, 3) and set(data.train.y.sum(axis=1)) == {1.0}
    again = make("mnist", classes=[0, 5, 7], train=20, normalize="standard")
    np.testing.assert_array_equal(data.train.y[:, [1, 0, 2]], again.train.y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": [3, 3]}, "two or more different"),
        ({"classes": [3]}, "two or more different"),
        ({"classes": [3, 10]}, "numbers from 0 to 9"),
        ({"train": 1}, "train >= 2"),
        ({"train": 190}, r"train\+validation images of \[3, 8\]; 196 are asked for"),
        ({"test": 70}, r"test images of \[3, 8\]; 70 are asked for"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        make("mnist", **options)


def test_numbers_of_images():
    """The published sizes of the training and test sets."""
    sizes = {"Mnist": (60000, 10000), "FashionMnist": (60000, 10000), "Cifar10": (50000, 10000), "Svhn": (73257, 26032)}
    for name, expected in sizes.items():
        schema = getattr(dataset_options, f"{name}Options")
        assert (sum(schema.TRAIN), sum(schema.TEST)) == expected and len(schema.TRAIN) == len(schema.TEST) == 10


def test_missing_files_are_said(kept, monkeypatch):
    (kept / "svhn" / "test_32x32.mat").unlink()
    nowhere = public.pinned(public.contents("svhn"), public.NOWHERE)
    monkeypatch.setattr(images, "FILES", {"svhn": nowhere})
    monkeypatch.setenv("NO_PROXY", "localhost")
    with pytest.raises(DatasetUnavailable, match=r"^files of svhn are missing .* \(put test_32x32.mat \(sha256 "):
        make("svhn")


# -- damaged files ----------------------------------------------------------------------------------------------------

IMAGE = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def lines(call) -> str:
    with pytest.raises(ValueError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_idx_is_read_as_it_is_written(tmp_path):
    (tmp_path / "x.gz").write_bytes(public.idx(IMAGE))
    np.testing.assert_array_equal(read_idx(tmp_path / "x.gz"), IMAGE)


def damaged_idx() -> dict[str, tuple[bytes, str]]:
    good = public.idx(IMAGE)
    plain = gzip.decompress(good)
    return {
        "empty": (b"", "x.gz is no IDX file"),
        "page": (b"<html>not found</html>", "x.gz is damaged: Not a gzipped file"),
        "cut": (good[:-12], "x.gz is damaged: Compressed file ended before"),
        "wrong length": (good[:-4] + b"\0\0\0\0", "x.gz is damaged: Incorrect length of data produced"),
        "flipped": (good[:20] + b"\xff\xff" + good[22:], "x.gz is damaged: "),
        "floats": (public.idx(IMAGE, kind=13), "x.gz is no IDX file of unsigned bytes"),
        "head only": (gzip.compress(b"\0\0\x08\x03\0\0"), "x.gz is no IDX file of unsigned bytes"),
        "short": (gzip.compress(plain[:-1]), "it has 23 values instead of 24"),
        "long": (gzip.compress(plain + b"1"), "it has 25 values instead of 24"),
    }


@pytest.mark.parametrize("how", damaged_idx())
def test_damaged_idx(tmp_path, how):
    content, message = damaged_idx()[how]
    (tmp_path / "x.gz").write_bytes(content)
    assert message in lines(lambda: read_idx(tmp_path / "x.gz"))


def test_idx_pairs_belong_together(tmp_path):
    for name, array in (
        ("x.gz", IMAGE),
        ("y.gz", np.array([1, 2, 3], np.uint8)),
        ("z.gz", np.array([1, 12], np.uint8)),
    ):
        (tmp_path / name).write_bytes(public.idx(array))
    x, y, z = (tmp_path / name for name in ("x.gz", "y.gz", "z.gz"))
    assert "x.gz and y.gz are not images and their labels" in lines(lambda: idx_images(x, y))
    assert "y.gz and x.gz are not images" in lines(lambda: idx_images(y, x))
    assert "z.gz is damaged: it has the label 12" in lines(lambda: idx_images(x, z))


def damaged_cifar() -> dict[str, tuple[bytes, str]]:
    good = public.contents("cifar10")["cifar-10-binary.tar.gz"]
    part = {f"data_batch_{k}.bin": bytes(3073) for k in range(1, 6)}
    return {
        "cut": (good[: len(good) // 2], "is damaged: "),
        "page": (b"<html>moved</html>", "is damaged: "),
        "empty": (b"", "is damaged: "),
        "member": (public.cifar_archive(part), "is not CIFAR-10's binary version: "),
        "record": (public.cifar_archive(part | {"test_batch.bin": bytes(3072)}), "3072 bytes are no whole number"),
        "label": (public.cifar_archive(part | {"test_batch.bin": b"\x0a" + bytes(3072)}), "it has the label 10"),
        "python version": (
            public.cifar_archive({"data_batch_1": pickle.dumps({})}),
            "is not CIFAR-10's binary version",
        ),
    }


@pytest.mark.parametrize("how", damaged_cifar())
def test_damaged_cifar(tmp_path, how):
    content, message = damaged_cifar()[how]
    (tmp_path / "c.tar.gz").write_bytes(content)
    assert message in lines(lambda: cifar10_images(tmp_path / "c.tar.gz"))


def damaged_svhn() -> dict[str, tuple[bytes, str]]:
    good = public.contents("svhn")["train_32x32.mat"]
    x, y = np.zeros((32, 32, 3, 4), np.uint8), np.ones((4, 1), np.uint8)
    return {
        "cut": (good[: len(good) // 2], "is damaged: "),
        "page": (b"<html>moved</html>" * 20, "is damaged: "),
        "empty": (b"", "is damaged: "),
        "flipped": (good[:300] + b"\xff" * 40 + good[340:], "is damaged: "),
        "no labels": (public.matlab(X=x), "is not SVHN's cropped digits"),
        "few labels": (public.matlab(X=x, y=y[:3]), r"is not SVHN's cropped digits"),
        "floats": (public.matlab(X=x.astype(float), y=y), "is not SVHN's cropped digits: X float64"),
        "label": (public.matlab(X=x, y=y + 10), "it has the label 11"),
    }


@pytest.mark.parametrize("how", damaged_svhn())
def test_damaged_svhn(tmp_path, how):
    content, message = damaged_svhn()[how]
    (tmp_path / "s.mat").write_bytes(content)
    assert message in lines(lambda: svhn_images(tmp_path / "s.mat"))


def test_nothing_is_unpickled(tmp_path):
    """A pickle that would leave a trace if it were loaded."""
    trace = tmp_path / "trace"

    class Trap:
        def __reduce__(self):
            return (open, (str(trace), "w"))

    stream = io.BytesIO(pickle.dumps(Trap()))
    for name, read in (("a.gz", read_idx), ("b.tar.gz", cifar10_images), ("c.mat", svhn_images)):
        (tmp_path / name).write_bytes(gzip.compress(stream.getvalue()) if name.endswith("gz") else stream.getvalue())
        lines(lambda read=read, name=name: read(tmp_path / name))
    assert not trace.exists()
