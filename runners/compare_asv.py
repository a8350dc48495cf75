"""Two commits by what asv stored of them: kernels' times and counts, and the science's seeds, with our verdicts.

asv knows no direction and prints a bare ratio where it has no statistics. Here counts are exact and any move of them is
real; times are decided by asv's own intervals against the margin of times; what `benchmarks/science.py` exported is
turned back into the metric and judged as a stored run is, by its margin, its direction and its paired seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..tasks import registry
from . import compare_speed, provenance
from .changes import family_level
from .compare_rows import Finding, Row, moved
from .comparison import KINDS, Comparison
from .results import StoreError

PREFIX = "asv:"
UNSAMPLED = "no samples of the seeds; `asv run --record-samples` keeps them"


@dataclass(frozen=True)
class Measured:
    """What asv stored of one benchmark: None where it failed.

    `samples`: None unless they were recorded. `stats`: asv's, of times and samples; empty of a single number.
    """

    value: float | None
    samples: tuple[float, ...] | None
    stats: Mapping[str, Any]
    version: str
    error: str = ""

    @property
    def logs(self) -> tuple[float, float] | None:
        """Ends of asv's 99% interval, as logarithms; None where it is unbounded."""
        ends = [self.stats.get(name) for name in ("ci_99_a", "ci_99_b")]
        good = all(isinstance(end, int | float) and 0 < end < math.inf for end in ends)
        return (math.log(ends[0]), math.log(ends[1])) if good else None  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class AsvSide:
    """The results of one commit on one machine, by benchmark."""

    name: str
    commit: str
    machine: str
    environment: str
    found: Mapping[str, Measured]

    def words(self) -> str:
        parts = [f"commit {self.commit[:10]}", self.machine, self.environment, f"{len(self.found)} benchmarks"]
        return f"{self.name} ({', '.join(parts)})"


def between(before: str, after: str) -> Comparison:
    """Compares `asv:REV` with another, or `asv:REV@MACHINE` where several machines have both.

    Raises:
        StoreError: one of them is something else or has no results, or asv is not installed.
    """
    names = (before, after)
    if not all(name.startswith(PREFIX) for name in names):
        raise StoreError(f"{before} and {after}: results of asv are compared with results of asv; write asv:REV twice")
    folder, attributes = _opened()
    wanted = [_named(folder, name.removeprefix(PREFIX)) for name in names]
    machines = [machine for machine in _machines(folder) if all(asked in (None, machine) for _, asked in wanted)]
    sides = [[_side(folder, name, machine, commit) for machine in machines]
             for name, (commit, _) in zip(names, wanted, strict=True)]  # fmt: skip
    for name, found in zip(names, sides, strict=True):
        if not any(found):
            raise StoreError(f"asv has no results of {name.removeprefix(PREFIX)}; `asv run --record-samples REV^!`")
    both = [(a, b) for a, b in zip(*sides, strict=True) if a is not None and b is not None]
    if len(both) != 1:
        which = ", ".join(a.machine for a, _ in both) or "none"
        raise StoreError(f"machines with results of both: {which}; choose one as in {before}@MACHINE")
    return compare(*both[0], attributes)


def compare(before: AsvSide, after: AsvSide, attributes: Mapping[str, Mapping[str, Any]]) -> Comparison:
    """Compares two sides; ``attributes`` are those of each benchmark (`benchmarks.json`)."""
    findings = [
        _finding(name, before.found.get(name), after.found.get(name), attributes[name])
        for name in sorted((before.found.keys() | after.found.keys()) & attributes.keys())
    ]
    level = family_level(sum(finding.may_err for finding in findings))
    rows = [finding.settled(level) for finding in findings]
    rows.sort(key=lambda row: KINDS.index(row.kind))
    notes = []
    if before.environment != after.environment:
        notes.append(f"other environments, {before.environment} and {after.environment}: not the code alone")
    return Comparison(before.words(), after.words(), "asv", level, (), tuple(rows), tuple(notes))


def _finding(name: str, a: Measured | None, b: Measured | None, about: Mapping[str, Any]) -> Finding:
    """One benchmark of two commits."""
    science, exact = "metric" in about, bool(about.get("exact"))
    timed = about.get("type") == "time" or about.get("unit") == "s"
    kind = "metric" if science else "speed" if timed else "count"
    task, _, metric = name.removeprefix("science.track_" if science else "kernels.").rpartition(".")
    row = Row(kind, task or name, "", about.get("metric") or metric.removeprefix("track_"), "undecided",
              unit=str(about.get("unit") or ""), direction="lower")  # fmt: skip
    if science:
        row = replace(row, task=name.removeprefix("science.track_"))
    if a is None or b is None:
        return Finding(replace(row, verdict="missing", note=f"only {'after' if a is None else 'before'}"))
    if a.version != b.version:
        return Finding(replace(row, verdict="incomparable", note="another version of the benchmark"))
    if a.value is None or b.value is None:
        verdict = "missing" if a.value is b.value else "worse" if b.value is None else "better"
        return Finding(replace(row, verdict=verdict, note=f"failed {'after' if b.value is None else 'before'}: "
                               f"{(b if b.value is None else a).error or 'no message'}"))  # fmt: skip
    if science:
        return _metric(row, a, b, about)
    change = math.expm1(math.log(b.value / a.value)) if a.value > 0 and b.value > 0 else None
    row = replace(row, before=a.value, after=b.value, change=change)
    if exact:
        verdict = "equivalent" if a.value == b.value else "worse" if b.value > a.value else "better"
        same = a.value == b.value
        return Finding(replace(row, verdict=verdict, low=change, high=change, margin=0.0, identical=same))
    if kind == "count":  # a peak of memory: one number, and no noise of it is known
        bound = math.log1p(compare_speed.MARGIN)
        ratio = math.log1p(change) if change is not None else 0.0
        verdict = "equivalent" if abs(ratio) <= bound else "worse" if ratio > 0 else "better"
        return Finding(replace(row, verdict=verdict, margin=compare_speed.MARGIN))
    return Finding(_time(row, a, b))


