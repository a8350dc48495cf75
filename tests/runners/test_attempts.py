"""One bad run takes no other with it, and a batch in which every run is bad is given up soon."""

import shutil
import threading
from dataclasses import replace

import pytest

from tangentbench.runners import attempts, crew

from .boards import make_run
from .planted import cells
from .troubles import calls, trouble_cell

TRAINS = {"steps": 2, "train_loss": None, "relative_loss": None}
LIMITS = {"seconds": 60.0, "memory_gib": 4.0}
BAD = 2
ENDS = {
    "raise": ("error", "ValueError: first line second line"),
    "memory": ("out_of_memory", "no room"),
    "exit": ("error", "the worker ended with code 3: the last words"),
    "sleep": ("timeout", "over 3 s (limits.seconds of the task)"),
}


@pytest.fixture(scope="module")
def spoilt(stage):
    """Cells of six seeds of which one is bad; the seeds of the last are trained side by side."""
    limits = {"sleep": {"seconds": 3.0, "memory_gib": 4.0}}
    cells = {
        how: trouble_cell(how, stage.log(f"bad {how}"), 6, bad=[BAD], limits=limits.get(how, LIMITS)) for how in ENDS
    }
    cells["together"] = trouble_cell("raise", stage.log("together"), 6, bad=[BAD], stop=TRAINS)
    assert stage.execute(list(cells.values())) == 6 * len(cells)
    return cells


@pytest.mark.parametrize("how", ENDS)
def test_a_bad_run_loses_no_other(stage, spoilt, how):
    assert stage.ended(spoilt[how]) == [ENDS[how] if seed == BAD else ("ok", "") for seed in range(6)]


def test_a_bad_run_loses_none_that_trains_beside_it(stage, spoilt):
    expected = [ENDS["raise"] if seed == BAD else ("ok", "") for seed in range(6)]
    assert stage.ended(spoilt["together"]) == expected
    assert all(run.steps == 2 for run in stage.rows(spoilt["together"]) if run.status == "ok")


def test_what_was_not_begun_goes_on_together(stage, spoilt):
    # seeds 0 to 2, the bad one alone once more, the last alone, the other two; a worker remembers data but not failures
    assert calls(stage.log("bad raise")) == 7
    # what ran out of time is not begun again
    assert calls(stage.log("bad sleep")) == 6


def test_a_batch_that_failed_as_a_whole_would_lose_the_others(stage, monkeypatch):
    """Wrong on purpose: what the first test rejects."""

    def run(batch, lanes):
        batch.fail(lanes, batch.attempt(lanes))

    monkeypatch.setattr(attempts._Batch, "run", run)
    cell = trouble_cell("raise", stage.log("lost"), 4, bad=[1])
    assert stage.execute([cell]) == 4
    assert [status for status, _ in stage.ended(cell)] == ["ok", "error", "error", "error"]


def test_a_batch_whose_every_run_fails_is_given_up(stage):
    bad, slow = (
        trouble_cell("raise", stage.log("hopeless"), 40, bad=list(range(40))),
        trouble_cell("sleep", stage.log("slow"), 40, bad=list(range(40)), limits={"seconds": 0.3, "memory_gib": 4.0}),
    )
    assert stage.execute([bad, slow]) == 80
    for cell, tried, (status, message), count in (
        (bad, (0, 39), ENDS["raise"], 3),
        (slow, (0, 39), ("timeout", "over 0.3 s (limits.seconds of the task)"), 2),
    ):
        untried = (status, f"{message} ({attempts.UNTRIED})")
        assert stage.ended(cell) == [(status, message) if seed in tried else untried for seed in range(40)]
        assert calls(stage.log("hopeless" if cell is bad else "slow")) == count


