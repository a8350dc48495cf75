"""Ways to do one thing, timed in turns: medians of seconds, so that a busy machine slows all of them alike."""

import json
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Way = Callable[[], float]
"""Does it once; the seconds that it took."""


def interleaved(ways: list[Way], repeats: int, *, settle: bool = False) -> list[float]:
    """Median seconds of every way, after one run of each that does not count.

    settle: before every run that counts comes one that does not, where one way frees so much memory at its end that
    the system is still busy with it when the next begins.
    """
    for way in ways:
        way()
    times = [[(way(), way())[1] if settle else way() for way in ways] for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def timed(function: Callable[[], Any]) -> Way:
    """A function of JAX arrays, until they are there."""

    def way() -> float:
        import jax

        began = time.perf_counter()
        jax.block_until_ready(function())
        return time.perf_counter() - began

    return way


def compiled(function: Callable[..., Any], *args: Any) -> tuple[Callable[[], Any], Any]:
    """A call of the compiled function on these arguments, and the compiled program. Models may be among them."""
    import equinox as eqx
    import jax

    arrays, static = eqx.partition(args, eqx.is_array)
    program = jax.jit(lambda arrays: function(*eqx.combine(arrays, static))).lower(arrays).compile()
    return lambda: program(arrays), program


class Foreign:
    """A job in another environment's process, as `foreign.worker` says; `seconds` is a way, `value` what came out."""

    def __init__(self, python: Path, job: str, **options: Any):
        worker = Path(__file__).resolve().parent / "foreign" / "worker.py"
        command = [str(python), str(worker), job, json.dumps(options)]
        self.value, self._python = float("nan"), python
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._close()
            raise RuntimeError(f"a job in {self._python} ended with {self._process.returncode}")
        return json.loads(line)

    def seconds(self) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.value = answer["value"]
        return answer["seconds"]

    def __enter__(self) -> "Foreign":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._close()

    def _close(self) -> None:
        self._process.communicate()  # waits, and closes both ends
