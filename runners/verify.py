"""What `tangentbench verify` says of a results folder that someone else made: does it check out, and how far."""

from __future__ import annotations

import json
import random
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..tasks import catalog
from ..tasks.merge import DEFAULT_TIER
from ..tasks.problem import counted
from . import provenance, verify_numbers, verify_records, verify_rerun
from .records import Run, started
from .results import MARKER, Store, StoreError
from .rows import render
from .schedule import Event
from .verify_records import Fault

PASSED, FAILED, PART, NONE = "passed", "failed", "in part", "not checked"
CELLS = 3  # that are run again
MOST = 5  # faults of one check that are printed, and tasks that are named
RESULTS = "results"
"""The folder of one's own runs, as every command's --results takes it."""


class NoRunsThere(Exception):
    """The folder may be a results folder, and has no run."""


@dataclass(frozen=True)
class Check:
    """One check: how it ended, what was looked at, and everything that was found wrong."""

    check: str
    result: str
    found: str
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "found", verify_records.printable(self.found))


@dataclass(frozen=True)
class Extent:
    """How far a folder was checked.

    Attributes:
        runs, numbers: runs of tasks here that have numbers, and those with the outcomes.
        runs_again, numbers_again: those that were computed again.
        steps: of the longest rerun.
        absent: runs that the tasks ask for and the folder lacks.
        unknown: runs of tasks that are not known here.
    """

    runs: int
    numbers: int
    runs_again: int
    numbers_again: int
    steps: int
    absent: int
    unknown: int

    @property
    def whole(self) -> bool:
        """Whether every number of the folder, and all that the tasks ask for, was computed again."""
        return 0 < self.numbers == self.numbers_again and not self.absent and not self.unknown


@dataclass(frozen=True)
class Report:
    """All checks of a folder, how far they went, a command that shows its runs, in a sentence, and whether a run of the
    rerun ended in error, timeout or out of memory."""

    folder: str
    checks: tuple[Check, ...]
    extent: Extent
    hint: str
    broken: bool = False

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.result == FAILED]

    @property
    def exit_code(self) -> int:
        return 2 if self.broken else 3 if self.failed else 0


def verify(
    path: str,
    *,
    cells: int = CELLS,
    seed: int | None = None,
    whole: bool = False,
    tasks: Sequence[str] = (),
    jobs: int | None = None,
    notify: Callable[[Event], None] = lambda event: None,
) -> Report:
    """Checks every record of a results folder, and runs some of its cells again.

    Args:
        path: the folder.
        cells: how many cells are run again, with all their seeds, for `verify_rerun.STEPS` steps.
        seed: chooses them; by default nobody knows it beforehand.
        whole: they are run to their end.
        tasks: folders of more task files, and single ones.
        jobs: worker processes.
        notify: takes the scheduler's events.

    Raises:
        StoreError: there is no such folder, or it is no results folder.
        NoRunsThere: it is empty.
        TaskFileError: a task file here is not valid, or there is none at a place of ``tasks``.
    """
    store = _opened(path)
    places = [(d, c, s) for d in store.digests() for c in store.codes(d) for s in store.seeds(d, c)]
    if not places:
        raise NoRunsThere(f"{path} holds no runs")
    readable, unreadable = verify_records.read(store, places)
    runs, changed = verify_records.cells(readable)
    code = _code(runs)
    shown = [run for run in runs if run.code == code]
    other = len(runs) - len(shown)
    asked = verify_records.Asked(tasks)
    known, unknown, strangers = verify_records.tasks(shown, asked)
    have: dict[str, set[int]] = {}
    for digest, made_by, found in places:
        if made_by == code:
            have.setdefault(digest, set()).add(found)
    absent, holes = verify_records.seeds(known, asked, have)
    lacks = f"{counted(absent, 'run')} that the tasks ask for absent" if absent else "all that the tasks ask for"
    mine = {verify_records.place(run): run for run in known}
    pairs = [
        (run, asked.cell(mine[where]) if (where := verify_records.place(run)) in mine else verify_records.cell_of(run))
        for run in runs
    ]
    told = verify_numbers.numbers(store, pairs)
    checks = [
        _ended("records", f"{len(readable)} of {len(places)} runs can be read{_unended(readable)}", unreadable),
        _ended("cells", f"{_number(runs)} cells are what their digests say", changed),
        _known(known, unknown, strangers),
        _ended("seeds", lacks, holes),
        _ended("code", _made_by(code, shown, other), verify_records.codes(runs)),
        _ended("provenance", _made_with(shown), verify_records.provenances(runs)),
        _ended("numbers", _told(told), told.faults),
    ]
    options = {"whole": whole, "jobs": jobs, "notify": notify}
    again, found = _again(store, known, asked, cells, seed, options)
    numbered = [run for run in known if run.status == "ok"]
    numbers = sum(map(verify_numbers.count, numbered))
    extent = Extent(len(numbered), numbers, found.runs, found.numbers, found.steps, absent, len(unknown))
    return Report(path, (*checks, again), extent, _hint(path, shown, code, tasks), found.broken)


