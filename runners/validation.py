"""What `tangentbench validate` prints: every mistake in task files, by file, line and column; and notes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from ..tasks import catalog, notes
from ..tasks.problem import Problem, counted
from . import cost
from .known_valid import Known
from .rows import render

HINT = "fewer seeds, cells or steps, or a smaller model"


def validate(
    paths: Iterable[str] = (), fmt: str = "table", run: Callable[[Sequence[str]], Sequence[Any]] | None = None
) -> int:
    """Check task files, folders of them, or the whole suite; print every mistake with file, line and column.

    Valid files that are asked for also get notes: claims without a control, and an estimated cost above a tier's budget
    (`cost`); one that is named gets its estimates printed in any case. A note is no mistake. This is static and runs
    nothing, unless there is ``run``.

    Args:
        paths: YAML files, folders or task ids; the whole suite without any.
        fmt: ``json`` prints one document on stdout; ``csv`` and ``markdown`` one line per mistake; ``table`` prints
            mistakes as ``file:line:col: message`` on stderr, and notes on stdout.
        run: tries valid tasks, and gives a `trials.Trial` for each; only called if all files are valid. Its rows are
            printed, too; as ``csv`` and ``markdown`` instead of mistakes, of which there are none.

    Returns:
        0 if all files are valid, 1 if not, 4 if there is no file; else the worst exit code of the trials.
    """
    paths = list(paths)
    names = _files(paths)
    problems, costs = _problems(names, estimated=bool(paths))
    valid = len(names) - len({name for name, _ in problems})
    found = [problem for _, problem in problems]
    rows = [problem.plain() for problem in found]
    noted = _notes([name for name in names if name not in {bad for bad, _ in problems}]) if paths else []
    noted += [Problem(name, 0, 0, f"note: {line}", HINT) for name in costs for line in cost.over(costs[name])]
    trials = run(names) if run is not None and names and not problems else ()
    tried = [*chain.from_iterable(trial.rows for trial in trials)]
    if fmt == "json":
        document = {"files": len(names), "valid": valid, "problems": rows, "notes": [note.plain() for note in noted]}
        document["costs"] = costs
        document |= {"runs": tried} if run is not None else {}
        print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
    elif fmt in ("csv", "markdown"):
        print(render(tried, fmt) if tried else render(rows, fmt, columns=tuple(Problem.__dataclass_fields__)))
    else:
        for problem in found:
            print(problem, file=sys.stderr)
        for note in noted:
            print(note)
        for name in costs:
            if name in paths:
                print(f"{name}: {cost.summary(costs[name])}")
        are = "is" if len(names) == 1 else "are"
        print(f"{valid} of {counted(len(names), 'task file')} {are} valid" if names else "no task file there")
        if tried:
            print(f"\n{render(tried, fmt)}")
    codes = {trial.exit_code for trial in trials}
    return 1 if problems else next((code for code in (2, 3) if code in codes), 0) if names else 4


def _problems(names: Sequence[str], *, estimated: bool) -> tuple[list[tuple[str, Problem]], dict[str, dict[str, Any]]]:
    """Everything that is wrong with the files, and what the others cost, if that is asked for.

    Those known to be valid, and at what cost, are not read again.
    """
    known, suite = Known(), catalog.catalog()
    paths = {name: Path(name) if catalog.is_path(name) else suite.get(name, Path(name)) for name in names}
    stamped = {name: known.estimate(paths[name]) for name in names}
    costs = {name: found for name, found in stamped.items() if found is not None and (found or not estimated)}
    unknown = [name for name in names if name not in costs]
    if not unknown:
        return [], {name: costs[name] for name in names if costs[name]}
    from ..tasks import load  # with the schema, which takes longer to build than all else here

    new: dict[str, dict[str, Any]] = {}
    problems = load.check(unknown, lambda name, tiers: new.update({name: cost.estimates(tiers) if estimated else {}}))
    known.remember({paths[name]: new[name] for name in new})
    costs |= new
    return problems, {name: costs[name] for name in names if costs.get(name)}


def _notes(names: Sequence[str]) -> list[Problem]:
    """Notes on valid files, which are not read as tasks for it."""
    suite = catalog.catalog()
    paths = {name: name if catalog.is_path(name) else suite[name] for name in names}
    return [note for path in paths.values() for note in notes.notes(path, catalog.shown(path))]


def _files(paths: Sequence[str]) -> list[str]:
    if not paths:
        return catalog.suite()
    found: list[str] = []
    for path in paths:
        inside = None
        if os.path.isdir(path):  # hidden folders hold virtual environments and caches
            below = sorted(Path(path).rglob("*.y*ml"))
            inside = [file for file in below if not any(p.startswith(".") for p in file.relative_to(path).parts)]
        found += [path] if inside is None else [file.as_posix() for file in inside]
    return list(dict.fromkeys(found))
