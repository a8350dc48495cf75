"""What a person sees while cells run: lines in a pipe, a bar on a terminal, nothing when asked to be quiet."""

import io

from tangentbench.runners import progress as module
from tangentbench.runners.progress import progress
from tangentbench.runners.schedule import Event


def events(count=2):
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


def test_a_pipe_gets_a_line_per_batch():
    lines = shown(io.StringIO()).splitlines()
    assert lines[0] == "[program 1/2] family/t1: 1 cell, 4 runs …"
    assert lines[1].startswith("[program 1/2] family/t1: 1 cell, 4 runs  ") and lines[1].endswith(" s")
    assert lines[2] == "[program 2/2] family/t2: 2 cells, 4 runs: timeout: over 1 s"
    assert len(lines) == 3  # a failure has had its line


def test_a_long_batch_shows_a_sign_of_life(monkeypatch):
    monkeypatch.setattr(module._Lines, "EVERY", -1.0)
    assert "[program 1/2] family/t1: 1 cell, 4 runs  50%" in shown(io.StringIO()).splitlines()


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    text = shown(Terminal())
    assert (
        "[program 1/2] family/t1: 1 cell, 4 runs" in text
        and "[program 2/2] family/t2: 2 cells, 4 runs: timeout: over 1 s" in text
    )
    assert "%" in text


def test_quiet_is_silent():
    assert shown(io.StringIO(), quiet=True) == shown(Terminal(), quiet=True) == ""
