"""What a plug-in's component means: what the files of its distribution say. A cell that uses none does not change."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from . import registry

OWN = "tangentbench"


def sources(cell: Any) -> list[str]:
    """Name, version and hashes of the sources of every distribution, but ours, that a component of the cell is from."""
    return [line for name in sorted(set(_origins(cell)) - {OWN}) for line in distribution(name)]


@functools.cache
def distribution(name: str) -> tuple[str, ...]:
    """Name and version of an installed plug-in, and a hash of each of its Python files.

    The sources too: in an editable install the version stays while the code moves. Looked up once, until `cache_clear`.
    """
    points = [point for group in registry.GROUPS.values() for point in registry.entry_points(group)]
    points = [point for point in points if point.dist is not None and point.dist.name == name]
    found = [f"{name} {point.dist.version}" for point in points[:1]]
    for module in sorted({point.module.split(".")[0] for point in points}):
        spec = importlib.util.find_spec(module)  # of a top-level module, which imports nothing
        if spec and spec.submodule_search_locations:
            for folder in spec.submodule_search_locations:
                found += hashes(Path(folder), ("**/*.py",))
        elif spec and spec.origin and spec.origin.endswith(".py"):
            found += hashes(Path(spec.origin).parent, (Path(spec.origin).name,))
    return tuple(found)


def hashes(root: Path, patterns: Iterable[str]) -> list[str]:
    """Relative path and SHA-256 of every file that matches, in order of path."""
    files = sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()})
    return [f"{path.relative_to(root).as_posix()} {_hash(path)}" for path in files]


def _hash(path: Path) -> str:
    # line ends differ between checkouts and wheels, and mean nothing
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def _origins(cell: Any) -> Iterator[str]:
    named = [(kind, getattr(cell, kind).get("name")) for kind in ("dataset", "model", "method")]
    for kind, name in (*named, ("loss", cell.loss), *(("metric", metric["name"]) for metric in cell.metrics)):
        entry = registry.table(kind).get(name)
        if entry is not None:  # it is missing where a stored cell is of a plug-in that is not installed
            yield entry.origin
