"""Data sets bundled with scikit-learn: labels, normalisation from the training split, and what is missing."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits

from tangentbench.tasks import datasets
from tangentbench.tasks.datasets import Dataset, DatasetUnavailable, bundled

SIZES = {"train": 100, "validation": 40, "test": 60}
CASES = [
    ("digits", {"task": "two_class"}),
    ("digits", {"task": "regression"}),
    ("diabetes", {}),
    ("diabetes", {"task": "two_class"}),
]
cases = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{n}-{o.get('task', 'default')}" for n, o in CASES])


def make(name: str, seed: int = 0, **options) -> Dataset:
    return getattr(datasets, name)(np.random.Generator(np.random.PCG64(seed)), **{**SIZES, **options})


@cases
@pytest.mark.parametrize("normalize", ["sqrt_dim", "unit", "standard"])
def test_normalisation(name, options, normalize):
    data = make(name, normalize=normalize, **options)
    assert data.validation is not None and data.test is not None
    assert (len(data.train.x), len(data.validation.x), len(data.test.x)) == (100, 40, 60)
    if normalize == "standard":
        spread = data.train.x.std(0)
        np.testing.assert_allclose(data.train.x.mean(0), 0.0, atol=1e-13)
        np.testing.assert_allclose(spread[spread > 0], 1.0, rtol=1e-12)
        everything = np.concatenate([data.train.x, data.validation.x, data.test.x])
        assert np.abs(everything.mean(0)).max() > 0.01  # statistics of all examples would make this zero
    else:
        length = np.sqrt(data.in_size) if normalize == "sqrt_dim" else 1.0
        for split in (data.train, data.validation, data.test):
            np.testing.assert_allclose(np.linalg.norm(split.x, axis=1), length, rtol=1e-12)


@cases
def test_a_smaller_training_set_is_part_of_the_larger_and_the_test_set_stays(name, options):
    large, small = (make(name, train=train, **options) for train in (100, 50))
    assert large.test is not None and small.test is not None
    if options.get("task") == "two_class" and name == "digits":
        np.testing.assert_array_equal(small.train.y, large.train.y[:50])
        np.testing.assert_array_equal(small.test.y, large.test.y)
    assert np.abs(small.test.x - large.test.x).max() > 1e-6  # its normalisation follows the training split
    assert np.corrcoef(small.test.x.ravel(), large.test.x.ravel())[0, 1] > 0.9


def old_partition(rng, what, unit, x, sizes, normalize, pool):
    """Wrong on purpose: every seed draws its own test set."""
    train, validation, test = sizes
    order = rng.permutation(len(x))
    parts = [order[test + validation : test + validation + train], order[test : test + validation], order[:test]]
    return [*parts, order[test:]], []


def leaking_partition(rng, *rest):
    """Wrong on purpose: a reference model would learn from the test set, too."""
    parts, inputs = bundled._partition(rng, *rest)
    return [*parts[:3], np.arange(len(rest[2]))], inputs


def check_one_test_set(partition, x):
    tests, others = [], set()
    for seed in (*range(17), 1_000_000, 1_000_001, 1_000_002):
        rng = np.random.Generator(np.random.PCG64(seed))
        (train, validation, test, pool), _ = partition(rng, "data", "rows", x, (100, 40, 60), "standard", True)
        assert (len(set(train)), len(set(validation)), len(set(test))) == (100, 40, 60)
        assert set(train).isdisjoint(validation)
        assert sorted(pool) == sorted(set(range(len(x))) - set(test))
        tests.append(list(test))
        others |= {*train, *validation}
    assert all(test == tests[0] for test in tests)
    assert others.isdisjoint(tests[0]) and len(others) > 140  # the other splits do vary


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_no_seed_trains_or_tunes_on_the_one_test_set(name):
    x, _ = raw(name)
    check_one_test_set(bundled._partition, x)
    for wrong in (old_partition, leaking_partition):
        with pytest.raises(AssertionError):
            check_one_test_set(wrong, x)


@cases
def test_the_pool_of_a_reference_is_all_but_the_test_set(name, options):
    assert make(name, **options).pool is None
    plain, data = make(name, **options), make(name, reference={}, **options)
    assert data.pool is not None and data.test is not None and data.validation is not None
    np.testing.assert_array_equal(data.train.x, plain.train.x)
    assert data.content_hash() != plain.content_hash()
    rows = {row.tobytes() for row in np.round(data.pool.x, 9)}
    assert all(row.tobytes() in rows for split in (data.train, data.validation) for row in np.round(split.x, 9))
    # normalised as the training inputs are: a line of the pool that is in the training split is that line, target too
    place = {row.tobytes(): y for row, y in zip(data.pool.x, data.pool.y, strict=True)}
    assert all(place[row.tobytes()] == y for row, y in zip(data.train.x, data.train.y, strict=True))


@cases
def test_every_seed_is_judged_on_the_same_examples(name, options):
    made = [make(name, seed, normalize="standard", **options) for seed in range(4)]
    # the scale of an input follows the training split, the order of the examples along it does not
    orders = [np.argsort(data.test.x, axis=0, kind="stable") for data in made if data.test is not None]
    assert len(orders) == 4 and all(np.array_equal(order, orders[0]) for order in orders)
    first, second = (np.argsort(data.train.x, axis=0, kind="stable") for data in made[:2])
    assert not np.array_equal(first, second)


def raw(name: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True) if name == "digits" else load_diabetes(return_X_y=True, scaled=False)
    return np.asarray(x, float), np.asarray(y, float)


def matching_rows(data: Dataset, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `x` that the standardised training and test inputs come from, checked by undoing the normalisation."""
    fixed = np.random.Generator(np.random.PCG64(20231124)).permutation(len(x))
    rest = np.random.Generator(np.random.PCG64(0)).permutation(fixed[60:])
    test, validation, train = fixed[:60], rest[:40], rest[40:140]
    mean, scale = x[train].mean(0), x[train].std(0)
    scale[scale == 0] = 1
    assert data.validation is not None and data.test is not None
    for rows, split in ((train, data.train), (validation, data.validation), (test, data.test)):
        np.testing.assert_allclose(split.x * scale + mean, x[rows], atol=1e-9 * np.abs(x).max())
    assert len({*train, *validation, *test}) == 200
    return train, test


