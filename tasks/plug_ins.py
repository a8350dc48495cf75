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
    """Name, version and hashes of the files of every distribution, but ours, that a component of the cell is from."""
    return [line for name in sorted(set(_origins(cell)) - {OWN}) for line in distribution(name)]


@functools.cache
def distribution(name: str) -> tuple[str, ...]:
    """Name, version and entry points of an installed plug-in, and a hash of each of its files.

    Its files are those that its record names, but for metadata and scripts, and those in the folders of its modules: an
    editable install records none, and its version stays while the code moves. Looked up once, until `cache_clear`.
    """
    points = [point for group in registry.GROUPS.values() for point in registry.entry_points(group)]
    points = [point for point in points if point.dist is not None and point.dist.name == name]
    if not points:
        return ()
    found = dict(_recorded(points[0].dist))
    declared = (points[0].dist.read_text("top_level.txt") or "").split()
    for module in {*(point.module.split(".")[0] for point in points), *declared}:
        found.update(_of_module(module))
    return (
        f"{name} {points[0].dist.version}",
        *sorted(f"{point.group} {point.name} = {point.value}" for point in points),
        *(f"{path} {_hash(found[path])}" for path in sorted(found)),
    )


def _recorded(dist: Any) -> Iterator[tuple[str, Path]]:
    """Files that were installed, by their path from the folder of packages; those above it lie in other folders."""
    for file in dist.files or ():
        parts = [part for part in file.parts if part != ".."]
        metadata = parts[0].endswith((".dist-info", ".egg-info", ".pth")) or parts[0].startswith("__editable__")
        path = Path(dist.locate_file(file))
        if not metadata and parts[0].lower() not in ("bin", "scripts") and _counts(parts) and path.is_file():
            yield "/".join(parts), path


def _of_module(module: str) -> Iterator[tuple[str, Path]]:
    """The files of a top-level module, which is not imported, by the same paths."""
    spec = importlib.util.find_spec(module)
    for folder in map(Path, (spec and spec.submodule_search_locations) or ()):
        for path in folder.rglob("*"):
            inside = path.relative_to(folder)
            if _counts(inside.parts) and path.is_file():
                yield f"{module}/{inside.as_posix()}", path
    if spec and spec.submodule_search_locations is None and spec.origin and Path(spec.origin).is_file():
        yield Path(spec.origin).name, Path(spec.origin)


def _counts(parts: Iterable[str]) -> bool:
    """Whether a file is neither hidden nor what Python or an editor leaves behind."""
    return not any(part.startswith(".") or part.endswith((".pyc", "~")) or part == "__pycache__" for part in parts)


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
