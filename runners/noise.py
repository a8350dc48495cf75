"""What moves on this machine though nothing changed: measured once per store, kept beside its runs in `noise.json`.

Metrics: the same cells on as many other seeds, and again on the same seeds. Times: the same cells again and again.
"""

from __future__ import annotations

import json
import math
import os
import statistics as stdlib_statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from filelock import FileLock
from scipy.special import stdtrit

from ..tasks import registry
from ..tasks.spec import TUNE_SEED, Cell, Limits
from . import provenance, schedule
from .changes import FAMILY_ERROR, Margin, shift
from .claim_data import value_of
from .records import Run, to_json
from .results import Store, StoreError
from .sides import Side

FILE = "noise.json"
OTHER_SEEDS = TUNE_SEED // 2  # added to a seed; runs of a store lie far below it
LEVEL = 0.95
LOCK_SECONDS = 30.0  # writing takes a moment


@dataclass(frozen=True)
class Noise:
    """What was measured at one tier on one device kind; empty where nothing was.

    `metrics`: cell digest -> label -> {`seeds`, `repeats`}: half-widths of the relative change that other seeds, and
    repeated runs, make. `times`: task -> {`deviation`, `repeats`}: standard deviation of the logarithm of the run time
    of the task's median run, and from how many repetitions.
    """

    metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
    times: Mapping[str, Mapping[str, float]]

    def floor(self, digest: str, label: str, *, paired: bool) -> float | None:
        """The half-width of a metric's change that noise alone makes; None where it was not measured."""
        return self.metrics.get(digest, {}).get(label, {}).get("repeats" if paired else "seeds")

    def time_floor(self, task: str, rows: int) -> float | None:
        """By how much the logarithm of a task's time may differ in one of `rows` tasks, but for 1% of comparisons.

        Deviations are pooled over tasks, since a few repetitions know theirs badly; a task that is noisier counts with
        its own.
        """
        if task not in self.times:
            return None
        freedom = sum(found["repeats"] for found in self.times.values())
        pooled = math.sqrt(sum(f["repeats"] * f["deviation"] ** 2 for f in self.times.values()) / freedom)
        deviation = max(pooled, self.times[task]["deviation"])
        return float(stdtrit(freedom, 1 - FAMILY_ERROR / (2 * rows))) * math.sqrt(2) * deviation


NOTHING = Noise({}, {})


def read(side: Side) -> Noise:
    """The noise measured on the side's store, tier and device.

    Raises:
        StoreError: the file is damaged.
    """
    found = _known(side).get(_key(side), {})
    return Noise(found.get("metrics", {}), found.get("times", {}))


def joined(first: Noise, second: Noise) -> Noise:
    """Of what both measured, the second."""
    return Noise({**first.metrics, **second.metrics}, {**first.times, **second.times})


def measure(
    side: Side,
    *,
    repeats: int = 3,
    jobs: int | None = None,
    notify: Callable[[schedule.Event], None] = lambda event: None,
) -> Noise:
    """Runs the side's cells, tuning apart, on other seeds and `repeats` times on the same, and stores what differed.

    The runs go to a temporary folder.

    Raises:
        StoreError: the side was made by other code than the current; or the file is damaged or cannot be written, which
            is found before anything runs.
    """
    if side.code != provenance.code_digest():
        raise StoreError(f"{side.name} was made by other code; `tangentbench run` it again, then measure its noise")
    _write(side, None)
    first = {(run.digest, run.seed): run for run in side.runs if run.role != "tune" and run.status == "ok"}
    cells = list(cells_of(first.values()))
    others = [cell.model_copy(update={"seeds": [seed + OTHER_SEEDS for seed in cell.seeds]}) for cell in cells]
    with tempfile.TemporaryDirectory() as folder, schedule.Crew() as crew:

        def ran(wanted: list[Cell], name: str, title: str) -> dict[tuple[str, int], Run]:
            store = Store(Path(folder) / name, create=True)
            options = {"code": side.code, "tier": side.tier, "jobs": jobs, "notify": notify}
            schedule.execute(wanted, store, crew=crew, title=title, **options)
            return {(run.digest, run.seed): run for run in store.runs()}

        elsewhere = ran(others, "others", "other seeds")
        # the store's own runs may have been timed beside others, on another day: they are no repetition
        again = [ran(cells, str(k), f"repetition {k + 1} of {repeats + 1}") for k in range(repeats + 1)]
    found = Noise(_metrics(cells, first, elsewhere, again), _times(again))
    _write(side, found)
    return found


@dataclass(frozen=True)
class TimeRatio:
    """Two runs of one cell by their times: seconds per `unit` (step, or run where nothing is trained)."""

    before: float
    after: float
    unit: str

    @property
    def log(self) -> float:
        """The logarithm of the ratio."""
        return math.log(self.after / self.before)


