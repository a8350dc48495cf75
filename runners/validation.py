"""What `tangentbench validate` prints: every mistake in task files, by file, line and column."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..tasks import load
from .rows import render


def validate(paths: Iterable[str] = (), fmt: str = "table") -> int:
    """Check task files, folders of them, or the whole suite; print every mistake with file, line and column.

    Args:
        paths: YAML files, folders or task ids; the whole suite without any.
        fmt: ``json`` prints one document on stdout; ``csv`` and ``markdown`` one line per mistake; ``table`` prints
            mistakes as ``file:line:col: message`` on stderr.

    Returns:
        0 if all files are valid, 1 if not, 4 if there is no file.
    """
    names = _files(list(paths))
    problems = load.check(names)
    valid = len(names) - len({name for name, _ in problems})
    found = [problem for _, problem in problems]
    rows = [problem.plain() for problem in found]
    if fmt == "json":
        print(json.dumps({"files": len(names), "valid": valid, "problems": rows}, indent=2, ensure_ascii=False))
    elif fmt in ("csv", "markdown"):
        print(render(rows, fmt, columns=tuple(load.Problem.__dataclass_fields__)))
    else:
        for problem in found:
            print(problem, file=sys.stderr)
        print(f"{valid} of {len(names)} task files are valid" if names else "no task file there")
    return 1 if problems else 0 if names else 4


def _files(paths: Sequence[str]) -> list[str]:
    if not paths:
        return load.suite()
    found: list[str] = []
    for path in paths:
        inside = None
        if os.path.isdir(path):  # hidden folders hold virtual environments and caches
            below = sorted(Path(path).rglob("*.y*ml"))
            inside = [file for file in below if not any(p.startswith(".") for p in file.relative_to(path).parts)]
        found += [path] if inside is None else [file.as_posix() for file in inside]
    return list(dict.fromkeys(found))
