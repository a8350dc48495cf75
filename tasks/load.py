"""Task files: found by id, glob or path, merged with a tier, checked as a whole, resolved to cells.

The one door to tasks. Every tier of a file is checked whichever is asked for, and all mistakes are reported at once in
a `TaskFileError`. No jax, no numpy: `list`, `show` and `validate` start at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import arena_rules, registry, sweep
from . import claims as claim_reader
from .catalog import catalog, id_of, is_path, matching, suite, unknown
from .catalog import shown as shown_path
from .cells import Draft, SeedError, build, seeds_of, tune_seeds
from .claim_options import LEAST_SEEDS
from .collection import without_collection
from .document import Node, read
from .merge import DEFAULT_TIER, merge, without
from .problem import Problem, TaskFileError, counted, did_you_mean
from .registry import UnknownName
from .report import Report, describe
from .resolve import Resolver
from .schema import json_schema
from .spec import TIERS, Cell, Claim, Leaderboard, Paper, TaskSpec
from .task_file import FIXED, TaskFile

__all__ = [
    "Problem", "SeedError", "Task", "TaskFileError", "UnknownName", "catalog", "cells", "check", "find", "json_schema",
    "load_task", "load_tiers", "score_cell", "suite",
]  # fmt: skip


@dataclass(frozen=True)
class Task:
    """A valid task at one tier.

    Attributes:
        id: its path under the suite, without ``.yaml``.
        path: its file, as shown to the user.
        tier: smoke | laptop | paper.
        spec: the file's content with the tier merged.
        claims: its claims; coordinates are values of this tier.
    """

    id: str
    path: str
    tier: str
    spec: TaskSpec
    claims: tuple[Claim, ...]
    drafts: tuple[Draft, ...] = field(repr=False)

    @property
    def title(self) -> str:
        return self.spec.title

    @property
    def paper(self) -> Paper | None:
        return self.spec.paper

    @property
    def leaderboard(self) -> Leaderboard | None:
        return self.spec.leaderboard


def find(patterns: Iterable[str] = (), tier: str = DEFAULT_TIER, folder: str | Path | None = None) -> list[Task]:
    """The tasks that ids, families, globs or paths name, in that order, each once; all tasks without patterns.

    A glob that matches nothing gives nothing.

    Raises:
        TaskFileError: mistakes in any of the files, all of them.
        UnknownName: an id that does not exist.
    """
    known = catalog(folder)
    patterns = list(patterns)
    wanted: dict[str, str | Path] = {}
    for pattern in patterns:
        for name in matching(pattern, known):
            wanted[id_of(name, known)] = name if is_path(name) else known[name]
    if not patterns:
        wanted = dict(known)
    tasks, problems = [], []
    for name, path in wanted.items():
        try:
            # the suite's own files are checked at every tier by `validate`; others here, before they cost time
            tiers = (tier,) if folder is None and name in known else TIERS
            tasks.append(_load(path, shown_path(path), name, tier, tiers))
        except TaskFileError as error:
            problems += error.problems
    if problems:
        raise TaskFileError(problems)
    return tasks


# -- loading ----------------------------------------------------------------------------------------------------------


def load_task(
    path_or_id: str | Path,
    tier: str = DEFAULT_TIER,
    folder: str | Path | None = None,
    known: dict[str, Path] | None = None,
) -> Task:
    """The task of an id or a file, at a tier; ``known``: every task with its file, if they have been found already.

    Raises:
        TaskFileError: everything that is wrong with the file, at any tier.
        UnknownName: no task has this id, or there is no such tier.
    """
    return _load(*_found(path_or_id, catalog(folder) if known is None else known), tier)


def load_tiers(path_or_id: str | Path, folder: str | Path | None = None) -> dict[str, Task]:
    """The task of an id or a file at every tier; raises what `load_task` raises."""
    return _tiers(*_found(path_or_id, catalog(folder)), TIERS)


def _found(path_or_id: str | Path, known: dict[str, Path]) -> tuple[str | Path, str, str]:
    """(file, the file as shown, id) of a task."""
    name = str(path_or_id)
    if is_path(name):
        return name, name, id_of(name, known)
    if isinstance(path_or_id, Path):
        return name, name, path_or_id.stem
    if name not in known:
        raise unknown(name, known)
    return known[name], shown_path(known[name]), name


def check(
    names: Iterable[str], valid: Callable[[str, dict[str, Task]], None] = lambda name, tiers: None
) -> list[tuple[str, Problem]]:
    """Everything that is wrong with tasks given by id or path, at every tier, each with the name it was found under.

    ``valid`` is given the name of each task with which nothing is wrong, and the task at every tier.
    """
    known = catalog()
    problems: list[tuple[str, Problem]] = []
    for name in names:
        try:
            valid(name, _tiers(*_found(name, known), TIERS))
        except TaskFileError as error:
            problems += [(name, problem) for problem in error.problems]
        except UnknownName as error:
            problems.append((name, Problem(name, 0, 0, error.args[0], error.suggestion)))
    return problems


def _load(path: str | Path, shown: str, name: str, tier: str, checked: tuple[str, ...] = TIERS) -> Task:
    if tier not in TIERS:
        raise UnknownName("tier", tier, TIERS)
    return _tiers(path, shown, name, (tier,), checked)[tier]


@without_collection()
def _tiers(
    path: str | Path, shown: str, name: str, wanted: tuple[str, ...], checked: tuple[str, ...] = TIERS
) -> dict[str, Task]:
    """The task at some tiers, after checking those and others."""
    root = read(path, shown)
    report = Report(shown)
    overrides = _overrides(root, report)
    resolver = Resolver(report)
    base = without(root, "tiers")
    tasks: dict[str, Task | None] = {}
    for each in TIERS:
        if each in overrides and each in checked:
            tasks[each] = _at_tier(merge(base, overrides[each]), root, name, each, resolver)
    plain = [each for each in wanted if each not in overrides]
    if plain or len(overrides) < len(checked):
        # claims need less of smoke than of the others
        label = next((each for each in plain if each != "smoke"), (plain or wanted)[0])
        task = _at_tier(base, root, name, label, resolver)
        tasks |= {each: task and replace(task, tier=each) for each in plain}
    report.stop()
    return {each: task for each in wanted if (task := tasks[each]) is not None}


def _overrides(root: Node, report: Report) -> dict[str, Node]:
    """The file's tiers, as far as they are usable."""
    tiers = root.get("tiers")
    if tiers is None:
        return {}
    if not isinstance(tiers.value, dict):
        report.add(tiers, f"'tiers': expected a mapping, got {describe(tiers)}")
        return {}
    usable = {}
    for tier, (mark, node) in tiers.value.items():
        if tier not in TIERS:
            report.add(mark, f"unknown tier '{tier}'", did_you_mean(tier, TIERS))
        elif not isinstance(node.value, dict):
            report.add(node, f"tier '{tier}': expected a mapping, got {describe(node)}")
        else:
            for key in FIXED & node.value.keys():
                report.add(node.place((key,), key=True), f"'{key}' is the same in all tiers", "remove it")
            _known_claims(root, node, report)
            usable[tier] = without(node, *FIXED)
    return usable