def text(report: Report, fmt: str = "table") -> str:
    """The checks as a table, Markdown, CSV or JSON."""
    if fmt == "json":
        document = {
            "folder": report.folder,
            "passed": not report.failed,
            "verified": not report.failed and report.extent.whole,
            "extent": asdict(report.extent),
            "checks": [*map(asdict, report.checks)],
        }
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    rows = [
        {"check": check.check, "result": check.result, "found": line}
        for check in report.checks
        for line in ([check.found] if not check.faults else _lines(check, None if fmt == "csv" else MOST))
    ]
    return render(rows, fmt)


def line(report: Report) -> str:
    """What came out, in one line."""
    if not report.failed:
        return f"{report.folder} {_how_far(report.extent)}; {report.hint}"
    first = report.failed[0]
    what = f"{first.check}: {first.faults[0] if first.faults else first.found}"
    more = f" (and {', '.join(check.check for check in report.failed[1:])})" if report.failed[1:] else ""
    return f"{report.folder} does not verify: {what}{more}"


def _how_far(extent: Extent) -> str:
    """What a folder without a fault is: no more than was computed again."""
    if extent.whole:
        return f"is verified: all {extent.numbers} numbers came out the same"
    again = f"{extent.numbers_again or 'none'} of its {extent.numbers} numbers were computed again"
    if not extent.runs_again:
        said = f"holds together; {again}"
    else:
        said = f"is verified up to step {extent.steps} in {extent.runs_again} of {extent.runs} runs; {again}"
    said += f", and {counted(extent.absent, 'run')} that its tasks ask for absent" if extent.absent else ""
    return said + (f"; {counted(extent.unknown, 'run')} of tasks not known here" if extent.unknown else "")


def _hint(path: str, shown: Sequence[Run], code: str, tasks: Sequence[str]) -> str:
    """What shows the folder's runs: beside one's own where these have a cell of it, else as a page.

    Args:
        path: the folder.
        shown: its runs of ``code``, which a board shows.
        tasks: as for `verify`.
    """
    folders, files = _folders_and_files(tasks, {run.task for run in shown})
    more = ["--tasks", folders[0]] if len(folders) == 1 else []  # other commands take one
    own = Path(RESULTS)
    mine = set(Store(own).digests()) if (own / MARKER).exists() and not own.samefile(path) else set()
    if any(run.digest in mine for run in shown):
        what = "boards" if any(run.role == "score" for run in shown) else "numbers"
        return f"`{shlex.join(['tangentbench', 'compare', path, RESULTS, *more])}` shows its {what} beside yours"
    tiers = {run.tier for run in shown}
    tier = [] if DEFAULT_TIER in tiers or not tiers else ["--tier", min(tiers)]
    other = [] if code == provenance.code_digest() else ["--any-code"]
    where = [] if own.is_dir() and own.samefile(path) else ["--results", path]
    return f"`{shlex.join(['tangentbench', 'report', *files, *where, *more, *tier, *other])}` shows it as a page"


def _folders_and_files(places: Sequence[str], names: Set[str]) -> tuple[list[str], list[str]]:
    """Folders among places of tasks, and what a command is to name for files to be among its tasks.

    Args:
        places: as for `verify`.
        names: tasks that have runs; where some are of no file, the glob of all tasks stands first.
    """
    suite = catalog.catalog()
    files = {catalog.id_of(place, suite): place for place in places if catalog.is_path(place)}
    files = {name: place for name, place in files.items() if name in names}
    every = ["*"] if files and names - files.keys() else []
    return [place for place in places if Path(place).is_dir()], [*every, *files.values()]


def print_report(report: Report, fmt: str) -> None:
    """The checks on standard output; the line that says how it ended there, too, or on standard error if it failed."""
    print(text(report, fmt))
    if report.failed:
        print(line(report), file=sys.stderr)
    elif fmt in ("table", "markdown"):
        print(f"\n{line(report)}")


