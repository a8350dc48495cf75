"""Noise as measured: with runs whose noise is known, once by really running, and kept beside the store."""

import json
import math

import numpy as np
import pytest
from filelock import FileLock
from scipy import stats

from tangentbench.runners import cli, compare_tables, noise, schedule, sides
from tangentbench.runners.results import Store, StoreError

from . import suite_files
from .planted import cells, plant, usual


@pytest.fixture
def side(tmp_path, monkeypatch):
    """A side of the current code whose cells, when run again, take times that scatter by 10%."""
    monkeypatch.setattr(noise.provenance, "code_digest", lambda: "c0de")
    folder = plant(tmp_path / "a", [*cells(), *cells((0.7,), role="tune")])
    rng = np.random.default_rng(1)
    asked = []

    def execute(wanted, store, *, code, tier, **options):
        factor = math.exp(0.1 * rng.normal())
        asked.append({(cell.role, *cell.seeds) for cell in wanted})
        plant(store.root, wanted, lambda cell, seed: {"seconds": {"run": 0.2 * factor}}, code=code, tier=tier)

    monkeypatch.setattr(schedule, "execute", execute)
    found = sides.resolve(str(folder), "results")
    return found, asked


def test_other_seeds_and_repetitions_are_run_and_tunings_are_not(side):
    found, asked = side
    noise.measure(found, repeats=3)
    own, other = ("claim", *range(8)), ("claim", *range(noise.OTHER_SEEDS, noise.OTHER_SEEDS + 8))
    assert asked == [{other}, {own}, {own}, {own}, {own}]


def test_the_floor_of_a_metric_is_what_other_seeds_make_of_it(side):
    found, _ = side
    measured = noise.measure(found)
    (cell, _) = cells()
    values = [[usual(cell, seed + start)["scalars"]["distance"] for seed in range(8)] for start in (0, 500_000)]
    welch = stats.ttest_ind(*np.log(values), equal_var=False).confidence_interval(0.95)
    floor = measured.floor(cell.digest, "distance", paired=False)
    assert floor == pytest.approx(math.expm1((welch.high - welch.low) / 2), rel=1e-6)
    assert measured.floor(cell.digest, "distance", paired=True) == 0.0
    assert measured.floor(cell.digest, "no such", paired=True) is None
    assert measured.floor("0", "distance", paired=True) is None


def test_the_floor_of_a_time_is_pooled_and_corrected():
    times = {"a": {"deviation": 0.1, "repeats": 3}, "b": {"deviation": 0.02, "repeats": 3}}
    found = noise.Noise({}, times)
    pooled = math.sqrt((0.1**2 + 0.02**2) / 2)
    quantile = stats.t.ppf(1 - 0.01 / 2 / 5, 6) * math.sqrt(2)
    assert found.time_floor("b", 5) == pytest.approx(quantile * pooled, rel=1e-10)
    assert found.time_floor("a", 5) == pytest.approx(quantile * 0.1, rel=1e-10)
    assert found.time_floor("c", 5) is None and noise.NOTHING.time_floor("a", 5) is None


def test_times_without_a_change_stay_within_their_floor():
    """Three repetitions in each of ten tasks; ten new pairs of times err in about one of a hundred comparisons."""
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(200):
        times = {str(k): {"deviation": rng.normal(0, 0.1, 4).std(ddof=1), "repeats": 3} for k in range(10)}
        found = noise.Noise({}, times)
        ratios = rng.normal(0, 0.1, 10) - rng.normal(0, 0.1, 10)
        wrong += any(abs(r) > found.time_floor(str(k), 10) for k, r in enumerate(ratios))
    assert wrong <= 8


def test_it_is_kept_by_tier_and_device(side, tmp_path):
    found, _ = side
    assert noise.read(found) == noise.NOTHING
    measured = noise.measure(found)
    assert noise.read(found) == measured
    assert set(json.loads((found.store.root / noise.FILE).read_text())) == {"smoke on cpu"}
    assert len(list(Store(found.store.root).runs())) == 8 * 3  # nothing else was left there
    other = plant(tmp_path / "b", cells(), provenance={"device": "other"})
    (other / noise.FILE).write_bytes((found.store.root / noise.FILE).read_bytes())
    assert noise.read(sides.resolve(str(other), "results")) == noise.NOTHING
    (other / noise.FILE).write_text("{")
    with pytest.raises(StoreError, match="noise.json"):
        noise.read(sides.resolve(str(other), "results"))


BAD = {
    "damaged": "{",
    "foreign": '["mine"]',
    "of another form": '{"smoke on cpu": {"metrics": 3}}',
    "of another form, deep inside": '{"smoke on cpu": {"times": {"a": {"deviation": "large"}}}}',
    "no number": '{"smoke on cpu": {"times": {"a": {"deviation": NaN}}}}',
}


@pytest.mark.parametrize("obstacle", [*BAD, "unwritable"])
def test_what_cannot_be_kept_is_said_before_anything_runs(side, obstacle):
    found, asked = side
    path = found.store.root / noise.FILE
    if obstacle == "unwritable":
        path.with_name(f".tmp-{noise.FILE}").mkdir()
    else:
        path.write_text(BAD[obstacle])
    with pytest.raises(StoreError, match="noise.json"):
        noise.measure(found)
    assert asked == []


def test_two_writers_lose_nothing(side):
    found, _ = side
    (found.store.root / noise.FILE).write_text('{"laptop on cpu": {"metrics": {}, "times": {}}}')
    noise.measure(found)
    assert set(json.loads((found.store.root / noise.FILE).read_text())) == {"laptop on cpu", "smoke on cpu"}
    with FileLock(found.store.root / f".{noise.FILE}.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise, "LOCK_SECONDS", 0.1)
        with pytest.raises(StoreError, match="cannot write"):
            noise.measure(found)


def test_the_deviation_of_times_is_that_of_the_repetitions(side):
    measured = noise.measure(side[0], repeats=12)
    (spread,) = measured.times.values()
    assert spread["repeats"] == 12 and spread["deviation"] == pytest.approx(0.1, rel=0.6)


def test_the_command_measures_by_running(tmp_path, capsys):
    tasks, results = suite_files.write(tmp_path / "tasks"), str(tmp_path / "results")
    words = ["run", "tiny/holds", "--tasks", str(tasks), "--tier", "smoke", "--results", results, "--quiet"]
    assert cli.main(words) == 0
    capsys.readouterr()
    words = ["compare", results, "--self", "--repeats", "1", "--jobs", "1", "--quiet", "--format", "json"]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    document = json.loads(out)
    (row,) = document["metrics"]
    assert (row["metric"], row["cells"], row["repeats"]) == ("train_loss", 2, 0.0) and row["seeds"] > 0
    assert document["times"][0]["task"] == "tiny/holds" and document["times"][0]["floor"] > 0
    found = sides.resolve(results, results)
    for fmt in ("table", "markdown"):
        text = compare_tables.noise_text(found, noise.read(found), fmt)
        assert "train\\_loss" in text if fmt == "markdown" else "train_loss" in text
        assert "noise of times" in text and "2/2" in text
    lines = compare_tables.noise_text(found, noise.read(found), "csv").splitlines()
    assert len(lines) == 3 and len({line.count(",") for line in lines}) == 1
