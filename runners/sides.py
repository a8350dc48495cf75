"""The two sides of a comparison: which stored runs `dir:PATH` and `commit:REV` mean, and what made them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from ..tasks.problem import did_you_mean
from ..tasks.spec import meaning
from . import provenance
from .records import Cell, Run, started
from .results import Store, StoreError

MOST = 8
"""Tasks that are named where others were asked for."""


class NothingThere(StoreError):
    """There are runs, and none of the tasks that were asked for."""


class NoRuns(StoreError):
    """A commit, `commit` by its full name, has no stored runs of what was asked for."""

    def __init__(self, message: str, commit: str) -> None:
        super().__init__(message)
        self.commit = commit


@dataclass(frozen=True)
class Side:
    """The runs of one code at one tier, and the store that they lie in; a run may be of several tiers."""

    name: str
    store: Store
    code: str
    tier: str
    runs: tuple[Run, ...]

    @cached_property
    def _by_key(self) -> dict[tuple[str, int], Run]:
        return {(run.digest, run.seed): run for run in self.runs}

    @cached_property
    def _by_meaning(self) -> dict[tuple[str, int], Run]:
        """Runs that were made with plug-ins, whose sources may have been others than now."""
        return {(meaning(run.cell), run.seed): run for run in self.runs if run.provenance.get("plug_ins")}

    def lookup(self, cell: Cell, seed: int) -> Run | None:
        """The run of a cell and seed, under the cell's own name; whatever the sources of plug-ins were."""
        run = self._by_key.get((cell.digest, seed))  # pyright: ignore[reportAttributeAccessIssue]
        if run is None and self._by_meaning:
            run = self._by_meaning.get((meaning(vars(cell)), seed))
        return run if run is None else replace(run, task=cell.task, coords=dict(cell.coords), role=cell.role)

    @property
    def device(self) -> str:
        """The device kind; empty where the runs do not say."""
        return str(self.runs[0].provenance.get("device") or "")

    @property
    def other_devices(self) -> list[str]:
        """Kinds of device of which the store has runs, too; they are of other code, and not of this side."""
        codes = {code for digest in self.store.digests() for code in self.store.codes(digest)} - {self.code}
        runs = (next(self.store.runs(code), None) for code in sorted(codes))
        return sorted({str(run.provenance.get("device") or "") for run in runs if run} - {self.device, ""})

    def words(self) -> str:
        """Name, commit, libraries and device, in one line."""
        made = self.runs[0].provenance
        package = made.get("package") or {}
        commit = str(package.get("commit") or "")[:10]
        parts = [f"commit {commit}{' and changes' if package.get('dirty') else ''}" if commit else ""]
        parts += [f"jax {version}" if (version := (made.get("versions") or {}).get("jax")) else "", self.device]
        return f"{self.name} ({', '.join(filter(None, [*parts, f'code {self.code}', f'{len(self.runs)} runs']))})"


def resolve(name: str, results: str | Path, tier: str | None = None, only: Sequence[str] = ()) -> Side:
    """The side that a command line names.

    Args:
        name: `dir:PATH` or the path of a results folder, of which the runs of the current code count or, if it has
            none, those of the newest; or `commit:REV`, whose runs are looked for in `results`.
        results: the store of commits.
        tier: which runs count; by default the only tier there is.
        only: ids or globs of the tasks that count; by default all.

    Raises:
        NoRuns: the commit exists and has no such runs.
        StoreError: there are no such runs, or they are of several tiers; one line that says what to type.
    """
    kind, _, rest = name.partition(":")
    if kind == "commit":
        store = _opened(results)
        code = _code_of_commit(store, rest, tier)
        commit = provenance.commit_of(rest)
    else:
        path = rest if kind == "dir" else name
        if kind != "dir" and not Path(path).is_dir() and provenance.commit_of(name):
            raise StoreError(f"{name} is no folder; if it is a commit, write commit:{name}")
        store = _opened(path)
        code, commit = _code_of_folder(store), None
    return _side(name, store, code, store.runs(code), tier, only, commit)


