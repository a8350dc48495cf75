"""Every metric that a claim of the suite rests on, over commits, with seeds as samples.

One benchmark per task and metric, taken in the cell that its first claim looks at (of a sweep, one of its
ends). asv knows no direction: to it smaller is better, and it compares ratios. So what is exported is a positive view
of which less is better (`view`), the metric's own direction travels in the attribute `better`, and `tangentbench
compare` is what decides. A failed or diverged seed fails the benchmark: it has a status and an outcome in the store,
and no number here may stand for it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUITE = Path(__file__).resolve().parent.parent / "tasks" / "suite"
VIEW = "1"  # raised when `view` changes
LARGEST_POWER = 700.0  # of e that is a number
LEAST_SEEDS = 8  # asv can never call six samples different from six
MAY_VANISH = frozenset(
    {
        "agop_alignment", "bulk_loss", "catapults", "convex_from", "convexity_constant", "decay_violation",
        "feature_alignment", "largest_rise", "orthogonal_curvature", "restricted_curvature",
        "restricted_curvature_margin", "sgd_catapults", "top_share_of_spike",
    }
)  # fmt: skip
"""Metrics whose value may be zero or negative; of any other, such a value is an error."""

Samples = dict[str, Any]


@dataclass(frozen=True)
class Track:
    """A metric of a task, in one cell of its smoke tier.

    Attributes:
        path: the task file.
        label: the metric as the task calls it; ``name`` as the registry does.
        where: sweep coordinates of the cell.
        version: digest of what the task means and of what is read from it; asv never compares two versions.
    """

    task: str
    path: str
    label: str
    name: str
    where: dict[str, Any]
    version: str

    @property
    def benchmark(self) -> str:
        return "_".join(["track", *self.task.replace("/", "_").split("-"), self.label])


def tracks(suite: Path = SUITE) -> list[Track]:
    """All of them, from the task files of the working tree: the same questions to the package of every commit.

    A task that the commit's package does not understand is left out.
    """
    from tangentbench.tasks import load

    found: list[Track] = []
    for path in sorted(suite.rglob("*.yaml")):
        try:
            task = load.load_task(str(path), tier="smoke")
        except load.TaskFileError:
            continue
        found += _of_task(task, path.relative_to(suite).with_suffix("").as_posix(), path)
    return found


def _of_task(task: Any, name: str, path: Path) -> Iterator[Track]:
    from tangentbench.tasks import load

    cells = load.cells(task)
    digests = "".join(cell.digest for cell in cells)
    names = {metric.get("label", metric["name"]): metric["name"] for cell in cells for metric in cell.metrics}
    seen: set[str] = set()
    for claim in task.claims:
        label = claim.options.get("metric")  # a control has no options
        if label is None or label in seen:
            continue
        seen.add(label)
        where = {axis: value[0] if isinstance(value, list) else value for axis, value in claim.where.items()}
        where |= claim.options.get("between", [{}])[0]
        if along := claim.options.get("along"):
            here = [cell.coords for cell in cells if all(cell.coords[axis] == where[axis] for axis in where)]
            end = min if claim.options.get("direction") == "decreasing" else max  # where there is most to see
            where[along] = end(coords[along] for coords in here)
        metric = names.get(label, label)
        parts = [VIEW, digests, label, repr(sorted(where.items())), str(metric in MAY_VANISH)]
        version = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
        yield Track(name, str(path), label, metric, where, version)


def view(name: str, direction: str, value: float) -> float:
    """A positive number that falls as the metric gets better (or, where neither way is better, as it falls).

    A metric that may vanish is exported as its exponential: a difference d is then a factor exp(d).

    Raises:
        ValueError: no finite positive number comes out.
    """
    better = -1.0 if direction == "higher" else 1.0
    if name in MAY_VANISH:
        seen = math.exp(better * value) if better * value < LARGEST_POWER else math.inf
    else:
        seen = value**better if value > 0 else 0.0
    if not (math.isfinite(seen) and seen > 0):
        hint = "" if name in MAY_VANISH else "; if it may vanish, add it to MAY_VANISH"
        raise ValueError(f"{name} = {value!r} has no view for asv{hint}")
    return seen


def samples(table: Any, track: Track) -> list[float]:
    """The metric's value for every seed of the track's cell.

    Raises:
        ValueError: a seed is missing, failed, diverged, or has no finite number.
    """
    rows = table[(table["metric"] == track.label)]
    for axis, value in track.where.items():
        rows = rows[rows[axis] == value]
    values = [float(value) for value in rows.sort_values("seed")["value"]]
    failed = set(rows["status"]) != {"ok"} or "divergent" in set(rows["outcome"])
    if (
        len(values) < LEAST_SEEDS
        or len(set(rows["seed"])) != len(values)
        or failed
        or not all(map(math.isfinite, values))
    ):
        raise ValueError(f"{track.label} of {track.task}: no finite numbers from {LEAST_SEEDS} seeds")
    return values


def setup_cache() -> dict[str, list[float] | str]:
    """Runs the suite once for all benchmarks below: samples, or why there are none, by benchmark.

    Runs lie in asv's temporary folder; what fails takes nothing else with it.
    """
    from tangentbench.runners import run

    found: dict[str, list[float] | str] = {}
    for path in dict.fromkeys(track.path for track in TRACKS):
        ours = [track for track in TRACKS if track.path == path]
        try:
            table = run(path, tier="smoke", results="results")
        except Exception as error:  # whatever a commit of long ago does with a task of today
            found |= {track.benchmark: f"{type(error).__name__}: {error}" for track in ours}
            continue
        for track in ours:
            try:
                found[track.benchmark] = samples(table, track)
            except ValueError as error:
                found[track.benchmark] = str(error)
    return found


setup_cache.timeout = 900  # pyright: ignore[reportFunctionMemberAccess]


def benchmark(track: Track) -> Callable[[dict[str, list[float] | str]], Samples]:
    """The function that asv calls: it only reads."""
    from tangentbench.tasks import registry

    entry = registry.find("metric", track.name)

    def read(cache: dict[str, list[float] | str]) -> Samples:
        found = cache[track.benchmark]
        if isinstance(found, str):
            raise ValueError(found)
        return {"samples": [view(track.name, entry.direction, value) for value in found], "number": 1}

    read.__name__ = track.benchmark
    read.__doc__ = f"{track.label} of {track.task}, {track.where or 'its one cell'}: {entry.summary}"
    attributes = {
        "benchmark_name": f"science.{track.benchmark}", "version": track.version, "timeout": 60,
        "unit": "view" if track.name in MAY_VANISH or entry.direction == "higher" else entry.unit,
        "better": entry.direction, "metric": track.name, "type": "track",
        "view": "exponential" if track.name in MAY_VANISH else "power",
    }  # fmt: skip
    for name, value in attributes.items():
        setattr(read, name, value)
    return read


TRACKS = tracks()
for _track in TRACKS:
    globals()[_track.benchmark] = benchmark(_track)
