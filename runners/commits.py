"""Commits without stored runs are run: asv builds their environment, and their own command line runs in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from . import provenance, sides
from .results import Store, StoreError

TIER = "smoke"
"""Of commits that are run because neither side has runs, unless a tier was asked for."""


def provide(
    names: Sequence[str],
    results: str | Path,
    tier: str | None = None,
    only: Sequence[str] = (),
    *,
    jobs: int | None = None,
    quiet: bool = False,
) -> None:
    """Runs each commit among two sides that has no runs: the tasks of the other side at its tier, or the whole suite.

    Args:
        names: the two sides as `sides.resolve` takes them.
        results: the store of commits; made if it is not there.
        tier: by default that of the other side, or `TIER`.
        only: ids or globs of tasks; others are not run.

    Raises:
        StoreError: git, asv or what asv downloads is missing, or the commit cannot be built or run; one line.
    """
    for name, other in (names, reversed(names)):
        if not name.startswith("commit:"):
            continue
        Store(results, create=True)
        try:
            sides.resolve(name, results, tier, only)
        except sides.NoRuns as error:
            known = None
            with suppress(sides.NoRuns):
                known = sides.resolve(other, results, tier, only)
            tasks = sorted({run.task for run in known.runs}) if known else list(only)
            run(error.commit, results, known.tier if known else tier or TIER, tasks, jobs=jobs, quiet=quiet)


def run(
    commit: str,
    results: str | Path,
    tier: str,
    tasks: Sequence[str],
    *,
    jobs: int | None = None,
    quiet: bool = False,
) -> None:
    """Runs tasks of a commit, in its own environment, into a store.

    Args:
        commit: its full name.
        tasks: ids or globs; those that the commit does not have are left out; none for its whole suite.

    Raises:
        StoreError: see `provide`.
        KeyboardInterrupt: what had finished is stored.
    """
    there = [task for task in tasks if any(sign in task for sign in "*?[") or _has(commit, task)]
    if tasks and not there:
        raise sides.NothingThere(f"commit {commit[:10]} has none of the tasks {', '.join(tasks)}")
    python = environment(commit, pins=provenance.file_at(commit, "constraints.txt"), quiet=quiet)
    words = ["run", *there, "--tier", tier, "--results", str(Path(results).resolve())]
    words += [*(["--jobs", str(jobs)] if jobs else []), *(["--quiet"] if quiet else [])]
    code, said = call(python, ["-m", "tangentbench.runners.cli", *words], commit, quiet=quiet)
    what = f"commit {commit[:10]} could not run {' '.join(there) or 'its suite'}"
    if code not in (0, 2):
        raise StoreError(f"{what}: {said}")
    if code == 2:  # a cell failed, which the comparison shows; or argparse refused words that the commit does not know
        try:
            sides.resolve(f"commit:{commit}", results, tier, there)
        except StoreError as error:
            raise StoreError(f"{what}: no run was stored, so its command line may know other words ({said})") from error


def environment(commit: str, *, pins: str | None, python: str | None = None, quiet: bool = False) -> str:
    """The Python of asv's environment in which a commit is installed.

    Args:
        commit: its full name.
        pins: text of a constraints file with the versions to install; None for the checkout's.
        python: version, such as `3.11`; by default this one.

    Raises:
        StoreError: see `provide`.
    """
    root = provenance.repository()
    if root is None or not (root / "asv.conf.json").is_file():
        raise StoreError(f"commit {commit[:10]} can only be run from a clone of the suite, with git installed")
    if not quiet:
        print(f"commit {commit[:10]}: asv prepares its environment (a minute or two the first time)", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        words = [commit, *(["--python", python] if python else [])]
        if pins is not None:
            path = Path(folder) / "pins.txt"
            path.write_text(pins, encoding="utf-8")
            words += ["--pins", str(path)]
        command = [sys.executable, "-m", f"{__package__}.commit_environment", *words]
        found = subprocess.run(command, cwd=root, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    said = (found.stdout if found.returncode == 0 else found.stderr).strip().splitlines()
    if found.returncode or not said:
        why = said[-1] if said else f"exit code {found.returncode}"
        raise StoreError(f"asv cannot prepare commit {commit[:10]}: {why}")
    return said[-1]


def call(
    python: str, words: Sequence[str], commit: str, *, variables: Mapping[str, str | None] | None = None, quiet: bool
) -> tuple[int, str]:
    """Runs Python in a commit's environment, its messages shown, and returns the exit code and the last line if quiet.

    Args:
        python: of the environment.
        words: its arguments.
        commit: what the runs shall say they came from.
        variables: of the environment, instead of the current ones; None for those that shall not be set.

    Raises:
        KeyboardInterrupt: the user interrupted.
    """
    changed = {"PYTHONPATH": None, "ASV_COMMIT": commit, **(variables or {})}
    kept = {name: value for name, value in os.environ.items() if name not in changed}
    settings = kept | {name: value for name, value in changed.items() if value is not None}
    found = subprocess.run(
        [python, *words],
        cwd=Path(python).parent.parent,  # away from the checkout, whose folders are called as the package's
        env=settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE if quiet else None,
        text=True,
    )
    if found.returncode in (130, -signal.SIGINT):
        raise KeyboardInterrupt
    lines = (found.stderr or "").strip().splitlines()
    return found.returncode, lines[-1] if lines else f"exit code {found.returncode}"


def _has(commit: str, task: str) -> bool:
    return provenance.file_at(commit, f"tasks/suite/{task}.yaml") is not None
