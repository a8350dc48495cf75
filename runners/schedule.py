"""Runs what is missing: cells to batches, batches to workers.

The parent process imports no jax. It writes each run as it arrives, so that a crash, a kill or an interrupt loses only
what was still computing; `attempts` turns whatever happens to a worker into rows with a status.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from ..tasks.spec import Cell
from . import batches, provenance
from .attempts import Context, Event, Job, Lane, run_job
from .crew import POLL_SECONDS, Crew, Worker
from .locks import batch_lock
from .results import Store, StoreError

FINISHED = ("ok", "error", "timeout", "out_of_memory")  # `interrupted` and `skipped` are tried again


def missing(cells: Iterable[Cell], store: Store, code: str, *, fresh: bool = False) -> list[Lane]:
    """The (cell, seed) pairs without a finished run, each distinct run once."""
    lanes = _distinct(cells)
    return lanes if fresh else _unfinished(lanes, store, code)


def _distinct(cells: Iterable[Cell]) -> list[Lane]:
    lanes: dict[tuple[str, int], Lane] = {}
    for cell in cells:
        digest = cell.digest
        for seed in cell.seeds:
            lanes.setdefault((digest, seed), (cell, seed))
    return list(lanes.values())


def _unfinished(lanes: Iterable[Lane], store: Store, code: str, tier: str | None = None) -> list[Lane]:
    """The lanes without a finished run; a cell whose runs another tier made is noted as being of both."""
    left = []
    last, digest = None, ""
    for lane in lanes:
        cell, seed = lane
        if cell is not last:  # its seeds come one after the other
            last, digest = cell, cell.digest
        run = store.read(digest, code, seed)
        if run is None or run.status not in FINISHED:
            left.append(lane)
        elif tier not in (None, run.tier):
            for name in (run.tier, tier):  # its own too: with --fresh it may be computed again, for the other
                store.mark(digest, code, name)
    return left


def jobs_of(lanes: Sequence[Lane]) -> list[Job]:
    """Batches in order of first appearance: lanes of one program and of the same limits."""
    grouped: dict[str, list[Lane]] = {}
    for cell, seed in lanes:
        grouped.setdefault(_batch(cell), []).append((cell, seed))
    return [Job(i + 1, len(grouped), tuple(lanes)) for i, lanes in enumerate(grouped.values())]


def _batch(cell: Cell) -> str:
    return batches.canonical([batches.signature(cell), cell.limits])


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
    asked = _distinct(cells)
    left = _unfinished(asked, store, code, tier)
    work = jobs_of(asked if fresh else left)
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
        running = {pool.submit(serve, crew) for _ in range(workers)}
        try:
            while running:
                done, running = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        except BaseException:
            stop.set()
            raise
    return sum(computed)


def lock_key(cell: Cell) -> str:
    """Names the lock of the batch that a cell is in."""
    return hashlib.sha256(_batch(cell).encode()).hexdigest()[:24]


def _run_job(job: Job, context: Context, worker: Worker, stop: threading.Event, *, fresh: bool) -> int:
    """Runs one batch, holding its lock, and returns how many runs that were; another process that computes the same
    batch is waited for, not repeated."""
    while not stop.is_set():
        with contextlib.ExitStack() as stack:
            try:
                held = stack.enter_context(batch_lock(context.store.root, lock_key(job.lanes[0][0])))
            except OSError as error:
                raise StoreError(f"cannot write to {context.store.root}: {error.strerror or error}") from error
            if held:
                lanes = job.lanes
                if not fresh:  # another process may have finished some of it since the plan was made
                    lanes = tuple(_unfinished(lanes, context.store, context.code, context.tier))
                if lanes:
                    run_job(dataclasses.replace(job, lanes=lanes), context, worker, stop)
                return len(lanes)
        time.sleep(POLL_SECONDS)
    return 0
