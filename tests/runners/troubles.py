"""A plug-in distribution that goes wrong on purpose, installed by putting its folder on PYTHONPATH.

Its data set `trouble` is fine until its `at`-th call (counted over all processes in the file `log`, one line per
call) and then does what `how` says, once or every time; or it does so for the `bad` seeds alone, whenever they are
built. Its metric `broken` raises. Workers are separate processes, so nothing of this can be patched in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tangentbench.tasks.spec import Cell

from .tiny import tiny_cell

ENTRIES = '''
"""Components that go wrong."""

from typing import Annotated, Literal

from pydantic import Field

from tangentbench.tasks.dataset_options import DatasetOptions
from tangentbench.tasks.registry import Entry, MetricEntry


class TroubleOptions(DatasetOptions):
    how: str = "fine"
    log: str
    at: int = 1
    again: bool = False
    bad: list[int] | None = None


trouble = Entry("dataset", "trouble", "Goes wrong", "nowhere", "troubles.parts:trouble", "troubles:TroubleOptions")
broken = MetricEntry(
    "metric", "broken", "Raises", "nowhere", "troubles.parts:broken", at=("start", "end"), definition="none"
)
'''

PARTS = '''
"""What the entries build."""

import os
import signal
import sys
import time

import numpy as np

from tangentbench.tasks import streams
from tangentbench.tasks.datasets.base import Dataset, DatasetUnavailable, Split

STREAM = 900  # of the cells


def trouble(rng, *, how, log, at, again, bad):
    x = rng.normal(size=(2, 3))
    with open(log, "a") as file:
        file.write(f"{how}\\\\n")
    with open(log) as file:
        calls = len(file.readlines())
    print("a print in a component")
    if (calls == at or (again and calls > at)) if bad is None else any(np.array_equal(x, drawn(seed)) for seed in bad):
        go_wrong(how)
    return Dataset(Split(x, np.ones((2, 1))), None, None, "regression")


def drawn(seed):
    return streams.generator(STREAM, "data", seed).normal(size=(2, 3))


def go_wrong(how):
    if how == "exit":
        print("the last words", file=sys.stderr, flush=True)
        os._exit(3)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "sleep":
        time.sleep(60)
    if how == "raise":
        raise ValueError("first line\\\\nsecond line")
    if how == "memory":
        raise MemoryError("no room")
    if how == "unavailable":
        raise DatasetUnavailable("no files", "download them")


def broken(ctx, model):
    raise RuntimeError("a metric that raises")
'''

POINTS = """[tangentbench.datasets]
trouble = troubles:trouble
[tangentbench.metrics]
broken = troubles:broken
"""


def install(folder: Path) -> Path:
    """Writes the distribution into a folder, and returns the folder."""
    package, info = folder / "troubles", folder / "troubles-1.0.dist-info"
    for path in (package, info):
        path.mkdir(parents=True)
    (package / "__init__.py").write_text(ENTRIES.lstrip())
    (package / "parts.py").write_text(PARTS.lstrip().replace("\\\\", "\\"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: troubles\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    return folder


def trouble_cell(
    how: str,
    log: Path,
    seeds: int = 1,
    *,
    at: int = 1,
    again: bool = False,
    bad: list[int] | None = None,
    **changes: Any,
) -> Cell:
    """A cell that measures nothing but builds its data: the worker's answer takes milliseconds."""
    dataset = {"name": "trouble", "how": how, "log": str(log), "at": at, "again": again, "bad": bad}
    fields: dict[str, Any] = {"task": f"trouble/{how}", "dataset": dataset, "metrics": [], "seeds": list(range(seeds))}
    return tiny_cell(**{**fields, "stop": {"steps": 0, "train_loss": None, "relative_loss": None}, **changes})


def calls(log: Path) -> int:
    """How often the data were built."""
    return len(log.read_text().splitlines()) if log.exists() else 0
