"""Where task files are (the suite, plug-ins, a folder of the user), and what a name on the command line means."""

from __future__ import annotations

import fnmatch
import importlib.util
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from . import registry
from .problem import Problem, TaskFileError
from .registry import UnknownName

GLOB = "*?["


@cache
def _roots() -> tuple[tuple[str, Path], ...]:
    """(prefix of ids, folder): the suite, and the folders of plug-ins (entry points ``tangentbench.tasks``)."""
    suite_folder = Path(__file__).parent / "suite"  # importlib.resources takes 20 ms to import
    roots = [("", suite_folder)]
    for point in registry.entry_points("tangentbench.tasks"):
        try:
            found = importlib.util.find_spec(point.value)
        except ImportError:
            found = None
        folders = list(found.submodule_search_locations or ()) if found else []
        if not folders:
            name = point.dist.name if point.dist else ""
            what = f"{name}: entry point tangentbench.tasks:{point.name}: no package '{point.value}'"
            raise registry.PluginError(what, name)
        roots.append((f"{point.name}/", Path(folders[0])))
    return tuple(roots)


def catalog(folder: str | Path | None = None) -> dict[str, Path]:
    """Every task id with its file: the suite, plug-ins, and ``folder`` (ids are paths below it)."""
    roots = [*_roots(), *([("", Path(folder))] if folder is not None else [])]
    if folder is not None and not Path(folder).is_dir():
        raise TaskFileError([Problem(str(folder), 0, 0, "no such folder")])
    found: dict[str, Path] = {}
    for prefix, root in roots:
        for path in sorted(root.rglob("*.yaml")):
            name = prefix + path.relative_to(root).with_suffix("").as_posix()
            if name in found:
                first = shown(found[name])
                raise TaskFileError([Problem(shown(path), 0, 0, f"task '{name}' exists already", f"see {first}")])
            found[name] = path
    return found


def suite(folder: str | Path | None = None) -> list[str]:
    """Ids of all tasks."""
    return list(catalog(folder))


def is_path(name: str) -> bool:
    """Whether a name means a file: it ends like one, or is one."""
    return name.endswith((".yaml", ".yml")) or os.path.isfile(name)


def matching(pattern: str, known: dict[str, Path]) -> list[str]:
    """The ids (or the path) that an id, a family, a glob or a path means; raises `UnknownName` for an unknown id."""
    if is_path(pattern):
        return [pattern]
    if any(character in pattern for character in GLOB):
        return [name for name in known if fnmatch.fnmatchcase(name, pattern)]
    if pattern in known:
        return [pattern]
    family = [name for name in known if name.startswith(pattern.rstrip("/") + "/")]
    if not family:
        raise unknown(pattern, known)
    return family


def unknown(name: str, known: dict[str, Path], more: Iterable[str] = ()) -> UnknownName:
    """No task is called that: what may be meant instead.

    A family, a task of it, a file or a folder that lies here, a component, or one of ``more`` names.
    """
    families = dict.fromkeys(parent.as_posix() for other in known for parent in [*Path(other).parents][:-1])
    error = UnknownName("task", name, [*families, *known, *more])
    if any(character in name for character in GLOB):
        found = [other for other in known if fnmatch.fnmatchcase(other, name)]
        error.suggestion = "one task only" + (f": {', '.join(found)}" if found else "")
    elif family := [other for other in known if other.startswith(name.rstrip("/") + "/")]:
        error.suggestion = f"it is a family: {', '.join(family)}"
    elif os.path.isfile(f"{name}.yaml"):
        error.suggestion = f"for the file here, write {name}.yaml"
    elif os.path.isdir(name):
        error.suggestion = f"for the task files in this folder, write --tasks {name}"
    else:
        same = [f"'{other}'" for other in known if Path(other).name == name]
        kinds = [kind for kind in registry.KINDS if name in registry.table(kind)]
        parts = [f"did you mean {' or '.join(same)}?"] if same else []
        parts += [f"it is a {' and a '.join(kinds)}: `tangentbench show {name}` describes it"] if kinds else []
        error.suggestion = " ".join(parts) or error.suggestion
    return error


def id_of(name: str, known: dict[str, Path]) -> str:
    """The id of a task given by id or path; a file outside all known folders is called by its stem."""
    if not is_path(name):
        return name
    path = Path(name)
    same = [other for other, place in known.items() if place.name == path.name and _same_file(place, path)]
    return same[0] if same else path.stem


def _same_file(a: Path, b: Path) -> bool:
    try:
        return a.samefile(b)
    except OSError:
        return False


def shown(path: str | Path) -> str:
    """A path as the user gave it; files of the suite relative to the current folder where they are below it."""
    if isinstance(path, str):
        return path
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return str(path)