def _known_claims(root: Node, override: Node, report: Report) -> None:
    changes, claims = override.get("claims"), root.get("claims")
    if changes is None or not isinstance(changes.value, dict):
        return
    items = claims.value if claims is not None and isinstance(claims.value, list) else []
    ids = [item.get("id").value for item in items if item.get("id") is not None]
    for name, (mark, _) in changes.value.items():
        if name not in ids:
            report.add(mark, f"no claim is called '{name}'", did_you_mean(name, [str(i) for i in ids]))


def _at_tier(merged: Node, root: Node, name: str, tier: str, resolver: Resolver) -> Task | None:
    """The task at one tier; ``None`` after reporting what is wrong."""
    report = resolver.report
    before = len(report.problems)
    swept = merged.get("sweep")
    points = sweep.points(swept, report)
    first = sweep.apply(merged, points[0])
    spec = report.model(TaskFile, first)
    arena = merged.get("leaderboard")
    board = report.model(Leaderboard, arena) if arena is not None and isinstance(arena.value, dict) else None
    if arena is None:
        _need_method(first, points, merged, report)
    else:
        arena_rules.check_arena(merged, board, report)
    drafts = resolver.drafts(merged, points if arena is None else [()], board) if arena is None or board else []
    if arena is None:
        resolver.check_base(merged, points[0])
    labels = _labels(merged)
    bisects = first.get("bisect") is not None
    coords = [{setting.axis: setting.coord for setting in point} for point in points]
    measured = merged.get("metrics")  # where they are broken, nothing more is said of their names
    usable = measured is None or not report.at(measured)
    known = {**labels, **({"boundary": "boundary"} if bisects else {})} if usable else None
    # a broken sweep is one mistake: what claims say of its values is checked when it is mended
    cells_known = not any(report.at(node) for node in (swept, first.get("bisect")) if node is not None)
    claims = claim_reader.read(merged.get("claims"), report, coords if cells_known else None, known, bisects)
    competing = len({draft.coords["method"] for draft in drafts}) if arena is not None and tier != "smoke" else None
    arena_rules.check_claims(merged.get("claims"), arena is not None, competing, report)
    if spec is not None and claims and tier != "smoke":
        _enough_seeds(merged, spec, report)
    if board is not None and usable:
        arena_rules.check_board(merged, board, labels, report)
    if len(report.problems) > before or spec is None:
        return None
    return Task(name, report.file, tier, spec, tuple(claims), tuple(drafts))


