"""Synthetic data sets: true functions, their AGOP, splits that share nothing, and hashes."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.polynomial import hermite_e

from tangentbench.tasks import datasets
from tangentbench.tasks.datasets import Dataset, Split, synthetic

RECIPES = {
    "monomial": {"dim": 6, "factors": [0, 1], "train": 12, "validation": 5, "test": 9},
    "low_rank_polynomial": {"dim": 6, "rank": 2, "degree": 3, "train": 12, "validation": 5, "test": 9},
    "gaussian_mixture": {"dim": 6, "classes": 3, "train": 12, "validation": 5, "test": 9},
    "sphere": {"dim": 6, "train": 12, "validation": 5, "test": 9},
    "two_clusters": {"train": 12, "validation": 5, "test": 9},
}
recipes = pytest.mark.parametrize("name", RECIPES)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def make(name: str, seed: int = 0, **changes) -> Dataset:
    return getattr(datasets, name)(rng(seed), **{**RECIPES[name], **changes})


def splits(data: Dataset) -> list[Split]:
    return [split for split in (data.train, data.validation, data.test) if split is not None]


def shared_rows(data) -> int:
    rows = [row.tobytes() for split in (data.train, data.validation, data.test) for row in split.x]
    return len(rows) - len(set(rows))


@recipes
def test_shapes_and_splits(name):
    data = make(name)
    assert [len(split.x) for split in splits(data)] == [12, 5, 9]
    assert all(split.x.shape[1] == data.in_size and split.y.shape[1] == data.out_size for split in splits(data))
    assert all(array.dtype == np.float64 for split in splits(data) for array in (split.x, split.y))
    assert shared_rows(data) == 0
    none = make(name, validation=0, test=0)
    assert none.validation is None and none.test is None
    with pytest.raises(ValueError, match="train >= 1"):
        make(name, train=0)


def test_a_shared_example_is_noticed():
    data = make("monomial")
    assert data.test is not None
    overlap = np.concatenate([data.test.x, data.train.x[:1]])
    assert (
        shared_rows(SimpleNamespace(train=data.train, validation=data.validation, test=SimpleNamespace(x=overlap))) == 1
    )


@recipes
def test_deterministic_and_nested(name):
    data = make(name)
    assert make(name).content_hash() == data.content_hash() != make(name, seed=1).content_hash()
    more_tests = make(name, test=50)
    np.testing.assert_array_equal(more_tests.train.x, data.train.x)
    np.testing.assert_array_equal(more_tests.train.y, data.train.y)
    if name in ("monomial", "low_rank_polynomial", "sphere"):  # classes are balanced anew for every size
        larger = make(name, train=20)
        np.testing.assert_array_equal(larger.train.x[:12], data.train.x)
        np.testing.assert_array_equal(larger.train.y[:12], data.train.y)
        assert larger.test is not None and data.test is not None
        np.testing.assert_array_equal(larger.test.x, data.test.x)


def finite_difference_agop(function, x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    total = np.zeros((x.shape[1], x.shape[1]))
    for row in x:
        moves = step * np.eye(len(row))
        gradient = np.array([(function(row + move) - function(row - move)) / (2 * step) for move in moves])
        total += np.outer(gradient, gradient)
    return total / len(x)


MONOMIALS = ([0, 1], [2], [0, 0, 3], [1, 2, 3])
AGOP_TOLERANCE = 1e-8  # central differences with step 1e-5: 1e-10 from the third derivative, 1e-11 from rounding


@pytest.mark.parametrize("factors", MONOMIALS, ids=str)
def test_monomial(factors):
    data = make("monomial", factors=factors)

    def function(x):
        return math.prod(x[j] for j in factors)

    assert data.agop is not None
    for split in splits(data):
        np.testing.assert_allclose(split.y[:, 0], [function(row) for row in split.x], rtol=1e-14)
    expected = finite_difference_agop(function, data.train.x)
    np.testing.assert_allclose(data.agop, expected, atol=AGOP_TOLERANCE * np.abs(expected).max())
    assert data.test is not None
    elsewhere = finite_difference_agop(function, data.test.x)
    if factors != [2]:  # whose gradient is the same everywhere
        assert np.abs(data.agop - elsewhere).max() > 0.01 * np.abs(expected).max()
    assert np.abs(data.agop * len(data.train.x) - expected).max() > np.abs(expected).max()  # a sum is not a mean


@pytest.mark.parametrize(("rank", "degree"), [(1, 1), (2, 2), (3, 2), (2, 4)])
def test_low_rank_polynomial(rank, degree):
    data = make("low_rank_polynomial", rank=rank, degree=degree)
    _, hidden = rng().spawn(2)
    directions = synthetic._orthonormal(hidden, 6, rank)
    np.testing.assert_allclose(directions.T @ directions, np.eye(rank), atol=1e-14)

    def function(x):
        terms = hermite_e.hermeval(directions.T @ x, np.eye(degree + 1)[degree]) / math.sqrt(
            rank * math.factorial(degree)
        )
        return sum((-1) ** k * term for k, term in enumerate(terms))

    assert data.agop is not None
    for split in splits(data):
        np.testing.assert_allclose(split.y[:, 0], [function(row) for row in split.x], rtol=1e-12, atol=1e-13)
    expected = finite_difference_agop(function, data.train.x)
    np.testing.assert_allclose(data.agop, expected, atol=AGOP_TOLERANCE * np.abs(expected).max())
    assert np.linalg.matrix_rank(data.agop, tol=1e-9) <= rank


@pytest.mark.parametrize(("rank", "degree"), [(2, 2), (4, 3)])
def test_low_rank_polynomial_has_unit_variance(rank, degree):
    y = make("low_rank_polynomial", rank=rank, degree=degree, train=40_000).train.y[:, 0]
    for sample, expected in ((y, 0.0), (y**2, 1.0)):
        error = sample.std() / math.sqrt(len(sample))
        assert abs(sample.mean() - expected) < 4 * error
        assert abs(1.5 * sample.mean() - expected) > 4 * error or expected == 0.0


@pytest.mark.parametrize("name", ["monomial", "low_rank_polynomial"])
def test_noise_is_on_the_training_targets_only(name):
    clean, noisy = make(name, train=4000), make(name, train=4000, noise=0.5)
    np.testing.assert_array_equal(clean.train.x, noisy.train.x)
    assert clean.agop is not None and clean.test is not None and noisy.test is not None
    np.testing.assert_array_equal(clean.agop, noisy.agop)
    np.testing.assert_array_equal(clean.test.y, noisy.test.y)
    assert np.std(noisy.train.y - clean.train.y) == pytest.approx(0.5, rel=4 / math.sqrt(2 * 4000))


@pytest.mark.parametrize("classes", [2, 3])
def test_gaussian_mixture(classes):
    data = make("gaussian_mixture", classes=classes, separation=3.0, mean_scale=2.0, train=12_000)
    y = data.train.y
    assert data.task == "classification"
    label = (y[:, 0] > 0).astype(int) if classes == 2 else y.argmax(1)
    assert set(np.unique(y)) == ({-1.0, 1.0} if classes == 2 else {0.0, 1.0}) and y.shape[1] == (
        1 if classes == 2 else 3
    )
    assert np.ptp(np.bincount(label)) <= 1
    means = np.array([data.train.x[label == k].mean(0) for k in range(classes)])
    error = math.sqrt(classes / 12_000)  # standard error of a coordinate of a class mean
    for a in range(classes):
        for b in range(a):
            assert np.linalg.norm(means[a] - means[b]) == pytest.approx(3.0, abs=4 * math.sqrt(2) * error)
    assert np.linalg.norm(means.mean(0)) == pytest.approx(2.0, abs=4 * error)
    assert abs((means[0] - means[1]) @ means.mean(0)) < 4 * math.sqrt(13) * error
    assert np.var(data.train.x - means[label]) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(("radius", "length"), [("sqrt_dim", math.sqrt(6)), ("unit", 1.0)])
def test_sphere(radius, length):
    linear = make("sphere", radius=radius, train=5000)
    for split in splits(linear):
        np.testing.assert_allclose(np.linalg.norm(split.x, axis=1), length, rtol=1e-14)
    slope, residual, *_ = np.linalg.lstsq(linear.train.x, linear.train.y, rcond=None)
    assert residual < 1e-18
    assert linear.agop is not None
    np.testing.assert_allclose(linear.agop, slope @ slope.T, atol=1e-12)
    assert np.var(linear.train.y) == pytest.approx(1.0, abs=4 * math.sqrt(2 / 5000))
    sign = make("sphere", radius=radius, target="sign", train=5000)
    np.testing.assert_array_equal(sign.train.y, np.sign(linear.train.y))
    assert sign.task == "classification" and sign.agop is None
    noise = make("sphere", radius=radius, target="noise", train=5000)
    np.testing.assert_array_equal(noise.train.x, linear.train.x)
    assert abs(np.corrcoef(noise.train.y[:, 0], linear.train.y[:, 0])[0, 1]) < 4 / math.sqrt(5000)


def test_single_example():
    data = datasets.single_example(rng(), dim=9, target=0.5)
    assert data.train.x.shape == (1, 9) and data.train.y.tolist() == [[0.5]]
    assert np.linalg.norm(data.train.x) == pytest.approx(3.0, rel=1e-14)
    assert np.linalg.norm(datasets.single_example(rng(), dim=9, norm=0.1).train.x) == pytest.approx(0.1, rel=1e-14)
    with pytest.raises(ValueError, match="positive"):
        datasets.single_example(rng(), dim=9, norm=0.0)


def test_two_clusters():
    data = make("two_clusters", train=1000, means=[5.0, -3.0], weights=[0.3, 0.7])
    x, y = data.train.x[:, 0], data.train.y[:, 0]
    assert (y == 1.0).sum() == 300 and (y == -1.0).sum() == 700 and data.task == "classification"
    assert x[y == 1.0].mean() == pytest.approx(5.0, abs=4 / math.sqrt(300))
    assert x[y == -1.0].mean() == pytest.approx(-3.0, abs=4 / math.sqrt(700))
    assert make("two_clusters", labels=[0.5, 2.0]).task == "regression"


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("monomial", {"factors": [0, 6]}, r"factors must be indices in 0..5 \(dim is 6\)"),
        ("monomial", {"factors": []}, "factors"),
        ("low_rank_polynomial", {"rank": 7}, "rank must be in 1..6"),
        ("low_rank_polynomial", {"degree": 0}, "degree"),
        ("gaussian_mixture", {"classes": 1}, "at least 2"),
        ("gaussian_mixture", {"dim": 3}, "dim >= 4"),
        ("sphere", {"radius": "two"}, "radius"),
        ("sphere", {"target": "cubic"}, "target"),
        ("two_clusters", {"weights": [0.5, 0.6]}, "sum 1"),
        ("two_clusters", {"means": [1.0]}, "two means"),
    ],
)
def test_impossible_options(name, changes, message):
    with pytest.raises(ValueError, match=message):
        make(name, **changes)


def hand_made(x=((1.0, 2.0),), y=((3.0,),), **rest) -> Dataset:
    return Dataset(Split(np.array(x), np.array(y)), None, None, "regression", **rest)


def test_hash_is_pinned():
    assert hand_made().content_hash() == "6321ab34e237a1fe2aae170846cb655aa23f090e6ffdd55f23e52e356b80c7ee"
    assert make("monomial").content_hash() == "01a6ddc0664772e598ba63329fae858843ea9c95245226056b8087187d067c01"


def test_hash_covers_every_array_and_no_layout():
    base = make("monomial")
    assert base.validation is not None and base.test is not None and base.agop is not None
    hashes = {base.content_hash()}
    nudge = np.nextafter(base.train.x, np.inf)
    for changed in (
        Dataset(Split(nudge, base.train.y), base.validation, base.test, "regression", base.agop),
        Dataset(Split(base.train.x, base.train.y + 1), base.validation, base.test, "regression", base.agop),
        Dataset(base.train, base.test, base.validation, "regression", base.agop),
        Dataset(base.train, None, base.test, "regression", base.agop),
        Dataset(base.train, base.validation, base.test, "classification", base.agop),
        Dataset(base.train, base.validation, base.test, "regression", None),
        Dataset(base.train, base.validation, base.test, "regression", 2 * base.agop),
    ):
        hashes.add(changed.content_hash())
    assert len(hashes) == 8
    other_layout = Split(np.asfortranarray(base.train.x.astype(">f8")), base.train.y)
    same = Dataset(other_layout, base.validation, base.test, "regression", base.agop)
    assert same.content_hash() == base.content_hash()


def test_malformed_splits_are_refused():
    with pytest.raises(ValueError, match="float64 matrix"):
        Split(np.zeros(3), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="float64 matrix"):
        Split(np.zeros((3, 2), np.float32), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="3 rows and y has 2"):
        Split(np.zeros((3, 2)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="test split has other columns"):
        Dataset(
            Split(np.zeros((3, 2)), np.zeros((3, 1))), None, Split(np.zeros((3, 4)), np.zeros((3, 1))), "regression"
        )