def time_ratio(pairs: Iterable[tuple[Run, Run]]) -> TimeRatio | None:
    """The pair whose ratio of times per step is the median, or the geometric mean of two such; None without times.

    Medians of both sides apart would not do: they may be of different cells, and move the other way.
    """
    times = [(a, b) for a, b in pairs if a.seconds.get("run", 0) > 0 and b.seconds.get("run", 0) > 0]
    if not times:
        return None
    times.sort(key=lambda pair: _per_step(pair[1]) / _per_step(pair[0]))
    middle = times[(len(times) - 1) // 2 : len(times) // 2 + 1]
    before, after = (stdlib_statistics.geometric_mean(_per_step(pair[side]) for pair in middle) for side in (0, 1))
    return TimeRatio(before, after, "step" if all(run.steps for pair in middle for run in pair) else "run")


def _per_step(run: Run) -> float:
    return run.seconds["run"] / max(run.steps, 1)


def cells_of(runs: Iterable[Run]) -> Iterator[Cell]:
    """The cells that were run, each with its seeds."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.digest, []).append(run)
    for group in groups.values():
        run, seeds = group[0], sorted(member.seed for member in group)
        limits = Limits().model_dump()
        yield Cell(**run.cell, task=run.task, coords=run.coords, role=run.role, seeds=seeds, limits=limits)  # pyright: ignore[reportArgumentType]


Runs = Mapping[tuple[str, int], Run]


def _metrics(
    cells: list[Cell], first: Runs, elsewhere: Runs, again: list[dict[tuple[str, int], Run]]
) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for cell in cells:
        for spec in cell.metrics:
            entry = registry.find("metric", spec["name"])
            margin = Margin(entry.margin, entry.negligible)
            own = _values(first, cell, spec["label"])
            other = _values(elsewhere, cell, spec["label"], OTHER_SEEDS)
            moved = shift(own, other, margin, paired=False)
            if moved is None:
                continue
            low, high = moved.interval(LEVEL)
            repeated = [shift(own, _values(runs, cell, spec["label"]), margin, paired=True) for runs in again]
            floors = {
                "seeds": moved.share((high - low) / 2),
                "repeats": max((abs(r.share(r.value) or 0.0) for r in repeated if r is not None), default=0.0),
            }
            found.setdefault(cell.digest, {})[spec["label"]] = {k: v for k, v in floors.items() if v is not None}
    return found


def _values(runs: Runs, cell: Cell, label: str, offset: int = 0) -> dict[int, float]:
    members = {seed: runs.get((cell.digest, seed + offset)) for seed in cell.seeds}
    found = {seed: value_of(run, label) for seed, run in members.items() if run is not None and run.status == "ok"}
    return {seed: value for seed, value in found.items() if not isinstance(value, str)}


def _times(again: list[dict[tuple[str, int], Run]]) -> dict[str, dict[str, float]]:
    """Per task the spread of its median time over the repetitions, each against the first."""
    found = {}
    for task in sorted({run.task for run in again[0].values()}):
        keys = [key for key, run in again[0].items() if run.task == task and all(key in runs for runs in again)]
        ratios = [time_ratio((again[0][key], runs[key]) for key in keys) for runs in again]
        offsets = [ratio.log for ratio in ratios if ratio is not None]
        if len(offsets) > 1:
            found[task] = {"deviation": float(np.std(offsets, ddof=1)), "repeats": len(offsets) - 1}
    return found


def _key(side: Side) -> str:
    return f"{side.tier} on {side.device}"


def _known(side: Side) -> dict[str, Any]:
    """What `FILE` says, tier by tier."""
    path = side.store.root / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}; `compare --self` writes it anew once it is removed") from error
    if not isinstance(found, dict) or not all(map(_is_noise, found.values())):
        raise StoreError(f"{path} holds no noise; `compare --self` writes it anew once it is removed")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _is_noise(part: Any) -> bool:
    """Whether this is what `_write` writes for a tier on a device."""
    if not isinstance(part, dict) or not all(isinstance(part.get(key, {}), dict) for key in ("metrics", "times")):
        return False
    cells, times = part.get("metrics", {}).values(), part.get("times", {}).values()
    leaves = [leaf for cell in cells if isinstance(cell, dict) for leaf in cell.values()]
    numbers = [leaf.values() for leaf in (*leaves, *times) if isinstance(leaf, dict)]
    whole = all(isinstance(item, dict) for item in (*cells, *leaves, *times))
    return whole and all(type(number) in (int, float) for group in numbers for number in group)


def _write(side: Side, found: Noise | None) -> None:
    """Adds what was found to `FILE`; without anything, checks that it could."""
    path = side.store.root / FILE
    spare = path.with_name(f".tmp-{FILE}")
    try:
        with FileLock(path.with_name(f".{FILE}.lock"), timeout=LOCK_SECONDS):
            known = _known(side)
            if found is not None:
                known[_key(side)] = {"code": side.code, "metrics": found.metrics, "times": found.times}
            spare.write_bytes(to_json(known))
            if found is None:
                spare.unlink()
            else:
                os.replace(spare, path)
    except OSError as error:  # filelock's Timeout is one, too
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
