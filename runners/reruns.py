"""Runs of one side's cells with the code, the environment or the precision of the other, for `compare --attribute`."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import commits, provenance
from .attribution import VARIABLES, Rerun, environment
from .compare_rows import Pair
from .noise import cells_of
from .results import Store, StoreError
from .sides import Side

PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+")
"""A version as pip takes it. Stores may come from anywhere, and a constraints file may hold more than versions."""

SCRIPT = "benchmarks/rerun.py"


@contextmanager
def rerunner(before: Side, after: Side, *, quiet: bool = False) -> Iterator[Rerun]:
    """The function that `attribution.attribute` asks for; its runs are gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:

        def rerun(chosen: frozenset[str], pairs: Sequence[Pair]) -> Side:
            return _rerun(before, after, pairs, chosen, Path(folder) / "-".join(["run", *sorted(chosen)]), quiet)

        yield rerun


def _rerun(before: Side, after: Side, pairs: Sequence[Pair], chosen: frozenset[str], folder: Path, quiet: bool) -> Side:
    """Runs the cells of `before`, with the chosen factors taken from `after`, and keeps them in the folder.

    Raises:
        StoreError: a side comes from no commit, or the commit cannot be built or run.
    """
    code = after if "code" in chosen else before
    commit = _commit(code)
    made = environment(after if "environment" in chosen else before)
    if bad := [
        f"{name} {version}" for name, version in made.versions.items() if not PIN.fullmatch(f"{name}=={version}")
    ]:
        raise StoreError(f"{before.name} or {after.name} was made with '{bad[0]}', which is no version of a library")
    pins = "".join(f"{name}=={version}\n" for name, version in made.versions.items())
    cells = []
    for pair in pairs:
        (cell,) = cells_of(pair.before.values())
        if "precision" in chosen:
            cell = cell.model_copy(update={"precision": next(iter(pair.after.values())).cell["precision"]})
        cells.append(cell.model_dump(mode="json"))
    if not quiet:
        which = (
            f"{before.name}, with {' and '.join(sorted(chosen))} of {after.name}" if chosen else f"{before.name} again"
        )
        print(which, file=sys.stderr)
    folder.mkdir()
    wanted, results = folder / "cells.json", folder / "results"
    wanted.write_text(json.dumps(cells), encoding="utf-8")
    found = commits.environment(commit, pins=pins, python=made.python, quiet=quiet)
    words = [f"{provenance.repository()}/{SCRIPT}", str(wanted), str(results), before.tier]
    variables = {name: made.variables.get(name) for name in VARIABLES}
    ended, said = commits.call(found, words, commit, variables=variables, quiet=quiet)
    store = Store(results)
    runs = tuple(store.runs())
    if ended or not runs:
        raise StoreError(f"commit {commit[:10]} could not run these cells: {said}")
    return Side(" and ".join(sorted(chosen)), store, runs[0].code, before.tier, runs)


def _commit(side: Side) -> str:
    package = side.runs[0].provenance.get("package") or {}
    if package.get("dirty") or not package.get("commit"):
        raise StoreError(f"{side.name} was not made by a commit, so it cannot be run again; commit the changes first")
    if not provenance.COMMIT.fullmatch(str(package["commit"])):
        raise StoreError(f"{side.name} names '{package['commit']}' as its commit, which is none")
    return str(package["commit"])