def test_failures_are_alike_whatever_their_numbers():
    end, other = (attempts._End("error", f"no room for {n} bytes at {at}") for n, at in ((12, "0x7fa"), (90, "0x1")))
    assert attempts._alike(end, other)
    assert not attempts._alike(end, attempts._End("out_of_memory", end.message))
    assert not attempts._alike(end, attempts._End("error", "no rooms"))
    assert not attempts._alike(end, None) and not attempts._alike(None, None)


def test_causes_are_told_once_each_and_no_more_than_three(stage):
    run = make_run(cells()[0], 0)

    def ended(status, message, task="a"):
        return replace(run, status=status, message=message, task=task)

    good = [ended("ok", ""), ended("skipped", "no data"), ended("interrupted", "stopped")]
    assert attempts.causes(good) == []
    bad = [ended("error", "ValueError: one"), ended("timeout", "over 1 s"), ended("timeout", "over 1 s", "b")]
    assert attempts.causes([*good, *bad]) == [
        "2 runs of 2 tasks: timeout: over 1 s",
        "1 run of a: error: ValueError: one",
    ]
    bad += [ended("error", f"ValueError: one ({attempts.UNTRIED})"), ended("out_of_memory", "two\nlines")]
    bad += [ended("error", ""), ended("error", "four")]
    assert attempts.causes(bad) == [
        "2 runs of a: error: ValueError: one",
        "2 runs of 2 tasks: timeout: over 1 s",
        "1 run of a: out of memory: two",
        "and 2 other causes",
    ]


def test_untried_runs_say_what_those_tried_did(stage):
    """Together they run out of memory, alone they raise: the latter is what is wrong with them."""

    class Batch(attempts._Batch):
        def attempt(self, lanes):
            how = ("out_of_memory", "no room") if len(lanes) > 1 else ("error", "ValueError: wrong")
            return attempts._End(*how, tuple(lanes[:1]))

    written = record(stage, Batch, 5)
    assert set(written.values()) == {
        ("error", "ValueError: wrong"),
        ("error", f"ValueError: wrong ({attempts.UNTRIED})"),
    }


def test_a_run_that_the_worker_forgets_is_an_error(stage):
    """Neither without a row nor tried for ever."""

    class Batch(attempts._Batch):
        def listen(self, process, watch, lanes):
            return True, lanes[:1], None

    written = record(stage, Batch, 3)
    assert {status for status, _ in written.values()} == {"error"} and len(written) == 3


def record(stage, kind, seeds):
    """Runs a batch of this kind with a worker that is never started; key -> status and message."""
    cell = trouble_cell("raise", stage.log("never"), seeds)
    context = attempts.Context(None, "c0de", "smoke", {}, lambda event: None)
    batch = kind(attempts.Job(1, 1, tuple((cell, seed) for seed in range(seeds))), context, Idle(), threading.Event())
    written = {}

    def write(key, status, message, fields):
        written[key] = (status, message)
        del batch.pending[key]

    batch.write = write
    batch.run(list(batch.pending))
    return written


class Idle:
    """A worker without a process."""

    served, ready = 0, True

    def start(self):
        return None

    def kill(self):
        pass

    def memory_gib(self):
        return 0.0


def test_a_worker_that_never_starts_writes_no_row(stage, monkeypatch):
    monkeypatch.setattr(crew.sys, "executable", shutil.which("false"))
    cell = trouble_cell("raise", stage.log("no worker"), 2)
    with pytest.raises(crew.WorkerError, match="no worker starts"):
        stage.execute([cell])
    assert stage.rows(cell) == [None, None]


@pytest.mark.parametrize("status", ["interrupted", "skipped"])
def test_what_could_not_run_replaces_no_run(stage, spoilt, status):
    cell = spoilt["raise"]
    before = stage.ended(cell)
    context = attempts.Context(stage.store, stage.CODE, "smoke", {}, lambda event: None)
    batch = attempts._Batch(attempts.Job(1, 1, ((cell, 0),)), context, Idle(), threading.Event())
    batch.write((0, 0), status, "not now", {})
    assert stage.ended(cell) == before and not batch.pending
