"""Arenas: methods tuned on validation data under one budget, scored on other seeds, ranked as far as seeds can tell.

A seed that failed or diverged is worse than any score and is never dropped; one whose value is not certified is
neither, and its method gets no rank. A method's score, interval and relative score depend on its own runs and the task
file only: a new entrant changes no old score. Rank sets are relative.
"""

from __future__ import annotations

import math
import statistics as stdlib_statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..tasks import load, registry
from . import statistics
from .certificates import UNCERTIFIED, uncertified
from .records import Cell, Lookup, Run

WORK = "work_to_target"
_PENDING = ("not run", "interrupted")
_BROKEN = ("error", "timeout", "out_of_memory")


@dataclass(frozen=True)
class Choice:
    """How the tuning of one method ended.

    `state`: chosen, not run (a tuning run is missing), skipped (no data set), failed (execution did, at every grid
    point), or no stable point (each grid point failed or diverged on a tuning seed). `index`, `point`: the grid point
    chosen, with its median `validation` metric. `edge`: the point is the first or last of the grid, so a better one may
    lie outside. `detail`: why not, in words.
    """

    method: str
    state: str
    index: int | None = None
    point: dict[str, Any] | None = None
    validation: float | None = None
    edge: bool = False
    detail: str = ""


@dataclass(frozen=True)
class Row:
    """One method in one arena.

    `score`, `low`, `high`: median over scoring seeds with its 95% interval; None where the median seed failed, where an
    end is unbounded, or below six seeds. `rank_low`, `rank_high`: the ranks that cannot be excluded. `relative`: score
    over the frozen reference score. `work`: median per-example gradient evaluations until the target, None where the
    median seed never reached it; `reached` of `seeds` did. `seconds`: median, shown and never ranked. `failures`:
    scoring seeds by status or outcome. `state`: scored, failed, incomplete (a run is missing or not certified), not
    certified (none is), or the state of the choice.
    """

    method: str
    state: str
    point: dict[str, Any] | None = None
    edge: bool = False
    score: float | None = None
    low: float | None = None
    high: float | None = None
    rank_low: int | None = None
    rank_high: int | None = None
    relative: float | None = None
    work: float | None = None
    reached: int = 0
    seconds: float | None = None
    seeds: int = 0
    expected_seeds: int = 0
    failures: tuple[tuple[str, int], ...] = ()
    detail: str = ""
    stale: int = 0


@dataclass(frozen=True)
class Arena:
    """The board of one task: what was measured against what, and one row per method, best first.

    Rows are sorted by the first rank that cannot be excluded, then by median; those without a rank come last.
    """

    task: str
    title: str
    metric: str
    unit: str
    direction: str
    target: float
    budget: int
    reference: str
    reference_score: float
    tier: str
    rows: tuple[Row, ...]


def choose(task: Any, cells: Iterable[Cell], runs: Lookup) -> dict[str, Choice]:
    """The grid point of every method: best median validation metric over the tuning seeds, the first among equals.

    A grid point that failed, diverged or has no finite, certified value on any tuning seed is out.

    Args:
        task: a `tasks.load.Task` with a leaderboard.
        cells: its cells; those with role `tune` count, per method in the order of its grid.
        runs: looks a run up.
    """
    by_method: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.role == "tune":
            by_method.setdefault(cell.method["name"], []).append(cell)
    return {name: _choice(task, name, grid, runs) for name, grid in by_method.items()}


def board(
    task: Any,
    cells: Iterable[Cell],
    runs: Lookup,
    *,
    score_cell: Callable[[Any, str, dict[str, Any]], Cell] = load.score_cell,
    code: str | None = None,
) -> Arena:
    """The board of a task from stored runs; what is missing is shown as missing.

    Args:
        task: a `tasks.load.Task` with a leaderboard.
        cells: its tuning cells.
        runs: looks a run up.
        score_cell: (task, method, grid point) -> the cell to score; by default `tasks.load.score_cell`.
        code: the current code digest; runs of any other count as stale.

    Raises:
        ValueError: the task opens no arena.
    """
    rules = task.leaderboard
    if rules is None:
        raise ValueError(f"{task.id} has no leaderboard")
    cells = list(cells)
    reference = _get(rules, "reference")
    sign, unit, direction = _direction(cells, _get(rules, "metric"))
    entries = [
        _scored(choice, rules, score_cell(task, choice.method, choice.point), runs, sign, code)
        if choice.state == "chosen" and choice.point is not None
        else (Row(choice.method, choice.state, detail=choice.detail), None)
        for choice in choose(task, cells, runs).values()
    ]
    return Arena(
        task=task.id,
        title=task.title,
        metric=_get(rules, "metric"),
        unit=unit,
        direction=direction,
        target=_get(rules, "target"),
        budget=_get(rules, "budget"),
        reference=_get(reference, "method"),
        reference_score=_get(reference, "score"),
        tier=getattr(task, "tier", "") or "",
        rows=tuple(sorted(_ranked(entries), key=lambda row: _order(row, sign))),
    )


def _choice(task: Any, method: str, grid: Sequence[Cell], runs: Lookup) -> Choice:
    metric = _get(task.leaderboard, "validation_metric")
    sign = _direction(grid, metric)[0]
    medians: list[float] = []
    problems: Counter[str] = Counter()
    for cell in grid:
        results = [_value(runs(cell, seed), metric) for seed in cell.seeds]
        failed = [result for result in results if isinstance(result, str)]
        problems.update(failed)
        medians.append(math.inf if failed else sign * stdlib_statistics.median(results))  # pyright: ignore
    missing = sum(problems[name] for name in _PENDING)
    if missing:
        total = sum(len(cell.seeds) for cell in grid)
        return Choice(method, "not run", detail=f"{missing} of {total} tuning runs missing")
    if problems["skipped"]:
        return Choice(method, "skipped", detail=next((text for text in _messages(grid, runs) if text), ""))
    best = min(range(len(grid)), key=medians.__getitem__)
    if math.isinf(medians[best]):
        ran = any(name not in _BROKEN for name in problems)
        return Choice(method, "no stable point" if ran else "failed", detail=_counted(problems))
    point = registry.find("method", method).grid[best]
    return Choice(method, "chosen", best, dict(point), sign * medians[best], best in (0, len(grid) - 1))


