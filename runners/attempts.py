"""One batch on one worker: what happens to its runs when something goes wrong.

The runs of a batch go to the worker together. What ends them early is mostly the fault of one, so that those which were
in the making are tried once more, each alone, and those not yet begun go on together; a run is failed only by what it
does alone. Time is different: the limit is that of the runs that train side by side, which end with it. Where the first
and the last run that are left fail alone in the same way, the others are taken to fail like them, untried.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

from ..tasks.problem import counted
from ..tasks.spec import Cell
from .crew import INTERRUPTED, Watch, Worker, WorkerError
from .results import Run, Store
from .worker import receive, send

AGAIN = "trying once more, run by run"
UNTRIED = "like others of its batch, hence not tried alone"
KEPT = ("interrupted", "skipped")  # statuses that replace no run
MOST = 3  # causes that are listed
Lane = tuple[Cell, int]
Key = tuple[int, int]
"""Index of the cell, and the seed."""


@dataclasses.dataclass(frozen=True)
class Event:
    """Something to show: ``kind`` is wave, start, progress, runs or end; ``fraction`` is of the batch.

    A wave comes first: ``task`` is its title, ``of`` its batches, ``cells`` and ``lanes`` are those of all of them.
    """

    kind: str
    batch: int
    of: int
    task: str
    cells: int
    lanes: int
    fraction: float = 0.0
    message: str = ""


@dataclasses.dataclass(frozen=True)
class Context:
    """What all runs of one call share."""

    store: Store
    code: str
    tier: str
    provenance: dict[str, Any]
    notify: Callable[[Event], None]


@dataclasses.dataclass(frozen=True)
class Job:
    """One batch to run: lanes of one signature and of the same limits."""

    number: int
    of: int
    lanes: tuple[Lane, ...]

    @property
    def tasks(self) -> str:
        names = sorted({cell.task for cell, _ in self.lanes})
        return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def run_job(job: Job, context: Context, worker: Worker, stop: threading.Event) -> None:
    """Runs the lanes of a batch and writes a row for each, whatever happens to it.

    Raises:
        StoreError: a row cannot be written.
        WorkerError: no worker starts; no row is written then.
    """
    batch = _Batch(job, context, worker, stop)
    batch.tell("start")
    batch.run(list(batch.pending))
    batch.tell("end", 1.0)


@dataclasses.dataclass(frozen=True)
class _End:
    """What ended an attempt early: a status with its message, and the lanes that were in the making.

    ``stale``: the worker died or ran out of memory, and it had served before, so that the lanes may not be the cause.
    """

    status: str
    message: str
    making: tuple[Key, ...] = ()
    stale: bool = False


class _Batch:
    """The lanes of a job that have no row yet."""

    def __init__(self, job: Job, context: Context, worker: Worker, stop: threading.Event):
        self.job, self.context, self.worker, self.stop = job, context, worker, stop
        self.cells = list({cell.digest: cell for cell, _ in job.lanes}.values())
        position = {cell.digest: i for i, cell in enumerate(self.cells)}
        self.pending: dict[Key, Cell] = {(position[cell.digest], seed): cell for cell, seed in job.lanes}
        self._told: set[str] = set()

    def tell(self, kind: str, fraction: float = 0.0, message: str = "") -> None:
        if message in self._told:
            return
        self._told |= {message} - {""}
        job, count = self.job, len(self.job.lanes)
        self.context.notify(Event(kind, job.number, job.of, job.tasks, len(self.cells), count, fraction, message))

    def done(self) -> float:
        """The share of lanes that have a row."""
        return 1 - len(self.pending) / len(self.job.lanes)

    def left(self, lanes: Iterable[Key]) -> list[Key]:
        return [key for key in lanes if key in self.pending]

    def run(self, lanes: list[Key]) -> None:
        """Runs lanes together, and sorts out those that a failure left."""
        while len(lanes) > 1:
            end = self.attempt(lanes)
            if end is None or self.hopeless(end):
                return
            ends: list[_End | None] = []
            if end.status == "timeout":
                self.fail(end.making, end)
                ends.append(end)
                probes = self.left(lanes)[-1:]
            else:
                self.tell("runs", self.done(), f"{end.message}; {AGAIN}")
                left = self.left(lanes)
                probes = [*left[:1], *left[-1:]]  # have the least in common
            ends += [self.alone(key) for key in dict.fromkeys(probes)]
            first = ends[0] if ends else None
            if first is not None and len(ends) > 1 and all(_alike(first, other) for other in ends):
                self.fail(lanes, dataclasses.replace(first, message=f"{first.message} ({UNTRIED})"))
            for key in end.making:
                self.alone(key)
            lanes = self.left(lanes)
        for key in lanes:
            self.alone(key)

    def alone(self, key: Key) -> _End | None:
        """Runs one lane, if it is pending; returns how it failed, if it did."""
        end = self.attempt([key]) if key in self.pending else None
        if end is not None and end.stale:
            end = self.attempt([key])
        if end is not None and not self.hopeless(end):
            self.fail([key], end)
        return end

    def hopeless(self, end: _End) -> bool:
        """Whether nothing of the batch can run now; all that is left then ends like this."""
        found = end.status in ("skipped", "interrupted")
        if found:
            self.fail(list(self.pending), end)
        return found

    def fail(self, lanes: Iterable[Key], end: _End) -> None:
        failed = self.left(lanes)
        for key in failed:
            self.write(key, end.status, end.message, {})
        if failed:
            self.tell("runs", self.done(), f"{end.status}: {end.message}")

    def attempt(self, lanes: list[Key]) -> _End | None:
        """Sends lanes to the worker and writes the runs that come back; returns what ended this early, if anything."""
        if self.stop.is_set():
            return _End("interrupted", INTERRUPTED)
        worker = self.worker
        process, used = worker.start(), worker.served > 0
        worker.served += 1
        watch = Watch(worker, self.cells[0].limits, self.stop)
        try:
            with watch:
                alive, making, failure = self.listen(process, watch, lanes)
        except BaseException:  # the worker is in the middle of something
            worker.kill()
            raise
        if not alive:
            code, words, began = process.wait(), worker.last_words(), worker.ready
            if not began and watch.reason is None:
                worker.kill()
                raise WorkerError(f"no worker starts ({_death(code, words)}); `tangentbench doctor` may know why")
            failure = watch.reason or ("out_of_memory" if code == -9 else "error", _death(code, words))
        exhausted = failure is not None and failure[0] == "out_of_memory"
        if not alive or exhausted or watch.reason is not None:  # the last: killed just as it was done
            worker.kill()
        if failure is None:
            return _End("error", "the worker sent no run of this") if self.left(lanes) else None
        ended = (not alive or exhausted) and failure[0] in ("error", "out_of_memory")
        return _End(*failure, tuple(making), stale=used and ended)

    def listen(self, process: Any, watch: Watch, lanes: list[Key]) -> tuple[bool, list[Key], tuple[str, str] | None]:
        """Hears the worker out: whether it lives, the lanes that it began last, and status and message of a failure."""
        before, making, failure = self.done(), lanes[:1], None
        with contextlib.suppress(OSError):  # died while it started; the read below finds the end of the stream
            send(process.stdin, {"cells": [c.model_dump(mode="json") for c in self.cells], "lanes": lanes})
        while (message := receive(process.stdout)) is not None:
            kind, *rest = message
            if kind == "ready":
                self.worker.ready = True
                watch.restart()
            elif kind == "begin":
                making = rest[0]
            elif kind == "progress":
                self.tell("progress", before + rest[0] * len(lanes) / len(self.job.lanes))
            elif kind == "run":
                i, seed, fields = rest
                watch.restart()
                why = fields.pop("failure", "")
                self.write((i, seed), "error" if why else "ok", why, fields)
                self.tell("runs", self.done())
            elif kind == "failed":
                failure = (rest[0], rest[1])
            elif kind == "done":
                return True, making, failure
        return False, making, failure

    def write(self, key: Key, status: str, message: str, fields: dict[str, Any]) -> None:
        """Stores the row of a lane, which is pending no more."""
        cell, context, (_, seed) = self.pending[key], self.context, key
        arrays = fields.pop("arrays", None)
        earlier = status in KEPT and context.store.read(cell.digest, context.code, seed) is not None
        if not earlier:  # with --fresh an earlier run may be there, and this takes nothing away
            run = Run(
                task=cell.task,
                cell=cell.model_dump(mode="json", exclude={"coords", "seeds", "limits", "role", "task"}),
                coords=dict(cell.coords),
                digest=cell.digest,
                code=context.code,
                seed=seed,
                tier=context.tier,
                role=cell.role,
                status=status,
                outcome=fields.get("outcome"),
                message=message,
                scalars=fields.get("scalars", {}),
                certificates=fields.get("certificates", {}),
                steps=fields.get("steps", 0),
                work=fields.get("work", 0),
                seconds=fields.get("seconds", {}),
                provenance=context.provenance | {"dataset": fields.get("data") or None},
            )
            context.store.write(run, arrays)
        del self.pending[key]


def causes(runs: Iterable[Run]) -> list[str]:
    """A line for each cause of runs that failed and stay so, commonest first, and one for how many more there are."""
    found: dict[str, list[str]] = {}
    for run in runs:
        if run.status not in ("ok", *KEPT):
            first = next(iter(run.message.splitlines()), "no message").removesuffix(f" ({UNTRIED})")
            found.setdefault(f"{run.status.replace('_', ' ')}: {first}", []).append(run.task)
    lines = []
    for cause, tasks in sorted(found.items(), key=lambda item: -len(item[1])):
        names = list(dict.fromkeys(tasks))
        where = names[0] if len(names) == 1 else f"{len(names)} tasks"
        lines.append(f"{counted(len(tasks), 'run')} of {where}: {cause}")
    more = lines[MOST:]
    return [*lines[:MOST], *([f"and {counted(len(more), 'other cause')}"] if more else [])]


def _death(code: int, words: str) -> str:
    if code == -9:
        return "the worker was killed (signal 9), most likely by the system for want of memory"
    return f"the worker ended with code {code}" + (f": {words}" if words else "")


def _alike(end: _End | None, other: _End | None) -> bool:
    """Whether both failed and say the same, numbers and addresses aside."""
    if end is None or other is None:
        return False
    return (end.status, _wording(end.message)) == (other.status, _wording(other.message))


def _wording(message: str) -> str:
    return re.sub(r"\d\w*", "", message)
