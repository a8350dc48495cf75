"""Runs what is missing: cells to batches, batches to workers, answers to the store.

The parent process imports no jax. It writes each run as it arrives, so that a crash, a kill or an interrupt loses only
what was still computing, and it turns the death of a worker into rows with a status.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil

from ..tasks.spec import Cell
from . import batches, provenance
from .locks import batch_lock
from .results import Run, Store, StoreError
from .worker import receive, send

POLL_SECONDS = 0.25
FINISHED = ("ok", "error", "timeout", "out_of_memory")  # `interrupted` and `skipped` are tried again
INTERRUPTED = "stopped by the user; run the same command again to continue"
Lane = tuple[Cell, int]


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
    """One batch to run: lanes of one signature."""

    number: int
    of: int
    lanes: tuple[Lane, ...]

    @property
    def tasks(self) -> str:
        names = sorted({cell.task for cell, _ in self.lanes})
        return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def missing(cells: Iterable[Cell], store: Store, code: str, *, fresh: bool = False) -> list[Lane]:
    """The (cell, seed) pairs without a finished run, each distinct run once."""
    lanes: dict[tuple[str, int], Lane] = {}
    for cell in cells:
        for seed in cell.seeds:
            key = (cell.digest, seed)
            if key in lanes:
                continue
            run = None if fresh else store.read(cell.digest, code, seed)
            if run is None or run.status not in FINISHED:
                lanes[key] = (cell, seed)
    return list(lanes.values())


def jobs_of(lanes: Sequence[Lane]) -> list[Job]:
    """Batches in order of first appearance."""
    grouped: dict[str, list[Lane]] = {}
    for cell, seed in lanes:
        grouped.setdefault(batches.signature(cell), []).append((cell, seed))
    return [Job(i + 1, len(grouped), tuple(lanes)) for i, lanes in enumerate(grouped.values())]


def default_jobs() -> int:
    """Two workers on a CPU, where compiling keeps one core busy while the other trains; one on an accelerator."""
    return min(2, os.cpu_count() or 1) if provenance.device_kind() == "cpu" else 1


def execute(
    cells: Iterable[Cell],
    store: Store,
    *,
    code: str,
    tier: str,
    argv: Sequence[str] = (),
    jobs: int | None = None,
    fresh: bool = False,
    notify: Callable[[Event], None] = lambda event: None,
    crew: Crew | None = None,
    title: str = "runs",
) -> int:
    """Runs every missing (cell, seed) and returns how many runs were computed; ``title`` says what they are for.

    The worker processes are those of ``crew``, which keeps them and what they compiled, or end with this call.

    Raises:
        StoreError: the results folder cannot be written.
        KeyboardInterrupt: after the rows of the running batches were written as `interrupted`.
    """
    work = jobs_of(missing(cells, store, code, fresh=fresh))
    context = Context(store, code, tier, provenance.provenance(list(argv)), notify)
    if not work:
        return 0
    lanes = [lane for job in work for lane in job.lanes]
    notify(Event("wave", 0, len(work), title, len({cell.digest for cell, _ in lanes}), len(lanes)))
    queue, lock = list(reversed(work)), threading.Lock()
    stop = threading.Event()
    computed: list[int] = []
    own = contextlib.nullcontext(crew) if crew is not None else Crew()

    def serve(crew: Crew) -> None:
        with crew.member() as worker:
            while not stop.is_set():
                with lock:
                    if not queue:
                        return
                    job = queue.pop()
                computed.append(_run_job(job, context, worker, stop, fresh=fresh))

    workers = min(jobs or default_jobs(), len(work))
    with own as crew, ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(serve, crew) for _ in range(workers)]
        try:
            for future in futures:
                while not future.done():
                    with contextlib.suppress(TimeoutError):
                        future.result(timeout=POLL_SECONDS)
                future.result()
        except BaseException:
            stop.set()
            raise
    return sum(computed)


class Crew:
    """Worker processes that outlive a call of `execute`: the second wave finds what the first one compiled."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._idle:
            worker.kill()

    @contextlib.contextmanager
    def member(self) -> Iterator[_Worker]:
        """An idle worker, or a new one."""
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = _Worker()
        try:
            yield worker
        finally:
            self._idle.append(worker)


