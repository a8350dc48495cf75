"""Run times of two sides, task by task, against the noise of this machine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from .compare_rows import Pair, Row
from .noise import Noise, time_ratio
from .records import Run

MARGIN = 0.1
"""Share by which a task may take longer, or less, and still be equally fast."""


def speeds(pairs: Iterable[Pair], noise: Noise) -> Iterator[Row]:
    """One row per task: the equal cells and seeds whose ratio of times per step is the median, compilation apart.

    Where no seed is on both sides any two of a cell do, since how long a step takes does not depend on the draw.
    Without measured noise nothing is decided: on a shared machine twice the time is no news.
    """
    by_task: dict[str, list[tuple[Run, Run]]] = {}
    for pair in pairs:
        seeds = [pair.common] * 2 if pair.common else [sorted(pair.before), sorted(pair.after)]
        both = [(pair.before[a], pair.after[b]) for a, b in zip(*seeds, strict=False)]
        by_task.setdefault(pair.first.task, []).extend((a, b) for a, b in both if a.status == b.status == "ok")
    found = {task: times for task, runs in by_task.items() if (times := time_ratio(runs)) is not None}
    for task, times in found.items():
        ratio = times.log
        same = all(a == b for a, b in by_task[task])  # the very same runs have no noise
        floor = 0.0 if same else noise.time_floor(task, len(found))
        low, high = (None, None) if floor is None else (math.expm1(ratio - floor), math.expm1(ratio + floor))
        yield Row(
            "speed",
            task,
            "",
            f"seconds per {times.unit}",
            verdict(ratio, floor),
            unit="s",
            direction="lower",
            before=times.before,
            after=times.after,
            change=math.expm1(ratio),
            low=low,
            high=high,
            margin=MARGIN,
            floor=None if floor is None else math.expm1(floor),
            seeds_before=len(by_task[task]),
            seeds_after=len(by_task[task]),
            identical=same,
            note="the margin is below the noise" if floor is not None and math.expm1(floor) > MARGIN else "",
        )


def verdict(ratio: float, floor: float | None) -> str:
    """faster, slower, equivalent or undecided, from the logarithm of a ratio of times and its noise."""
    bound = math.log1p(MARGIN)
    if floor is None:
        return "undecided"
    if abs(ratio) - floor > bound:
        return "slower" if ratio > 0 else "faster"
    return "equivalent" if abs(ratio) + floor <= bound else "undecided"
