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


def test_rows_of_small_sizes():
    for name in ("sparse", "agop", "forward_backward"):
        lines = list(targets.ROWS[name](SMALL))
        assert lines and all(line.ratio > 0 for line in lines)


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