def _time(row: Row, a: Measured, b: Measured) -> Row:
    """A time by the intervals of both sides, which hold together where either end is the worse one."""
    row = replace(row, margin=compare_speed.MARGIN)
    if a.logs is None or b.logs is None:
        return replace(row, note="too few samples for an interval")
    low, high = b.logs[0] - a.logs[1], b.logs[1] - a.logs[0]
    bound = math.log1p(compare_speed.MARGIN)
    verdict = "slower" if low > bound else "faster" if high < -bound else "undecided"
    if -bound <= low and high <= bound:
        verdict = "equivalent"
    return replace(row, verdict=verdict, low=math.expm1(low), high=math.expm1(high))


def _metric(row: Row, a: Measured, b: Measured, about: Mapping[str, Any]) -> Finding:
    """A metric of the suite, from views of its seeds."""
    entry = registry.table("metric").get(about["metric"])
    if entry is None:
        return Finding(replace(row, verdict="incomparable", note="no such metric here"))
    row = replace(row, direction=entry.direction, unit=entry.unit)
    if a.samples is None or b.samples is None:
        return Finding(replace(row, note=UNSAMPLED))
    # one version: one cell, whose seeds are in order
    row = replace(row, paired=len(a.samples) == len(b.samples))
    values = [dict(enumerate(seen(about["view"], entry.direction, v) for v in side.samples or ())) for side in (a, b)]
    return moved(row, values[0], values[1], entry, (len(values[0]), len(values[1])))


def seen(view: str, direction: str, value: float) -> float:
    """The metric's value from its view, see `benchmarks/science.py`."""
    better = -1.0 if direction == "higher" else 1.0
    return better * math.log(value) if view == "exponential" else value**better


def _opened() -> tuple[Path, dict[str, Any]]:
    """asv's folder of results, and what it knows of the benchmarks."""
    root = provenance.repository()
    if root is None or not (root / "asv.conf.json").is_file():
        raise StoreError("results of asv are read in a clone of the suite, with git installed")
    try:
        from asv import benchmarks, util
        from asv.config import Config
    except ImportError as error:
        raise StoreError("asv is not installed; `pip install 'tangentbench[dev]'` brings it") from error
    try:
        conf = Config.load(str(root / "asv.conf.json"))
        folder = root / conf.results_dir
        known = util.load_json(str(folder / "benchmarks.json"), api_version=benchmarks.Benchmarks.api_version)
    except (util.UserError, OSError) as error:
        raise StoreError(f"asv has no results here ({error}); `asv run --record-samples REV^!` stores them") from error
    return folder, {name: about for name, about in known.items() if isinstance(about, dict)}


def _named(folder: Path, text: str) -> tuple[str, str | None]:
    """Full commit name and machine of `REV` or `REV@MACHINE`."""
    revision, sign, machine = text.rpartition("@")
    if not sign or machine not in _machines(folder):
        revision, machine = text, None
    commit = provenance.commit_of(revision)
    if commit is None:
        raise StoreError(f"no commit is called {revision!r} here; give `git log`'s name of one")
    return commit, machine


def _machines(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/machine.json"))


def _side(folder: Path, name: str, machine: str, commit: str) -> AsvSide | None:
    """The newest results of a commit on a machine; None where there are none."""
    from asv import results

    found = [one for one in results.iter_results_for_machine(str(folder), machine) if one.commit_hash == commit]
    if not found:
        return None
    newest = max(found, key=lambda one: max(one.started_at.values(), default=0))
    return AsvSide(name, commit, machine, newest.env_name, dict(_measured(newest)))


def _measured(found: Any) -> Iterator[tuple[str, Measured]]:
    for name in found.get_all_result_keys():
        params = found.get_result_params(name)
        values, samples, stats = (
            read(name, params)
            for read in (found.get_result_value, found.get_result_samples, found.get_result_stats)
        )  # fmt: skip
        if len(values) != 1:  # no benchmark of ours has parameters
            continue
        value = values[0] if isinstance(values[0], int | float) and math.isfinite(values[0]) else None
        error = (found.stderr.get(name) or "").strip().splitlines()
        sampled = tuple(map(float, samples[0])) if samples and samples[0] else None
        version = str(found.benchmark_version.get(name))
        yield name, Measured(value, sampled, (stats or [None])[0] or {}, version, error[-1] if error else "")
