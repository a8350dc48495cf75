"""A task whose version stays asks for the same cells: otherwise stored runs no longer count, and nobody is told why.

After a change that is meant, raise the version of the task in its file, or say in the changelog why its runs are void,
and write the pins anew: `python tests/tasks/test_digests.py`.
"""

import hashlib
import json
from pathlib import Path

from tangentbench.tasks import catalog, load

PINS = Path(__file__).with_name("digests.json")


def found() -> dict[str, dict[str, object]]:
    """Task id -> its version and a hash of what its cells at the laptop tier are named by."""
    digests = {}
    for task_id in catalog.catalog():
        task = load.load_task(task_id, "laptop")
        names = "\n".join(sorted(cell.digest for cell in load.cells(task)))
        digests[task_id] = {"version": task.spec.version, "cells": hashlib.sha256(names.encode()).hexdigest()[:16]}
    return digests


def test_cells_of_a_version_keep_their_names():
    pinned, now = json.loads(PINS.read_text()), found()
    assert pinned.keys() == now.keys(), "a task came or went: write the pins anew"
    moved = {task_id for task_id in now if now[task_id] != pinned[task_id]}
    raised = {task_id for task_id in moved if now[task_id]["version"] != pinned[task_id]["version"]}
    assert not moved - raised, "other cells at the same version: was that meant?"
    assert not raised, "a new version: write the pins anew"


def test_the_name_follows_the_options():
    """What the pins hold moves with any option, even one that a default fills in."""
    (cell, *_) = load.cells(load.load_task("catapults/spikes_digits", "laptop"))
    assert cell.model_copy(update={"dataset": {**cell.dataset, "reference": None}}).digest != cell.digest


if __name__ == "__main__":
    PINS.write_text(json.dumps(found(), indent=1) + "\n")