class _Worker:
    """A worker process that is started when needed and again after it died."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._log: Any = None

    def start(self) -> subprocess.Popen[bytes]:
        if self.process is None or self.process.poll() is not None:
            self.kill()
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
            # a session of its own: Ctrl-C reaches the parent alone, which then decides what to write
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", f"{__package__}.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                start_new_session=True,
                env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2")},
            )
        return self.process

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()
            self.process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def last_words(self) -> str:
        """The last line that the worker wrote to its standard error."""
        if self._log is None:
            return ""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 2000))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def memory_gib(self) -> float:
        try:
            return psutil.Process(self.process.pid).memory_info().rss / 2**30 if self.process else 0.0
        except psutil.Error:
            return 0.0


def _run_job(job: Job, context: Context, worker: _Worker, stop: threading.Event, *, fresh: bool) -> int:
    """Runs one batch, holding its lock, and returns how many runs that were; another process that computes the same
    batch is waited for, not repeated."""
    key = hashlib.sha256(batches.signature(job.lanes[0][0]).encode()).hexdigest()[:24]
    while not stop.is_set():
        with contextlib.ExitStack() as stack:
            try:
                held = stack.enter_context(batch_lock(context.store.root, key))
            except OSError as error:
                raise StoreError(f"cannot write to {context.store.root}: {error.strerror or error}") from error
            if held:
                lanes = job.lanes
                if not fresh:  # another process may have finished some of it since the plan was made
                    lanes = tuple(missing_of(lanes, context))
                if lanes:
                    _run_lanes(dataclasses.replace(job, lanes=lanes), context, worker, stop)
                return len(lanes)
        time.sleep(POLL_SECONDS)
    return 0


def missing_of(lanes: Iterable[Lane], context: Context) -> Iterator[Lane]:
    for cell, seed in lanes:
        run = context.store.read(cell.digest, context.code, seed)
        if run is None or run.status not in FINISHED:
            yield cell, seed


def _run_lanes(job: Job, context: Context, worker: _Worker, stop: threading.Event, *, again: bool = False) -> None:
    """Runs the lanes of a batch. If the worker dies of itself, those it left are tried once more, each alone, so that a
    lane which kills its worker takes no other with it."""
    cells = list({cell.digest: cell for cell, _ in job.lanes}.values())
    position = {cell.digest: i for i, cell in enumerate(cells)}
    pending = {(position[cell.digest], seed): cell for cell, seed in job.lanes}
    seconds, gib = (max(cell.limits[what] for cell in cells) for what in ("seconds", "memory_gib"))

    def event(kind: str, fraction: float = 0.0, message: str = "") -> None:
        if again and not message:
            return  # the batch goes on
        context.notify(Event(kind, job.number, job.of, job.tasks, len(cells), len(job.lanes), fraction, message))

    def fail(status: str, message: str) -> None:
        for (_, seed), cell in list(pending.items()):
            _write(context, cell, seed, status, message, {})
        pending.clear()
        event("runs", 1.0, f"{status}: {message}")

    event("start")
    process = worker.start()
    assert process.stdin is not None and process.stdout is not None
    watch = _Watch(worker, seconds, gib, stop)
    with watch:
        with contextlib.suppress(OSError):  # died while it started; the read below finds the end of the stream
            send(process.stdin, {"cells": [c.model_dump(mode="json") for c in cells], "lanes": list(pending)})
        while (message := receive(process.stdout)) is not None:
            if message[0] == "progress":
                event("progress", message[1]["done"])
            elif message[0] == "run":
                _, i, seed, fields = message
                failure = fields.pop("failure", "")
                _write(context, pending.pop((i, seed)), seed, "error" if failure else "ok", failure, fields)
                event("runs", (len(job.lanes) - len(pending)) / len(job.lanes))
            elif message[0] == "failed":
                fail(message[1], message[2])
            elif message[0] == "done":
                event("end", 1.0)
                break
    if message is not None:
        if watch.reason is not None:  # it was told to kill just as the batch was done
            worker.kill()
        return
    words = worker.last_words()
    code = process.wait()
    worker.kill()
    if watch.reason is not None:
        fail(*watch.reason)
    elif not again:
        event("runs", 1 - len(pending) / len(job.lanes), f"{_death(code, words)}; trying once more, run by run")
        while pending and not stop.is_set():
            (_, seed), cell = next(iter(pending.items()))
            _run_lanes(dataclasses.replace(job, lanes=((cell, seed),)), context, worker, stop, again=True)
            del pending[next(iter(pending))]
        if pending:
            fail("interrupted", INTERRUPTED)
    else:
        fail("out_of_memory" if code == -9 else "error", _death(code, words))
    event("end", 1.0)


def _death(code: int, words: str) -> str:
    if code == -9:
        return "the worker was killed (signal 9), most likely by the system for want of memory"
    return f"the worker ended with code {code}" + (f": {words}" if words else "")


class _Watch:
    """Kills a worker that passes its time or memory limit, or when the parent is told to stop."""

    def __init__(self, worker: _Worker, seconds: float, gib: float, stop: threading.Event):
        self.worker, self.seconds, self.gib, self.stop = worker, seconds, gib, stop
        self.reason: tuple[str, str] | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        began = time.monotonic()
        while not self._done.wait(POLL_SECONDS):
            if self.stop.is_set():
                self.reason = ("interrupted", INTERRUPTED)
            elif time.monotonic() - began > self.seconds:
                self.reason = ("timeout", f"over {self.seconds:g} s (limits.seconds of the task)")
            elif self.worker.memory_gib() > self.gib:
                self.reason = ("out_of_memory", f"over {self.gib:g} GiB (limits.memory_gib of the task)")
            if self.reason is not None:
                if self.worker.process is not None:
                    self.worker.process.kill()
                return


def _write(context: Context, cell: Cell, seed: int, status: str, message: str, fields: dict[str, Any]) -> None:
    arrays = fields.pop("arrays", None)
    if status == "interrupted" and context.store.read(cell.digest, context.code, seed) is not None:
        return  # with --fresh an earlier run may be there, and an interrupt takes nothing away
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
