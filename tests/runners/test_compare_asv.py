"""Results of asv as sides: counts are exact, times have intervals, and the science has its own directions."""

import json
import math

import pytest

from benchmarks import science
from tangentbench.runners import cli, compare_asv, compare_tables, provenance
from tangentbench.runners.compare_asv import AsvSide, Measured
from tangentbench.runners.results import StoreError
from tangentbench.tasks import registry

KERNEL = "kernels.TangentKernel."
ABOUT = {
    f"{KERNEL}time_kernel": {"type": "time", "unit": "seconds"},
    f"{KERNEL}peakmem_kernel": {"type": "peakmemory", "unit": "bytes"},
    f"{KERNEL}track_compile": {"type": "track", "unit": "s"},
    f"{KERNEL}track_operations": {"type": "track", "unit": "FLOP", "exact": True},
}
SEEDS = [0.31, 0.36, 0.28, 0.33, 0.4, 0.29, 0.35, 0.3]


def track(name, label="f_t"):
    """Name and attributes of a science benchmark, as `benchmarks/science.py` gives them."""
    view = "exponential" if name in science.MAY_VANISH else "power"
    return f"science.track_{label}", {"type": "track", "metric": name, "unit": "view", "view": view}


def side(name, found, environment="env"):
    return AsvSide(f"asv:{name}", name * 40, "box", environment, found)


def number(value, version="1", **rest):
    return Measured(value, None, {}, version, **rest)


def timed(low, high, version="1"):
    return Measured((low * high) ** 0.5, None, {"ci_99_a": low, "ci_99_b": high}, version)


def sampled(name, values, version="1"):
    direction = registry.find("metric", name).direction
    views = tuple(science.view(name, direction, value) for value in values)
    return Measured(sorted(views)[len(views) // 2], views, {"ci_99_a": min(views), "ci_99_b": max(views)}, version)


def row(benchmark, before, after, about=None):
    attributes = {benchmark: about or ABOUT[benchmark]}
    (found,) = compare_asv.compare(side("a", {benchmark: before}), side("b", {benchmark: after}), attributes).rows
    return found


def verdict(*arguments):
    return row(*arguments).verdict


# -- kernels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "expected"), [(1000.0, "equivalent"), (1001.0, "worse"), (999.0, "better"), (1500.0, "worse")]
)
def test_counts_are_exact(after, expected):
    found = row(f"{KERNEL}track_operations", number(1000.0), number(after))
    assert found.verdict == expected and found.kind == "count" and found.low == found.high == found.change
    assert found.change == pytest.approx(after / 1000 - 1) and found.identical == (after == 1000)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ((1.5, 1.6), "slower"),
        ((0.5, 0.6), "faster"),
        ((0.98, 1.02), "equivalent"),
        ((1.0, 1.6), "undecided"),
        ((1.06, 1.2), "undecided"),
    ],
)
def test_times_are_judged_by_their_intervals(after, expected):
    found = row(f"{KERNEL}time_kernel", timed(0.98, 1.02), timed(*after))
    assert found.verdict == expected and found.kind == "speed" and found.low <= found.change <= found.high
    assert verdict(f"{KERNEL}track_compile", timed(0.98, 1.02), timed(*after)) == expected


@pytest.mark.parametrize("stats", [{}, {"ci_99_a": None, "ci_99_b": None}, {"ci_99_a": -math.inf, "ci_99_b": math.inf}])
def test_a_time_without_an_interval_decides_nothing(stats):
    """As `--quick` stores it: three times as slow is no news."""
    found = row(f"{KERNEL}time_kernel", timed(0.98, 1.02), Measured(3.0, None, stats, "1"))
    assert found.verdict == "undecided" and "too few samples" in found.note


def test_a_peak_of_memory_goes_by_its_factor():
    peak = f"{KERNEL}peakmem_kernel"
    assert [verdict(peak, number(100.0), number(v)) for v in (105.0, 120.0, 80.0)] == ["equivalent", "worse", "better"]


def test_one_name_two_versions_or_one_side_is_not_compared():
    name = f"{KERNEL}track_operations"
    assert verdict(name, number(1.0), number(2.0, version="2")) == "incomparable"
    found = compare_asv.compare(side("a", {name: number(1.0)}), side("b", {}), ABOUT)
    assert [r.verdict for r in found.rows] == ["missing"] and not found.regressed


# -- science -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "factor", "expected"),
    [
        ("test_loss", 1.2, "worse"),
        ("test_loss", 0.8, "better"),
        ("test_loss", 1.01, "equivalent"),
        ("agop_alignment", 1.2, "better"),  # higher is better: asv's own view falls
        ("agop_alignment", 0.8, "worse"),
        ("relative_parameter_distance", 1.2, "changed"),  # neither
    ],
)
def test_directions_are_the_registrys(name, factor, expected):
    benchmark, about = track(name)
    found = row(benchmark, sampled(name, SEEDS), sampled(name, [factor * v for v in SEEDS]), about)
    assert found.verdict == expected and found.paired
    assert (
        found.change == pytest.approx(factor - 1, rel=0.05)
        and found.direction == registry.find("metric", name).direction
    )


def test_a_signed_metric_is_judged_by_its_differences():
    """Raw, asv lists the improvement from -1.0 to -0.5 of what should be high as a regression."""
    name = "restricted_curvature_margin"
    benchmark, about = track(name)
    values = [-1.0 + v / 10 for v in SEEDS]
    assert registry.find("metric", name).direction == "higher"
    assert verdict(benchmark, sampled(name, values), sampled(name, [v + 0.5 for v in values]), about) == "better"
    assert verdict(benchmark, sampled(name, values), sampled(name, [v - 0.5 for v in values]), about) == "worse"


