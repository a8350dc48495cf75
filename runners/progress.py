"""What a person sees while cells run: a bar on a terminal, one line per batch elsewhere; always on standard error."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from .schedule import Event


@contextmanager
def progress(quiet: bool, stream: TextIO | None = None) -> Iterator[Callable[[Event], None]]:
    """Yields the function that takes the scheduler's events."""
    target = sys.stderr if stream is None else stream
    if quiet:
        yield lambda event: None
    elif target.isatty():
        with _bar(target) as notify:
            yield notify
    else:
        yield _Lines(target)


def _headline(event: Event) -> str:
    cells = f"{event.cells} cell{'s' if event.cells != 1 else ''}"
    return f"[program {event.batch}/{event.of}] {event.task}: {cells}, {event.lanes} runs"


class _Lines:
    """A line when a batch starts and one when it ends, with a sign of life in between."""

    EVERY = 10.0

    def __init__(self, stream: TextIO):
        self.stream, self.began, self.last = stream, {}, time.monotonic()
        self.lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self.lock:
            now = time.monotonic()
            line = ""
            if event.kind == "start":
                self.began[event.batch] = now
                if event.batch == 1:
                    line = f"{_headline(event)} …"
            elif event.message:
                self.began.pop(event.batch, None)
                line = f"{_headline(event)}: {event.message}"
            elif event.kind == "end":
                if event.batch in self.began:  # not after a failure, which has had its line
                    line = f"{_headline(event)}  {now - self.began[event.batch]:.1f} s"
            elif now - self.last > self.EVERY:
                line = f"{_headline(event)}  {event.fraction:.0%}"
            if line:
                self.last = now
                print(line, file=self.stream, flush=True)


@contextmanager
def _bar(stream: TextIO) -> Iterator[Callable[[Event], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(file=stream)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        overall = bar.add_task("starting", total=None)
        fractions: dict[int, float] = {}
        began: dict[int, float] = {}
        lock = threading.Lock()

        def notify(event: Event) -> None:
            with lock:
                fractions[event.batch] = event.fraction
                if event.kind == "start":
                    began[event.batch] = time.monotonic()
                    if event.batch == 1:
                        fractions.clear()
                if event.message:
                    bar.print(f"{_headline(event)}: {event.message}", markup=False, highlight=False)
                elif event.kind == "end":
                    spent = time.monotonic() - began.get(event.batch, time.monotonic())
                    bar.print(f"{_headline(event)}  {spent:.1f} s", markup=False, highlight=False)
                description = f"[{event.batch}/{event.of}] {event.task}".replace("[", "\\[")
                bar.update(overall, description=description, total=event.of, completed=sum(fractions.values()))

        yield notify
