"""Worker processes seen from the parent: started when needed, kept between batches, watched, and killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import psutil

POLL_SECONDS = 0.25
START_SECONDS = 300.0  # a worker that is not ready by then never will be
INTERRUPTED = "stopped before it ended; run the same command again to continue"


class WorkerError(Exception):
    """A worker process ends before it takes a request: nothing can run here. The message is one line."""


class Crew:
    """Worker processes that outlive a call of `execute`: the second wave finds what the first one compiled.

    `variables` are set in their environment, in place of this process's.
    """

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = dict(variables or {})
        self._idle: list[Worker] = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._idle:
            worker.kill()

    @contextlib.contextmanager
    def member(self) -> Iterator[Worker]:
        """An idle worker, or a new one."""
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = Worker(self._variables)
        try:
            yield worker
        finally:
            self._idle.append(worker)


class Worker:
    """A worker process that is started when needed and again after it died.

    Attributes:
        process: the process, if there is one.
        ready: it has said that it takes requests.
        served: how many requests it was given.
    """

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self.variables = dict(variables or {})
        self.process: subprocess.Popen[bytes] | None = None
        self.ready, self.served = False, 0
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
                env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, **self.variables},
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
        self.ready, self.served = False, 0
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


class Watch:
    """Kills a worker that passes its time or memory limit, or when the parent is told to stop.

    Its clock starts again with every `restart`; while the worker is not ready, the limit of time is `START_SECONDS`.

    Args:
        limits: ``seconds`` and ``memory_gib``, as `tasks.spec.Limits`.

    Attributes:
        reason: status and message, once it has killed.
    """

    def __init__(self, worker: Worker, limits: Mapping[str, float], stop: threading.Event):
        self.worker, self.stop = worker, stop
        self.seconds, self.gib = limits["seconds"], limits["memory_gib"]
        self.reason: tuple[str, str] | None = None
        self._began = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def restart(self) -> None:
        self._began = time.monotonic()

    def _watch(self) -> None:
        while not self._done.wait(POLL_SECONDS):
            self.reason = self._problem()
            if self.reason is not None:
                if self.worker.process is not None:
                    self.worker.process.kill()
                return

    def _problem(self) -> tuple[str, str] | None:
        if self.stop.is_set():
            return "interrupted", INTERRUPTED
        spent = time.monotonic() - self._began
        if not self.worker.ready:
            words = f"the worker was not ready after {START_SECONDS:g} s; run the same command again"
            return ("interrupted", words) if spent > START_SECONDS else None
        if spent > self.seconds:
            return "timeout", f"over {self.seconds:g} s (limits.seconds of the task)"
        if self.worker.memory_gib() > self.gib:
            return "out_of_memory", f"over {self.gib:g} GiB (limits.memory_gib of the task)"
        return None
