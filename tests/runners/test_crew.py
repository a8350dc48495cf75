"""When a worker is killed: its clock, its memory, and a parent that stops."""

import threading
import time
from types import SimpleNamespace

import psutil
import pytest

from tangentbench.runners import crew
from tangentbench.runners.crew import INTERRUPTED, Watch, Worker

LIMITS = {"seconds": 10.0, "memory_gib": 1.0}


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns."""
    now = SimpleNamespace(value=0.0)
    monkeypatch.setattr(crew, "time", SimpleNamespace(monotonic=lambda: now.value))
    return now


def watched(ready=True, gib=0.5):
    worker = SimpleNamespace(ready=ready, memory_gib=lambda: gib, process=None)
    stop = threading.Event()
    return Watch(worker, LIMITS, stop), stop


def test_the_clock_starts_again_with_every_result(clock):
    watch, _ = watched()
    for _ in range(3):
        clock.value += 9.0
        assert watch._problem() is None
        watch.restart()
    clock.value += 10.5
    assert watch._problem() == ("timeout", "over 10 s (limits.seconds of the task)")


def test_starting_is_nobodys_time(clock):
    watch, _ = watched(ready=False)
    clock.value = crew.START_SECONDS - 1
    assert watch._problem() is None
    clock.value += 2
    status, message = watch._problem() or ("", "")
    assert status == "interrupted" and "not ready after 300 s" in message  # which is tried again


def test_memory_and_a_stop_end_it_too(clock):
    watch, stop = watched(gib=1.01)
    assert watch._problem() == ("out_of_memory", "over 1 GiB (limits.memory_gib of the task)")
    stop.set()
    assert watch._problem() == ("interrupted", INTERRUPTED)


def test_what_passes_a_limit_is_killed(monkeypatch):
    monkeypatch.setattr(crew, "POLL_SECONDS", 0.01)
    killed = threading.Event()
    watch, stop = watched()
    watch.worker.process = SimpleNamespace(kill=killed.set)
    with watch:
        time.sleep(0.05)
        assert watch.reason is None and not killed.is_set()
        stop.set()
        assert killed.wait(10)
    assert watch.reason == ("interrupted", INTERRUPTED)


def test_a_killed_worker_starts_from_nothing():
    worker = Worker({"A_VARIABLE_OF_ITS": "own"})
    process = worker.start()
    assert psutil.Process(process.pid).environ()["A_VARIABLE_OF_ITS"] == "own"
    worker.ready, worker.served = True, 3
    assert worker.start() is process and worker.memory_gib() > 0
    worker.kill()
    assert (worker.process, worker.ready, worker.served, worker.last_words()) == (None, False, 0, "")
    assert process.poll() is not None and worker.memory_gib() == 0.0
