"""The table of targets: what counts as met, that both sides computed the same, and what is said when one is missing."""

import sys
from pathlib import Path

import pytest

from benchmarks import clock, instruments, targets

SMALL = targets.Options(repeats=1, foreign=None, small=True)


@pytest.mark.parametrize(
    ("ratio", "target", "met"), [(1.2, "≤ 1.3", "yes"), (1.4, "≤ 1.3", "no"), (39.0, "≥ 40", "no"), (2.0, "", "")]
)
def test_met(ratio, target, met):
    assert targets.Line("a kernel", "1 ms", "2 ms", ratio, target).met == met


SECONDS = (0.2, 0.5)
"""Planted medians of ours and of the other."""


@pytest.fixture
def clocked(monkeypatch):
    """Every way is run once, and what it took is made up; gives how many ways were compared at a time."""
    compared = []

    def interleaved(ways, repeats, *, settle=False):
        assert all(way() > 0 for way in ways)
        compared.append(len(ways))
        return list(SECONDS[: len(ways)])

    monkeypatch.setattr(targets, "interleaved", interleaved)
    return compared


@pytest.mark.parametrize(("name", "number"), [("sparse", 4), ("agop", 1), ("forward_backward", 1)])
def test_rows_of_small_sizes(clocked, name, number):
    """Both sides run, and the ratio is the one that the target is about: a "≥" divides the other by ours."""
    lines = list(targets.ROWS[name](SMALL))
    assert len(lines) == number and clocked == [2] * number
    assert len({line.measure for line in lines}) == number and any(line.target for line in lines)
    for line in lines:
        assert (line.ours, line.other.split()[:2]) == ("200.0 ms", ["500.0", "ms"])
        assert line.ratio == pytest.approx(2.5 if line.target.startswith("≥") else 0.4)


def test_at_least_divides_the_other_by_ours(clocked):
    line = targets.versus("a kernel", lambda: 1.0, lambda: 1.0, "≥ 2", 1, "by hand")
    assert line == targets.Line("a kernel", "200.0 ms", "500.0 ms by hand", 2.5, "≥ 2") and line.met == "yes"
    assert targets.versus("a kernel", lambda: 1.0, lambda: 1.0, "≤ 0.3", 1).met == "no"


def test_a_row_whose_sides_disagree_is_none(clocked, monkeypatch):
    from tangentbench.models import sparse

    right = sparse.masked
    monkeypatch.setattr(sparse, "masked", lambda mask, weight: right(mask, 1.01 * weight))
    with pytest.raises(ValueError, match="the two sides computed"):
        list(targets.sparse(SMALL))


def test_a_missing_environment_says_what_to_type(tmp_path):
    with pytest.raises(LookupError, match=r"benchmarks.foreign.setup FOLDER torch`, then `--foreign FOLDER`"):
        targets.foreign(SMALL, "torch")
    with pytest.raises(LookupError, match="neural_tangents"):
        targets.foreign(SMALL._replace(foreign=tmp_path), "neural_tangents")


def test_sides_that_disagree_are_no_measurement():
    targets.agree(1.0, 1.0 + 1e-6, 1e-5)
    targets.agree(1e-6, 0.0, 1e-5)
    for found, expected in ((1.0, 1.1), (1e-4, 0.0), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="the two sides computed"):
            targets.agree(found, expected, 1e-5)


def test_a_job_of_another_process(monkeypatch):
    """Jobs answer with their own seconds; one that dies is no measurement."""
    jobs = Path(__file__).parent / "examples"
    monkeypatch.setenv("PYTHONPATH", str(jobs))
    with clock.Foreign(Path(sys.executable), "jobs:count", start=3) as job:
        assert [job.seconds() >= 0, job.value] == [True, 5.0]  # one run before the first line
    with pytest.raises(RuntimeError, match="ended with 1"):
        clock.Foreign(Path(sys.executable), "jobs:missing")


def test_medians_are_taken_in_turns():
    order = []
    ways = [lambda: order.append("a") or 2.0, lambda: order.append("b") or 1.0]
    assert clock.interleaved(ways, 3) == [2.0, 1.0]
    assert "".join(order) == "abababab"


def test_every_instrument_is_near_the_truth():
    for reading in instruments.readings(width=24, examples=6):
        assert reading.error <= reading.tolerance, reading
        assert reading.seconds > 0 and reading.bytes > 0
