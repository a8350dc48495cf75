"""Contract of a data set: `(generator, **options) -> Dataset`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.random import PCG64, Generator

from ...tasks.datasets import Dataset, DatasetUnavailable
from ...tasks.entry import Entry
from .common import DIFFERENCE, NotApplicable, entry_is_complete, need, need_close, options_are_documented, validated

SPLITS = ("train", "validation", "test")
ANOTHER = """
import json, sys
from numpy.random import PCG64, Generator
from tangentbench.tasks.entry import resolve
print(resolve(sys.argv[1])(Generator(PCG64(1)), **json.loads(sys.argv[2])).content_hash())
"""


@dataclass
class Subject:
    """A data set at its example's options."""

    entry: Entry

    @cached_property
    def options(self) -> Any:
        return validated(self.entry, {})

    def draw(self, seed: int, **changes: Any) -> Dataset:
        """The data of one seed; `NotApplicable` where files are missing."""
        options = validated(self.entry, changes).model_dump(mode="json")
        try:
            return self.entry.load()(Generator(PCG64(seed)), **options)
        except DatasetUnavailable as error:
            raise NotApplicable(str(error)) from None

    @cached_property
    def data(self) -> Dataset:
        return self.draw(1)


def entry(subject: Subject) -> None:
    entry_is_complete(subject.entry)


def options(subject: Subject) -> str | None:
    return options_are_documented(subject.entry)


def shapes(subject: Subject) -> str:
    need(isinstance(subject.data, Dataset), f"gives {type(subject.data).__name__}, not a tasks.datasets.Dataset")
    asked = {"train": subject.options.train_size}
    asked |= {name: getattr(subject.options, name, 0) for name in SPLITS[1:]}
    for name, size in asked.items():
        split = getattr(subject.data, name)
        need((0 if split is None else len(split.x)) == size, f"{name} has other than the {size} examples asked for")
        if split is not None:  # `Split` itself refuses what is no float64 matrix
            need(np.all(np.isfinite(split.x)) and np.all(np.isfinite(split.y)), f"{name} holds NaN or infinity")
    for name in SPLITS[1:]:
        if hasattr(subject.options, name):
            need(getattr(subject.draw(1, **{name: 0}), name) is None, f"{name}: 0 must give no {name} split")
    return f"{subject.data.in_size} inputs, {subject.data.out_size} targets"


def targets(subject: Subject) -> str:
    declared = "classification" in subject.options.offers
    need(declared == (subject.data.task == "classification"), f"the data are {subject.data.task}, `offers` differs")
    if declared:
        for split in _splits(subject.data):
            one = split.y.shape[1] == 1
            rows = np.isin(split.y, (-1.0, 1.0)) if one else np.isin(split.y, (0.0, 1.0)) & (_sums(split.y) == 1)
            need(np.all(rows), "labels are neither -1 and 1 in one column nor one-hot rows")
    return subject.data.task


def _sums(y: np.ndarray) -> np.ndarray:
    return np.sum(y, axis=1, keepdims=True)


def _splits(data: Dataset) -> list[Any]:
    return [split for name in SPLITS if (split := getattr(data, name)) is not None]


def determinism(subject: Subject) -> None:
    state = np.random.get_state()
    try:
        hashes = []
        for seed in (1, 2):
            np.random.seed(seed)
            hashes.append(subject.draw(1).content_hash())
    finally:
        np.random.set_state(state)
    need(hashes[0] == hashes[1], "two draws from one generator differ: take every number from the generator given")
    need(subject.draw(2).content_hash() != hashes[0], "another generator gives the same data: the seed has no effect")


def splits(subject: Subject) -> None:
    rows = [{row.tobytes() for row in split.x} for split in _splits(subject.data)]
    if len(rows) == 1:
        raise NotApplicable("it has a training split only")
    for i, some in enumerate(rows):
        for others in rows[i + 1 :]:
            need(not some & others, f"{len(some & others)} examples are in two splits")


def content_hash(subject: Subject) -> str:
    words = [subject.entry.build, json.dumps(subject.options.model_dump(mode="json"))]
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    found = subject.data.content_hash()
    done = subprocess.run([sys.executable, "-c", ANOTHER, *words], capture_output=True, text=True, env=environment)
    last = (done.stderr.strip().splitlines() or [""])[-1]
    need(done.returncode == 0, f"it cannot be drawn in another process: {last}")
    need(done.stdout.strip() == found, "another process draws other data: something depends on Python's hash seed")
    return found[:12]


def agop(subject: Subject) -> None:
    data = subject.data
    known = data.agop is not None or data.pool is not None
    need(("agop" in subject.options.offers) == known, "`offers` says otherwise than the data of AGOP")
    if data.agop is None:
        raise NotApplicable("its true function is not known")
    need(data.function is not None, "`Dataset.function` is missing: the true function that the AGOP belongs to")
    assert data.function is not None
    for split in _splits(data)[1:]:  # training targets may have noise
        need_close(split.y, data.function(split.x), "targets are not those of the true function")
    step = 1e-5 * np.eye(data.in_size)
    x = data.train.x
    gradients = np.stack([(data.function(x + e) - data.function(x - e)) / 2e-5 for e in step], axis=-1)  # [n c d]
    need_close(data.agop, np.einsum("nci,ncj->ij", gradients, gradients) / len(x), "AGOP", DIFFERENCE)