def _opened(path: str) -> Store:
    root = Path(path)
    if not root.exists():
        raise StoreError(f"there is no results folder {path}")
    if not root.is_dir():
        raise StoreError(f"{path} is a file, and no results folder")
    if any(root.iterdir()) and not (root / MARKER).exists():
        raise StoreError(f"{path} is no results folder: it holds no {MARKER}")
    return Store(root)


def _code(runs: Sequence[Run]) -> str:
    """The code whose runs a board shows, as for `compare`: the current if it has runs there, else the newest."""
    current = provenance.code_digest()
    return current if any(run.code == current for run in runs) else max(runs, key=started).code if runs else current


def _again(
    store: Store,
    known: Sequence[Run],
    asked: verify_records.Asked,
    number: int,
    seed: int | None,
    options: Mapping[str, Any],
) -> tuple[Check, verify_rerun.Rerun]:
    """The check, and the rerun."""
    none = verify_rerun.Rerun(0, 0, "", ())
    if number == 0:
        return Check("rerun", NONE, "not asked for"), none
    groups: dict[str, list[Run]] = {}
    for run in known:
        if run.status == "ok":
            groups.setdefault(run.digest, []).append(run)
    if not groups:
        why = "no run here ended; the same command continues" if known else "no run here is of a task here"
        return Check("rerun", FAILED, why if known else f"{why}; --tasks PATH names more"), none
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    digests = random.Random(seed).sample(sorted(groups), min(number, len(groups)))
    chosen = [(asked.cell(groups[digest][0]), groups[digest]) for digest in digests]
    found = verify_rerun.rerun(store, chosen, **options)
    where = f"(--cells {number} --seed {seed})"
    said = f"{found.runs} runs of {len(digests)} cells, {found.steps} steps: {found.words} {where}"
    if found.runs == 0 and not found.faults:
        return Check("rerun", FAILED, f"nothing could be run again: {found.words} {where}"), found
    return _ended("rerun", said, found.faults), found


def _known(known: Sequence[Run], unknown: Sequence[Run], faults: Sequence[Fault]) -> Check:
    """The check of what tasks here ask for; where some runs are of tasks that are not known here, it is one in part."""
    found = f"{_number(known)} cells are asked by {counted(len({run.task for run in known}), 'task')} here"
    if not unknown or faults:
        return _ended("tasks", found, faults)
    names = sorted({run.task for run in unknown})
    listed = ", ".join([*names[:MOST], *([f"{len(names) - MOST} more"] if names[MOST:] else [])])
    found += f"; {counted(len(unknown), 'run')} of {counted(len(names), 'task')} not known here ({listed}):"
    return Check("tasks", PART, f"{found} give their folder or files with --tasks")


def _ended(name: str, found: str, faults: Iterable[Fault]) -> Check:
    faults = tuple(faults)
    return Check(name, FAILED if faults else PASSED, found, faults)


def _lines(check: Check, most: int | None) -> list[str]:
    rest = len(check.faults) - len(check.faults[:most])
    return [*map(str, check.faults[:most]), *([f"and {rest} more"] if rest else [])]


def _number(runs: Iterable[Run]) -> int:
    return len({run.digest for run in runs})


def _told(told: verify_numbers.Numbers) -> str:
    agree = f"{told.told} numbers agree with their curves"
    return f"{agree}; {told.untold} have no curve that tells them" if told.untold else agree


def _made_by(code: str, shown: Sequence[Run], other: int) -> str:
    which = "the current code" if code == provenance.code_digest() else "other code than the current"
    if code != provenance.code_digest() and (names := verify_records.variables_apart(shown)):
        which = f"made with other {names} than here, which makes it other code than the current"
    beside = f"; {other} runs of yet other code, which no board shows beside them" if other else ""
    return f"{code}, {which}{beside}"


def _made_with(runs: Sequence[Run]) -> str:
    if not runs:
        return "no run"
    made: Mapping[str, Any] = runs[0].provenance
    package, versions = (_mapping(made.get(name)) for name in ("package", "versions"))
    commit = str(package.get("commit") or "no commit")[:10]
    return f"{commit}{' and changes' if package.get('dirty') else ''}, jax {versions.get('jax')}, {made.get('device')}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _unended(runs: Iterable[Run]) -> str:
    """How many runs did not end well, and how they ended."""
    counts = Counter(run.status.replace("_", " ") for run in runs if run.status != "ok")
    return "".join(f", {number} {status}" for status, number in sorted(counts.items()))