def _scored(
    choice: Choice, rules: Any, cell: Cell, runs: Lookup, sign: int, code: str | None
) -> tuple[Row, list[float] | None]:
    """The row without its ranks, and the scores (lower is better, inf where a seed failed) if no run is missing."""
    found = [runs(cell, seed) for seed in cell.seeds]
    results = [_value(run, _get(rules, "metric")) for run in found]
    ended = [(run, result) for run, result in zip(found, results, strict=True) if run and result not in _PENDING]
    present = [(run, result) for run, result in ended if result != UNCERTIFIED]
    # as it ran: a batch larger than the data set is cut to it
    point = {option: cell.method[option] for option in choice.point or {}}
    base = {"method": choice.method, "point": point, "edge": choice.edge, "expected_seeds": len(results)}
    lacking = {"missing": len(results) - len(ended), UNCERTIFIED: len(ended) - len(present)}
    detail = ", ".join(f"{n} of {len(results)} scoring runs {why}" for why, n in lacking.items() if n)
    if not ended:
        return Row(**base, state="not run", detail=detail), None
    if not present:
        return Row(**base, state=UNCERTIFIED, detail=detail), None
    if all(result == "skipped" for _, result in present):
        return Row(**base, state="skipped", detail=present[0][0].message), None
    losses = [math.inf if isinstance(result, str) else sign * result for _, result in present]
    median, low, high = statistics.median_interval(losses)
    ends = (low, high) if sign > 0 else (-high, -low)
    work = [_work(run, result) for run, result in present]
    complete = len(present) == len(results)
    score = sign * median if math.isfinite(median) else None
    reference = _get(_get(rules, "reference"), "score")
    row = Row(
        **base,
        state="failed" if score is None else "scored" if complete else "incomplete",
        score=score,
        low=ends[0] if math.isfinite(ends[0]) else None,
        high=ends[1] if math.isfinite(ends[1]) else None,
        relative=score / reference if score is not None and reference else None,
        work=_finite_median(work),
        reached=sum(map(math.isfinite, work)),
        seconds=_finite_median([run.seconds["run"] for run, _ in present if "run" in run.seconds]),
        seeds=len(present),
        failures=tuple(Counter(result for _, result in present if isinstance(result, str)).most_common()),
        detail=detail,
        stale=sum(run.code != code for run, _ in present) if code is not None else 0,
    )
    return row, losses if complete else None


def _ranked(entries: Sequence[tuple[Row, list[float] | None]]) -> list[Row]:
    """Rows with rank sets, for the methods whose runs are all there."""
    ranked = [(position, losses) for position, (_, losses) in enumerate(entries) if losses is not None]
    rows = [row for row, _ in entries]
    if ranked and len({len(losses) for _, losses in ranked}) == 1:
        scores = np.array([losses for _, losses in ranked])
        finite = scores[np.isfinite(scores)]
        # losses span decades: differences of logarithms keep one bad seed from hiding every difference of the others
        scores = np.sign(finite.sum()) * np.log(np.abs(scores)) if finite.size and _one_sign(finite) else scores
        for (position, _), (low, high) in zip(ranked, statistics.rank_sets(scores), strict=True):
            rows[position] = replace(rows[position], rank_low=low, rank_high=high)
    return rows


def _one_sign(values: np.ndarray) -> bool:
    return bool((values > 0).all() or (values < 0).all())


def _order(row: Row, sign: int) -> tuple[Any, ...]:
    # ranks compare means of paired differences, which medians may contradict, and put a failed seed last
    rank = math.inf if row.rank_low is None else row.rank_low
    score = math.inf if row.score is None else sign * row.score
    return (rank, score, row.state == "not run", row.method)


def _value(run: Run | None, metric: str) -> float | str:
    """The metric, or the word for why it does not count."""
    if run is None:
        return "not run"
    if run.status != "ok":
        return run.status
    value = run.scalars.get(metric)
    if run.outcome == "divergent" or value is None or not math.isfinite(value):
        return run.outcome if run.outcome == "divergent" else "no value"
    return UNCERTIFIED if uncertified(run, metric) else value


def _work(run: Run, result: float | str) -> float:
    value = None if isinstance(result, str) else run.scalars.get(WORK)
    return math.inf if value is None else value


def _finite_median(values: Sequence[float]) -> float | None:
    median = stdlib_statistics.median(values) if values else math.inf
    return median if math.isfinite(median) else None


def _direction(cells: Iterable[Cell], label: str) -> tuple[int, str, str]:
    """+1 where lower is better and −1 where higher is, unit and direction of the metric with this label."""
    names = {metric.get("label", metric["name"]): metric["name"] for cell in cells for metric in cell.metrics}
    entry = registry.find("metric", names.get(label, label))
    return -1 if entry.direction == "higher" else 1, entry.unit, entry.direction


def _messages(cells: Iterable[Cell], runs: Lookup) -> Iterable[str]:
    found = (runs(cell, seed) for cell in cells for seed in cell.seeds)
    return (run.message for run in found if run is not None and run.status == "skipped")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.most_common())


def _get(rules: Any, name: str) -> Any:
    """A field of a pydantic model or a mapping."""
    return rules[name] if isinstance(rules, Mapping) else getattr(rules, name)
