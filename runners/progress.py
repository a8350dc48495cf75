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
    """How far a wave is, and the time that all its programs together still take.

    A program's first chunk compiles, so its pace is that of the chunks after the first; one without two chunks, and one
    that waits, is taken to need as long as the others.
    """

    LEAST = 0.05  # a smaller share foretells nothing

    def __init__(self) -> None:
        self.began: dict[int, float] = {}
        self.failed: set[int] = set()
        self.fractions: dict[int, float] = {}
        self._took: dict[int, float] = {}
        self._first: dict[int, tuple[float, float]] = {}
        self._last: dict[int, tuple[float, float]] = {}
        self._side_by_side = 1

    def take(self, event: Event, now: float) -> None:
        if event.kind == "start":
            self.began[event.batch] = now
            self._side_by_side = max(self._side_by_side, len(self.began) - len(self._took))
        if event.message:
            self.failed.add(event.batch)  # it has its line; no other when the batch ends
        if event.kind == "end":
            self._took[event.batch] = now - self.began[event.batch]
        elif event.fraction > self.fractions.get(event.batch, 0.0):
            self._first.setdefault(event.batch, (now, event.fraction))
            self._last[event.batch] = (now, event.fraction)
        self.fractions[event.batch] = max(event.fraction, self.fractions.get(event.batch, 0.0))

    @property
    def done(self) -> float:
        """In batches."""
        return sum(self.fractions.values())

    def left(self, of: int, now: float) -> float | None:
        """Seconds that the wave's other batches take, as far as this can be told."""
        if not self.LEAST <= self.done / of < 1:
            return None
        running = [batch for batch in self.began if batch not in self._took]
        rests = {batch: rest for batch in running if (rest := self._rest(batch, now)) is not None}
        whole = [took for batch, took in self._took.items() if batch not in self.failed]
        whole += [now - self.began[batch] + rest for batch, rest in rests.items()]
        if not whole:
            return None
        usual = sum(whole) / len(whole)
        each = [rests.get(batch, usual * (1 - self.fractions.get(batch, 0.0))) for batch in running]
        each += [usual] * (of - len(self.began))
        return max(*each, sum(each) / self._side_by_side)

    def _rest(self, batch: int, now: float) -> float | None:
        """Seconds that a program under way still takes, at the pace of its chunks after the first; unless late."""
        (began, start), (last, share) = self._first.get(batch, (now, 0.0)), self._last.get(batch, (now, 0.0))
        if share <= start:
            return None
        rest = (1 - share) * (last - began) / (share - start) - (now - last)
        return rest if rest > 0 else None


def _after(clock: _Clock, event: Event, now: float) -> _Clock:
    """The clock after an event: a wave has its own."""
    if event.kind == "wave":
        return _Clock()
    clock.take(event, now)
    return clock


def _in_all(left: float) -> str:
    return f"about {seconds(left)} left in all"


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
            self.clock = _after(self.clock, event, now)
            line = self._line(event, now)
            if line:
                self.last = now
                print(line, file=self.stream, flush=True)

    def _line(self, event: Event, now: float) -> str:
        if event.kind == "wave":
            return _headline(event)
        if event.message:
            return f"{_headline(event)}: {event.message}"
        if event.kind == "end" and event.batch not in self.clock.failed:
            return f"{_headline(event)}  {now - self.clock.began[event.batch]:.1f} s{self._left(event, now)}"
        if event.kind in ("progress", "runs") and now - self.last > self.EVERY:
            return f"{_headline(event)}  {event.fraction:.0%}{self._left(event, now)}"
        return ""

    def _left(self, event: Event, now: float) -> str:
        left = self.clock.left(event.of, now)
        if left is None or now - self.told <= self.EVERY:
            return ""
        self.told = now
        return f", {_in_all(left)}"


@contextmanager
def _bar(stream: TextIO) -> Iterator[Callable[[Event], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(file=stream)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        overall = bar.add_task("starting", total=None, left="")
        clock, lock = _Clock(), threading.Lock()

        def notify(event: Event) -> None:
            nonlocal clock
            with lock:
                now = time.monotonic()
                clock = _after(clock, event, now)
                if event.kind == "wave":
                    bar.print(_headline(event), markup=False, highlight=False)
                    bar.reset(overall, total=event.of, description=event.task, left="")
                    return
                if event.message:
                    bar.print(f"{_headline(event)}: {event.message}", markup=False, highlight=False)
                elif event.kind == "end" and event.batch not in clock.failed:
                    spent = now - clock.began[event.batch]
                    bar.print(f"{_headline(event)}  {spent:.1f} s", markup=False, highlight=False)
                description = f"[{event.batch}/{event.of}] {event.task}".replace("[", "\\[")
                left = clock.left(event.of, now)
                text = "" if left is None else _in_all(left)
                bar.update(
                    overall, description=description, total=event.of, completed=clock.done, left=text, refresh=True
                )

        yield notify