def _labels(merged: Node) -> dict[str, str]:
    """Labels of the metrics that a task lists, and the metric of each; broken ones are left out."""
    node = merged.get("metrics")
    labels = {}
    for item in node.value if node is not None and isinstance(node.value, list) else ():
        name = item if isinstance(item.value, str) else item.get("name")
        label = item if isinstance(item.value, str) else item.get("label") or name
        if name is not None and label is not None and isinstance(name.value, str) and isinstance(label.value, str):
            labels[label.value] = name.value
    return labels


def _need_method(first: Node, points: list[sweep.Point], merged: Node, report: Report) -> None:
    """A task that takes a step somewhere in its sweep says how."""
    if first.get("method") is not None:
        return
    steps = [sweep.apply(merged, point).at(("stop", "steps")) for point in points]
    if any(node is not None and node.value != 0 for node in steps):
        hint = "add `method: {name: gd, …}`, or set stop.steps to 0"
        report.add(steps[0] or merged, "missing key 'method'", hint)


def _enough_seeds(merged: Node, spec: TaskSpec, report: Report) -> None:
    count = spec.seeds if isinstance(spec.seeds, int) else len(spec.seeds)
    if count < LEAST_SEEDS:
        place = merged.get("seeds") or merged.place(("claims",), key=True)
        decide = "decides" if count == 1 else "decide"
        what = f"{counted(count, 'seed')} {decide} no claim; at least {LEAST_SEEDS} are needed"
        report.add(place, what, "write seeds: 8")


# -- cells ------------------------------------------------------------------------------------------------------------


def cells(task: Task, *, seeds: int | None = None, base_seed: int = 0) -> list[Cell]:
    """The cells of a task: one per point of its sweep, or, in an arena, one tuning cell per method and grid point.

    Args:
        task: the task.
        seeds: replaces the number of seeds that the task declares; tuning seeds stay as declared.
        base_seed: added to every seed.

    Raises:
        SeedError: a seed, with ``base_seed`` added, is not below 1000000, where the tuning seeds start.
    """
    arena = task.leaderboard
    wanted = seeds_of(task.spec, seeds, base_seed)
    if arena is not None:
        tuning = tune_seeds(arena, base_seed)
        return [build(task.id, task.spec, draft, "tune", tuning) for draft in task.drafts]
    return [build(task.id, task.spec, draft, "claim", wanted) for draft in task.drafts]


def score_cell(
    task: Task, method_name: str, grid_point: dict[str, Any], *, seeds: int | None = None, base_seed: int = 0
) -> Cell:
    """The cell that scores a method of an arena at one point of its grid, on the task's own seeds.

    Raises:
        UnknownName: the method does not compete.
    """
    names = list(dict.fromkeys(draft.coords["method"] for draft in task.drafts))
    grid = list(registry.find("method", method_name).grid)
    if method_name not in names or grid_point not in grid:
        raise UnknownName("method" if method_name not in names else "grid point", str(method_name), names)
    index = grid.index(grid_point)
    draft = next(d for d in task.drafts if d.coords == {"method": method_name, "point": index})
    return build(task.id, task.spec, draft, "score", seeds_of(task.spec, seeds, base_seed))
