"""What a person sees while cells run: a bar on a terminal, one line per batch elsewhere; always on standard error."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from .schedule import Event
from .words import seconds


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


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _headline(event: Event) -> str:
    counts = f"{_counted(event.cells, 'cell')}, {_counted(event.lanes, 'run')}"
    if event.kind == "wave":
        return f"{event.task}: {counts} in {_counted(event.of, 'program')}"
    return f"[program {event.batch}/{event.of}] {event.task}: {counts}"


class _Clock:
    """How far a wave is: the share of its batches that is done, and the time that the rest will take at this pace."""

    LEAST = 0.05  # a smaller share foretells nothing

    def __init__(self) -> None:
        self.wave: float = time.monotonic()
        self.began: dict[int, float] = {}
        self.fractions: dict[int, float] = {}

    def take(self, event: Event, now: float) -> None:
        if event.kind == "wave":
            self.wave, self.began, self.fractions = now, {}, {}
            return
        if event.kind == "start":
            self.began[event.batch] = now
        if event.message:
            self.began.pop(event.batch, None)  # a failure has its line; no other when the batch ends
        self.fractions[event.batch] = max(event.fraction, self.fractions.get(event.batch, 0.0))

    @property
    def done(self) -> float:
        """In batches."""
        return sum(self.fractions.values())

    def left(self, of: int, now: float) -> float | None:
        """Seconds that the wave's other batches take, as far as this can be told."""
        share = self.done / of
        return None if share < self.LEAST or share >= 1 else (now - self.wave) * (1 - share) / share


class _Lines:
    """A heading per wave, a line when a batch ends, a sign of life in between, and every ten seconds the time left."""

    EVERY = 10.0

    def __init__(self, stream: TextIO):
        self.stream, self.clock = stream, _Clock()
        self.last = self.told = time.monotonic()
        self.lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self.lock:
            now = time.monotonic()
            self.clock.take(event, now)
            line = self._line(event, now)
            if line:
                self.last = now
                print(line, file=self.stream, flush=True)

    def _line(self, event: Event, now: float) -> str:
        if event.kind == "wave":
            return _headline(event)
        if event.message:
            return f"{_headline(event)}: {event.message}"
        if event.kind == "end" and event.batch in self.clock.began:
            return f"{_headline(event)}  {now - self.clock.began[event.batch]:.1f} s{self._left(event, now)}"
        if event.kind in ("progress", "runs") and now - self.last > self.EVERY:
            return f"{_headline(event)}  {event.fraction:.0%}{self._left(event, now)}"
        return ""

    def _left(self, event: Event, now: float) -> str:
        left = self.clock.left(event.of, now)
        if left is None or now - self.told <= self.EVERY:
            return ""
        self.told = now
        return f", about {seconds(left)} left"


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
        clock, lock = _Clock(), threading.Lock()

        def notify(event: Event) -> None:
            with lock:
                now = time.monotonic()
                clock.take(event, now)
                if event.kind == "wave":
                    bar.print(_headline(event), markup=False, highlight=False)
                    bar.reset(overall, total=event.of, description=event.task)
                    return
                if event.message:
                    bar.print(f"{_headline(event)}: {event.message}", markup=False, highlight=False)
                elif event.kind == "end" and event.batch in clock.began:
                    spent = now - clock.began[event.batch]
                    bar.print(f"{_headline(event)}  {spent:.1f} s", markup=False, highlight=False)
                description = f"[{event.batch}/{event.of}] {event.task}".replace("[", "\\[")
                bar.update(overall, description=description, total=event.of, completed=clock.done)

        yield notify