def test_views_are_turned_back():
    for name, value in [("test_loss", 0.3), ("agop_alignment", -0.4), ("agop_alignment", 0.0), ("convex_from", 12.0)]:
        direction = registry.find("metric", name).direction
        about = track(name)[1]
        again = compare_asv.seen(about["view"], direction, science.view(name, direction, value))
        assert again == pytest.approx(value, abs=1e-12)


def test_attributes_that_are_read_here_are_exported_there():
    for one in science.TRACKS:
        function = getattr(science, one.benchmark)
        assert function.view == track(one.name)[1]["view"] and function.metric == one.name


def test_a_benchmark_that_fails_now_is_worse():
    """As a seed that diverges makes it: asv has no number, and no number stands for it."""
    benchmark, about = track("test_loss")
    failed = number(None, error="ValueError: test_loss of f/t: no finite numbers from 8 seeds")
    good = sampled("test_loss", SEEDS)
    found = row(benchmark, good, failed, about)
    assert found.verdict == "worse" and "no finite numbers" in found.note
    assert verdict(benchmark, failed, good, about) == "better"
    assert verdict(benchmark, failed, failed, about) == "missing"


def test_without_samples_the_science_is_undecided():
    benchmark, about = track("test_loss")
    found = row(benchmark, number(0.3), number(0.6), about)
    assert found.verdict == "undecided" and "--record-samples" in found.note


def test_another_task_is_not_compared():
    """An edited YAML changes the version, and nothing stale is compared."""
    benchmark, about = track("test_loss")
    edited = sampled("test_loss", [2 * v for v in SEEDS], version="2")
    assert verdict(benchmark, sampled("test_loss", SEEDS), edited, about) == "incomparable"


def test_what_is_printed():
    names = {f"{KERNEL}track_operations": 1000.0, f"{KERNEL}time_kernel": None}
    a = side("a", {KERNEL + "track_operations": number(1000.0), KERNEL + "time_kernel": timed(0.98, 1.02)})
    b = side("b", {KERNEL + "track_operations": number(1500.0), KERNEL + "time_kernel": timed(1.5, 1.6)}, "other")
    found = compare_asv.compare(a, b, {name: ABOUT[name] for name in names})
    text = compare_tables.text(found, width=200)
    assert "counts: 1 worse" in text and "speed: 1 slower" in text and "TangentKernel: time_kernel" in text
    assert "other environments" in text and "per step" not in text and found.regressed
    assert json.loads(compare_tables.text(found, "json"))["tier"] == "asv"


# -- asv's files -------------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A clone with results of two commits on one machine, as asv writes them; the function stores more."""
    asv = pytest.importorskip("asv.results", reason="asv is not installed: it comes with the extra `dev`")
    from asv import benchmarks, util

    folder = tmp_path / ".asv" / "results"
    (tmp_path / "asv.conf.json").write_text(json.dumps({"version": 1, "repo": ".", "results_dir": ".asv/results"}))
    commits = {"old": "a" * 40, "new": "b" * 40}
    monkeypatch.setattr(provenance, "repository", lambda: tmp_path)
    monkeypatch.setattr(provenance, "commit_of", commits.get)

    def store(machine, revision, operations):
        (folder / machine).mkdir(parents=True, exist_ok=True)
        util.write_json(str(folder / machine / "machine.json"), {"machine": machine}, 1)
        util.write_json(str(folder / "benchmarks.json"), dict(ABOUT), benchmarks.Benchmarks.api_version)
        found = asv.Results({"machine": machine}, {}, commits[revision], 0, "3.11", "env", {})
        text = json.dumps(
            {
                "params": {"machine": machine}, "requirements": {}, "commit_hash": commits[revision], "date": 0,
                "python": "3.11", "env_name": "env", "env_vars": {}, "durations": {},
                "version": asv.Results.api_version,
                "result_columns": ["result", "params", "version", "started_at"],
                "results": {f"{KERNEL}track_operations": [[operations], [], "1", 1]},
            }
        )  # fmt: skip
        (folder / found._filename).write_text(text)

    return store


def test_stored_results_are_found(stored, capsys):
    stored("box", "old", 1000.0)
    with pytest.raises(StoreError, match="asv has no results of new"):
        compare_asv.between("asv:old", "asv:new")
    stored("box", "new", 1500.0)
    assert cli.main(["compare", "asv:old", "asv:new"]) == 3
    assert "1 worse" in capsys.readouterr().out
    assert cli.main(["compare", "asv:new", "asv:new@box"]) == 0


def test_two_machines_are_never_mixed(stored):
    stored("box", "old", 1000.0)
    stored("other", "new", 1500.0)
    with pytest.raises(StoreError, match="machines with results of both: none"):
        compare_asv.between("asv:old", "asv:new")
    stored("box", "new", 1000.0)
    stored("other", "old", 1000.0)
    with pytest.raises(StoreError, match="box, other; choose one as in asv:old@MACHINE"):
        compare_asv.between("asv:old", "asv:new")
    assert not compare_asv.between("asv:old@box", "asv:new").regressed
    assert compare_asv.between("asv:old", "asv:new@other").regressed


def test_mistakes_are_one_line(stored, capsys):
    for arguments in (["asv:old", "dir:results"], ["asv:old", "asv:new"], ["asv:gone", "asv:new"]):
        assert cli.main(["compare", *arguments]) == 1
        said = capsys.readouterr().err
        assert said.startswith("tangentbench: ") and said.count("\n") == 1
