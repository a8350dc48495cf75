"""The process in which cells run: reads a batch from its standard input, answers with messages, knows no store.

It is started by `schedule` and may die at any time: by the system's memory killer, by a timeout of its parent, by a
bug in a compiled kernel. Nothing is lost then, since the parent writes every result as it arrives.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
import threading
import time
from typing import IO, Any

from . import cache

HEADER = struct.Struct("!Q")
FIELDS = ("outcome", "scalars", "certificates", "steps", "work", "seconds", "arrays", "data", "failure")


def send(stream: IO[bytes], message: Any) -> None:
    """Writes one length-prefixed message."""
    payload = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(HEADER.pack(len(payload)) + payload)
    stream.flush()


def receive(stream: IO[bytes]) -> Any | None:
    """Reads one message; ``None`` at the end of the stream, also in the middle of a message."""
    head = stream.read(HEADER.size)
    if len(head) < HEADER.size:
        return None
    (length,) = HEADER.unpack(head)
    payload = stream.read(length)
    return pickle.loads(payload) if len(payload) == length else None


def classify(error: BaseException) -> tuple[str, str]:
    """Status and one-line message of an exception that a batch raised."""
    from ..tasks.datasets import DatasetUnavailable

    text = " ".join(str(error).split())[:500] or type(error).__name__
    if isinstance(error, DatasetUnavailable):
        return "skipped", text
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        return "out_of_memory", text
    return "error", f"{type(error).__name__}: {text}"


def main() -> None:
    """Serves batches until standard input closes.

    The first message is ``("ready",)``, after all imports. A request is ``{"cells": [JSON of a resolved cell],
    "lanes": [(cell index, seed)]}``. Answers are ``("begin", [lane, …])`` for those that run side by side from now on,
    ``("progress", share of the request)``, ``("run", cell index, seed, fields)``, ``("failed", status, message)``
    for the lanes that are still missing, and ``("done",)``.
    """
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a print in a component must not corrupt the messages
    from . import train  # noqa: F401 - what a request needs, and takes seconds to import
    from .compiled import Compiled, keep

    if (place := cache.folder()) is not None:
        keep(place)
    compiled = Compiled()
    send(answers, ("ready",))
    while (request := receive(requests)) is not None:
        try:
            _serve(request, answers, compiled)
        except BrokenPipeError:
            return
        except Exception as error:  # any failure of a batch becomes its rows
            import traceback

            traceback.print_exc()
            send(answers, ("failed", *classify(error)))
        send(answers, ("done",))


def _end_with_parent(parent: int) -> None:
    """Ends this process once its parent is gone, however it went; a long compiled call would not notice."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _serve(request: dict[str, Any], answers: IO[bytes], compiled: Any) -> None:
    from ..tasks.spec import Cell
    from .train import Trainer, numerics, run_batch

    cells = [Cell.model_validate(cell) for cell in request["cells"]]
    index = {id(cell): i for i, cell in enumerate(cells)}
    lanes = [(cells[i], seed) for i, seed in request["lanes"]]

    def report(info: dict[str, Any]) -> None:
        if "begun" in info:
            send(answers, ("begin", [(index[id(cell)], seed) for cell, seed in info["begun"]]))
        else:
            send(answers, ("progress", info["done"]))

    with numerics(cells[0].precision):
        trainer = Trainer(*lanes[0], compiled)
        for result in run_batch(trainer, lanes, report):
            fields = {name: getattr(result, name) for name in FIELDS}
            send(answers, ("run", index[id(result.cell)], result.seed, fields))


if __name__ == "__main__":
    sys.exit(main())