def test_digits_labels():
    x, y = raw("digits")
    keep = np.isin(y, (3, 8))
    data = make("digits", normalize="standard")
    train, test = matching_rows(data, x[keep])
    np.testing.assert_array_equal(data.train.y[:, 0], np.where(y[keep][train] == 3, 1.0, -1.0))
    assert data.test is not None and data.task == "classification"
    np.testing.assert_array_equal(data.test.y[:, 0], np.where(y[keep][test] == 3, 1.0, -1.0))
    swapped = make("digits", normalize="standard", classes=[8, 3])
    np.testing.assert_array_equal(swapped.train.y, -data.train.y)


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_regression_targets(name):
    x, y = raw(name)
    data = make(name, task="regression", normalize="standard")
    train, test = matching_rows(data, x)
    assert data.test is not None and data.task == "regression"
    for split, rows in ((data.train, train), (data.test, test)):
        np.testing.assert_allclose(split.y[:, 0], (y[rows] - y[train].mean()) / y[train].std(), rtol=1e-12, atol=1e-12)


def test_diabetes_classes():
    x, y = raw("diabetes")
    data = make("diabetes", task="two_class")
    train, test = matching_rows(data, x)
    assert data.test is not None
    np.testing.assert_array_equal(data.test.y[:, 0] > 0, y[test] > np.median(y[train]))
    assert abs(data.train.y.mean()) < 0.1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "digits",
            {"train": 400, "test": 100, "validation": 0},
            r"digits 3 vs 8 has 357 images; train\+validation\+test asks for 500",
        ),
        ("digits", {"train": 2000, "task": "regression"}, "digits has 1797 images"),
        ("diabetes", {"train": 500}, "diabetes has 442 patients"),
        ("digits", {"classes": [3, 3]}, "two different digits"),
        ("digits", {"classes": [3, 10]}, "two different digits"),
        ("digits", {"task": "three_class"}, "task must be"),
        ("diabetes", {"task": "three_class"}, "task must be"),
        ("digits", {"normalize": "whiten"}, "normalize must be"),
        ("digits", {"train": 1}, "train >= 2"),
    ],
)
def test_impossible_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        make(name, **options)


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DatasetUnavailable) as caught:
        make("digits")
    assert caught.value.reason == "scikit-learn is not installed"
    assert caught.value.how_to_get == "pip install scikit-learn"
    assert str(caught.value) == "scikit-learn is not installed (pip install scikit-learn)"
