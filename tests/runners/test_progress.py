"""What a person sees while cells run: lines in a pipe, a bar on a terminal, nothing when asked to be quiet."""

import io

import pytest

from tangentbench.runners import progress as module
from tangentbench.runners.progress import progress
from tangentbench.runners.schedule import Event


def events(count=2, title="tasks"):
    yield Event(kind="wave", batch=0, of=count, task=title, cells=3, lanes=8)
    for k in range(1, count + 1):
        base = {"batch": k, "of": count, "task": f"family/t{k}", "cells": k, "lanes": 4}
        yield Event(kind="start", **base)
        yield Event(kind="progress", fraction=0.5, **base)
        if k == 2:
            yield Event(kind="runs", fraction=1.0, message="timeout: over 1 s", **base)
        yield Event(kind="end", fraction=1.0, **base)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(stream, quiet=False):
    with progress(quiet, stream) as notify:
        for event in events():
            notify(event)
    return stream.getvalue()


def test_a_pipe_gets_a_heading_and_a_line_per_batch():
    lines = shown(io.StringIO()).splitlines()
    assert lines[0] == "tasks: 3 cells, 8 runs in 2 programs"
    assert lines[1].startswith("[program 1/2] family/t1: 1 cell, 4 runs  ") and lines[1].endswith(" s")
    assert lines[2] == "[program 2/2] family/t2: 2 cells, 4 runs: timeout: over 1 s"
    assert len(lines) == 3  # a failure has had its line


def test_a_long_batch_shows_a_sign_of_life(monkeypatch):
    monkeypatch.setattr(module._Lines, "EVERY", -1.0)
    text = shown(io.StringIO())
    assert "[program 1/2] family/t1: 1 cell, 4 runs  50%\n" in text
    assert text.count(" left in all\n") == 2  # none before the first program has ended


class Hours:
    """A clock that the test turns."""

    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def hours(monkeypatch):
    clock = Hours()
    monkeypatch.setattr(module, "time", clock)
    return clock


def event(kind, batch, fraction=0.0, of=4, task="t"):
    return Event(kind=kind, batch=batch, of=of, task=task, cells=1, lanes=1, fraction=fraction)


def test_the_time_left_is_told_every_ten_seconds(hours):
    stream = io.StringIO()
    with progress(False, stream) as notify:
        notify(event("wave", 0, task="tasks"))
        for batch, end in ((1, 9), (2, 12), (3, 21), (4, 24)):
            notify(event("start", batch))
            hours.now = end
            notify(event("end", batch, 1.0))
    lines = stream.getvalue().splitlines()
    assert [line.partition(", about ")[2] for line in lines] == ["", "", "12 s left in all", "", ""]
    # after 12 s two of four programs are done: the other two take as long again


def test_the_second_wave_has_its_own_heading_counts_and_clock(hours):
    stream = io.StringIO()
    with progress(False, stream) as notify:
        for each in (event("wave", 0, of=1, task="tuning"), event("start", 1, of=1), event("end", 1, 1.0, of=1)):
            notify(each)
        hours.now = 1000.0
        notify(event("wave", 0, of=2, task="scoring on the arenas"))
        notify(event("start", 1, of=2))
        hours.now = 1010.0
        notify(event("progress", 1, 0.25, of=2))
        hours.now = 1021.0
        notify(event("progress", 1, 0.525, of=2))
    lines = stream.getvalue().splitlines()
    assert lines[2] == "scoring on the arenas: 1 cell, 1 run in 2 programs"
    # 0.025 a second: 19 s more, and the other program takes 21 + 19 s
    assert lines[3].endswith("52%, about 59 s left in all")


def test_compilation_does_not_count_as_pace(hours):
    stream = io.StringIO()
    with progress(False, stream) as notify:
        notify(event("wave", 0, of=1))
        notify(event("start", 1, of=1))
        for hours.now, share in ((60.0, 0.1), (72.0, 0.5), (84.0, 0.5), (96.0, 0.5)):
            notify(event("progress", 1, share, of=1))
    lines = stream.getvalue().splitlines()
    told = [line.partition("  ")[2] for line in lines[1:]]
    assert told == ["10%", "50%, about 15 s left in all", "50%, about 3.0 s left in all", "50%"]


def test_programs_side_by_side_share_what_is_left(hours):
    clock = module._Clock()
    for batch in (1, 2):
        clock.take(event("start", batch), 0.0)
    clock.take(event("end", 1, 1.0), 10.0)
    clock.take(event("start", 3), 10.0)
    assert clock.left(4, 10.0) == pytest.approx((10 + 10 + 10) / 2)  # three programs, two at a time
    clock.take(event("end", 2, 1.0), 20.0)
    clock.take(event("start", 4), 20.0)
    clock.take(event("end", 3, 1.0), 20.0)
    assert clock.left(4, 20.0) == pytest.approx(40 / 3)  # one is never shared


@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
def test_too_little_foretells_nothing(hours, share):
    clock = module._Clock()
    clock.take(event("start", 1, of=1), 0.0)
    clock.take(event("progress", 1, share / 2, of=1), 10.0)
    clock.take(event("progress", 1, share, of=1), 20.0)
    assert clock.left(1, 50.0) is None


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    text = shown(Terminal())
    assert (
        "[program 1/2] family/t1: 1 cell, 4 runs" in text
        and "[program 2/2] family/t2: 2 cells, 4 runs: timeout: over 1 s" in text
    )
    assert "left in all" in text and "%" in text and "tasks: 3 cells, 8 runs in 2 programs" in text
    assert "[program 2/2] family/t2: 2 cells, 4 runs  " not in text  # a failure has had its line


def test_quiet_is_silent():
    assert shown(io.StringIO(), quiet=True) == shown(Terminal(), quiet=True) == ""