def _side(
    name: str,
    store: Store,
    code: str,
    found: Iterable[Run],
    tier: str | None,
    only: Sequence[str],
    commit: str | None,
) -> Side:
    runs = tuple(run for run in found if not only or any(fnmatchcase(run.task, pattern) for pattern in only))
    of = {digest: set(store.tiers(digest, code)) for digest in {run.digest for run in runs}}
    tiers = sorted({run.tier for run in runs}.union(*of.values()))
    if tier is None and len(tiers) > 1:
        raise StoreError(f"{name} has runs at {' and '.join(tiers)}; choose one with --tier")
    chosen = tier or "".join(tiers)
    kept = tuple(run for run in runs if chosen in {run.tier, *of[run.digest]})
    if not kept:
        there = f"; it has {' and '.join(tiers)}" if tiers else ""
        what = f" of {', '.join(only)}" if only else ""
        message = f"{name} has no runs{what}{f' at tier {tier}' if tier else ''}{there}"
        if only and not tiers and (tasks := sorted({run.task for run in store.runs(code)})):
            message += "; " + did_you_mean(only[0], tasks, otherwise=f"it has runs of {', '.join(tasks[:MOST])}")
            if commit is None:
                raise NothingThere(message)
        raise NoRuns(message, commit) if commit else StoreError(message)
    return Side(name, store, code, chosen, kept)


def _opened(path: str | Path) -> Store:
    if not Path(path).is_dir():
        raise StoreError(f"there is no results folder {path}; `tangentbench run --results {path}` makes it")
    return Store(path)


def _code_of_folder(store: Store) -> str:
    """The current code if it has runs there, else the code of the newest ones, by what the runs say."""
    current = provenance.code_digest()
    codes = {code: digest for digest in store.digests() for code in store.codes(digest)}
    if not codes:
        raise StoreError(f"{store.root} has no runs")
    if current in codes or len(codes) == 1:
        return current if current in codes else next(iter(codes))
    newest = {code: max(map(started, _one_per_cell(store, code)), default="") for code in sorted(codes)}
    last = max(newest.values())
    found = [code for code, time in newest.items() if time == last]
    if len(found) > 1:
        made = sorted({_commit_of(run)[:10] for code in found for run in _first(store, code)} - {""})
        which = f"name one, as commit:{made[0]} --results {store.root}" if made else "copy those of one to a folder"
        raise StoreError(
            f"{store.root} has runs of {len(found)} codes, none of them the current one, and they do not say which are "
            f"newest; {which}" + (f" (there are {', '.join(made)})" if len(made) > 1 else "")
        )
    return found[0]


def _one_per_cell(store: Store, code: str) -> Iterator[Run]:
    for digest in store.digests():
        runs = (store.read(digest, code, seed) for seed in store.seeds(digest, code))
        if (run := next((run for run in runs if run is not None), None)) is not None:
            yield run


def _code_of_commit(store: Store, revision: str, tier: str | None) -> str:
    """The code under which a commit's runs lie: what its sources hash to here, or what the runs say they came from."""
    commit = provenance.commit_of(revision)
    if commit is None and not re.fullmatch(r"[0-9a-f]{7,64}", revision):
        where = "here" if provenance.repository() else "where there is no clone of the suite, or no git"
        raise StoreError(f"no commit is called {revision!r} {where}; give `git log`'s name of one, or dir:PATH")
    codes = {code for digest in store.digests() for code in store.codes(digest)}
    digest = provenance.code_digest_at(commit) if commit else None
    wanted = commit or revision
    if digest in codes and any(_made_by(run, wanted) or _pinned(run, commit) for run in _first(store, digest)):
        return str(digest)
    changed = False
    for code in sorted(codes):
        for run in store.runs(code):
            package: dict[str, Any] = run.provenance.get("package") or {}
            if _made_by(run, wanted) and tier in (None, run.tier, *store.tiers(run.digest, code)):
                if not package.get("dirty"):
                    return code
                changed = True
    why = "only runs of a changed tree" if changed else "no runs"
    tiers = {run.tier for other in codes for run in _first(store, other)}
    at = tier or ("".join(tiers) if len(tiers) == 1 else "laptop")
    message = (
        f"{store.root} has {why} of commit {wanted[:10]}; `git switch --detach {wanted[:10]}`, `pip install .` (unless "
        f"it is installed with -e), then `tangentbench run --tier {at} --results {store.root}` stores them"
    )
    raise NoRuns(message, commit) if commit else StoreError(message)


def _first(store: Store, code: str | None) -> list[Run]:
    """One of the runs of a code."""
    return list(islice(store.runs(code), 1))


def _made_by(run: Run, commit: str) -> bool:
    return _commit_of(run).startswith(commit)


def _commit_of(run: Run) -> str:
    return str((run.provenance.get("package") or {}).get("commit") or "")


def _pinned(run: Run, commit: str | None) -> bool:
    """Whether a run has the libraries that a commit pins: made by the same sources, it then is the commit's, too."""
    text = provenance.file_at(commit, "constraints.txt") if commit else None
    made = run.provenance.get("versions") or {}
    python = ".".join(str(run.provenance.get("python") or "").split(".")[:2])
    pins = provenance.pinned(text, python) if text and python else {}
    return all(made.get(name) in (None, version) for name, version in pins.items())
