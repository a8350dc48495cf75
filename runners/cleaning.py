"""What `tangentbench clean` removes: runs of other code, what an interrupted write left, compiled programs."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import cache, known_valid, provenance
from .results import TIER_MARK, Store, StoreError
from .rows import render

ABANDONED_SECONDS = 3600.0  # a temporary file this old belongs to no writer any more


@dataclass(frozen=True)
class Part:
    """Something that can be removed: how it is asked for, what it is, and the files and folders."""

    option: str
    what: str
    paths: tuple[Path, ...]

    def mebibytes(self) -> float:
        return round(sum(_bytes(path) for path in self.paths) / 2**20, 1)


def parts(results: str) -> list[Part]:
    """Everything that can be removed, whether or not there is any.

    Raises:
        StoreError: the folder holds no runs of ours.
    """
    store = Store(results)
    return [stale(store), temporary(store), compiled()]


def stale(store: Store) -> Part:
    """Runs that other sources made with these libraries on this device; each path is one run."""
    return Part("--stale", "runs of other sources", tuple(_stale(store)))


def temporary(store: Store) -> Part:
    """Files of writers that are gone."""
    return Part("--temporary", "what interrupted writes left", tuple(_left(store.root)))


def compiled() -> Part:
    """JAX's programs, and which task files are known to be valid."""
    place = cache.folder()
    paths = tuple(_compiled(place)) if place is not None and place.is_dir() else ()
    return Part("--compiled", "compiled programs, of all results folders", paths)


def clean(results: str, chosen: set[str], fmt: str = "table") -> str:
    """Removes the chosen parts (by option), and says what was removed, or what could be.

    Raises:
        StoreError: a file cannot be removed; or as for `parts`.
    """
    found = parts(results)
    rows = []
    for part in found:
        size = part.mebibytes()
        gone = part.option in chosen
        if gone:
            for path in part.paths:
                _remove(path)
            _prune(part.paths)
        state = "removed" if gone else f"`tangentbench clean {part.option}` removes it" if part.paths else ""
        rows.append({"what": part.what, "number": len(part.paths), "MiB": size, "state": state})
    return render(rows, fmt)


def _compiled(place: Path) -> Iterator[Path]:
    """JAX's programs and our own notes; a folder that the user chose may hold anything else."""
    for path in sorted(place.iterdir()):
        if (
            path.is_file()
            and path.name.endswith(("-cache", "-atime"))
            or path.name == known_valid.FOLDER
            and path.is_dir()
        ):
            yield path


def _stale(store: Store) -> Iterator[Path]:
    """Folders of runs, each of one cell, code and seed, that other sources made with these libraries on this device.

    What was made elsewhere is current there: the code digest covers device, flags, versions and variables, too.
    """
    current, here = provenance.code_digest(), _elsewhere(provenance.provenance([]))
    alike: dict[str, bool] = {current: False}
    for digest in store.digests():
        for code in store.codes(digest):
            if code not in alike:
                runs = (store.read(digest, code, seed) for seed in store.seeds(digest, code))
                run = next((run for run in runs if run is not None), None)
                if run is None:  # damaged: another cell may tell
                    continue
                alike[code] = _elsewhere(run.provenance) == here
            if alike[code]:
                for seed in store.seeds(digest, code):
                    yield store.root / digest / code / str(seed)


def _elsewhere(made: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*(made.get(key) for key in ("device", "versions", "xla_flags")), made.get("variables") or {})


def _left(root: Path) -> Iterator[Path]:
    now = time.time()
    for path in sorted(root.rglob(".tmp-*")) if root.is_dir() else ():
        try:
            if path.is_file() and now - path.stat().st_mtime > ABANDONED_SECONDS:
                yield path
        except OSError:  # gone while we looked
            continue


def _prune(removed: Iterable[Path]) -> None:
    """Removes the folders of codes and cells that have no runs any more; marks of tiers alone keep none."""
    for level in (1, 2):
        for folder in {path.parents[level - 1] for path in removed if path.name.isdigit()}:
            with contextlib.suppress(OSError):  # it is not empty
                rest = list(folder.iterdir())
                if all(path.name.startswith(TIER_MARK) for path in rest):
                    for path in rest:
                        path.unlink()
                folder.rmdir()


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot remove {path}: {error.strerror or error}") from error


def _bytes(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size if path.exists() else 0
    return sum(os.path.getsize(Path(folder, file)) for folder, _, files in os.walk(path) for file in files)
