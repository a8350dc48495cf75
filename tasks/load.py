"""Task files: found by id, glob or path, merged with a tier, checked as a whole, resolved to cells.

The one door to tasks. Every tier of a file is checked whichever is asked for, and all mistakes are reported at once in
a `TaskFileError`. No jax, no numpy: `list`, `show` and `validate` start at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import claims as claim_reader
from . import registry, sweep
from .catalog import catalog, id_of, is_path, matching, suite
from .catalog import shown as shown_path
from .cells import Draft, SeedError, build, seeds_of, tune_seeds
from .document import Node, read
from .merge import merge, without
from .problem import Problem, TaskFileError, did_you_mean
from .registry import UnknownName
from .report import Report, describe
from .resolve import Resolver
from .schema import json_schema
from .spec import TIERS, Cell, Claim, Leaderboard, Paper, TaskSpec
from .task_file import FIXED, TaskFile

__all__ = [
    "Problem", "SeedError", "Task", "TaskFileError", "UnknownName", "catalog", "cells", "find", "json_schema",
    "load_task", "score_cell", "suite",
]  # fmt: skip

DEFAULT_TIER = "laptop"
LEAST_SEEDS = 3  # with fewer no claim can be decided


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


def load_task(path_or_id: str | Path, tier: str = DEFAULT_TIER, folder: str | Path | None = None) -> Task:
    """The task of an id or a file, at a tier.

    Raises:
        TaskFileError: everything that is wrong with the file, at any tier.
        UnknownName: no task has this id, or there is no such tier.
    """
    name = str(path_or_id)
    known = catalog(folder)
    if isinstance(path_or_id, Path) or is_path(name):
        return _load(name, name, id_of(name, known) if is_path(name) else path_or_id.stem, tier)  # pyright: ignore
    if name not in known:
        raise UnknownName("task", name, known)
    return _load(known[name], shown_path(known[name]), name, tier)


def _load(path: str | Path, shown: str, name: str, tier: str, tiers: tuple[str, ...] = TIERS) -> Task:
    if tier not in TIERS:
        raise UnknownName("tier", tier, TIERS)
    root = read(path, shown)
    report = Report(shown)
    overrides = _overrides(root, report)
    resolver = Resolver(report)
    base = without(root, "tiers")
    tasks: dict[str, Task | None] = {}
    for each in TIERS:
        if each in overrides and each in tiers:
            tasks[each] = _at_tier(merge(base, overrides[each]), root, name, each, resolver)
    if tier not in overrides or len(overrides) < len(tiers):
        plain = _at_tier(base, root, name, tier, resolver)
        tasks.setdefault(tier, plain)
    report.stop()
    task = tasks[tier]
    assert task is not None
    return task


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
    points = sweep.points(merged.get("sweep"), report)
    first = sweep.apply(merged, points[0])
    spec = report.model(TaskFile, first)
    arena = merged.get("leaderboard")
    board = report.model(Leaderboard, arena) if arena is not None and isinstance(arena.value, dict) else None
    if arena is None:
        _need_method(first, points, merged, report)
    else:
        _check_arena(merged, board, report)
    drafts = resolver.drafts(merged, points if arena is None else [()], board) if arena is None or board else []
    labels = _labels(merged)
    bisects = first.get("bisect") is not None
    coords = [{setting.axis: setting.coord for setting in point} for point in points]
    known = frozenset(labels.keys() | ({"boundary"} if bisects else set()))
    claims = claim_reader.read(merged.get("claims"), report, coords, known, bisects)
    if spec is not None and claims and tier != "smoke":
        _enough_seeds(merged, spec, report)
    if board is not None:
        _check_board(merged, board, labels, report)
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


def _check_arena(merged: Node, board: Leaderboard | None, report: Report) -> None:
    """What an arena decides itself must not be given."""
    reasons = {
        "method": "every registered method competes in an arena",
        "sweep": "an arena is one cell per method",
        "bisect": "an arena searches no boundary",
        "claims": "an arena ranks methods; its cells belong to no claim",
    }
    for key, reason in reasons.items():
        if merged.get(key) is not None:
            place = merged.place((key,), key=True)
            report.add(place, f"'{key}' is not allowed beside `leaderboard`: {reason}", "remove it")
    if merged.at(("stop", "steps")) is not None:
        place = merged.place(("stop", "steps"), key=True)
        report.add(place, "'steps' is not allowed in an arena: the budget decides", "remove it")
    reference = merged.at(("leaderboard", "reference", "method"))
    known = registry.table("method")
    if board is not None and reference is not None and board.reference.method not in known:
        what = f"unknown method '{board.reference.method}'"
        report.add(reference, what, did_you_mean(board.reference.method, known))


def _check_board(merged: Node, board: Leaderboard, labels: dict[str, str], report: Report) -> None:
    for key in ("metric", "validation_metric"):
        label = getattr(board, key)
        if label not in labels:
            hint = did_you_mean(label, labels, otherwise="add it to metrics")
            report.add(merged.place(("leaderboard", key)), f"the task does not measure '{label}'", hint)
    fit = [label for label, name in labels.items() if _of_validation(name)]
    name = labels.get(board.validation_metric)
    if name in registry.table("metric") and board.validation_metric not in fit:
        measured = "" if name == board.validation_metric else f", which is {name}"
        report.add(
            merged.place(("leaderboard", "validation_metric")),
            f"validation_metric is '{board.validation_metric}'{measured}: methods are tuned on the validation "
            "set only, never on the training or the test set",
            f"write {' or '.join(fit)}" if fit else "write validation_loss, and add it to metrics",
        )


def _of_validation(metric: str) -> bool:
    """Whether a metric is measured on the validation set alone."""
    entry = registry.table("metric").get(metric)
    return entry is not None and "validation" in entry.requires and "test" not in entry.requires


def _enough_seeds(merged: Node, spec: TaskSpec, report: Report) -> None:
    count = spec.seeds if isinstance(spec.seeds, int) else len(spec.seeds)
    if count < LEAST_SEEDS:
        place = merged.get("seeds") or merged.place(("claims",), key=True)
        report.add(place, f"{count} seeds decide no claim; at least {LEAST_SEEDS} are needed", "write seeds: 8")


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
