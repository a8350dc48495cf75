"""What can be told of stored runs without running anything: that they are whole, and what they say they are."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..tasks import catalog, load, plug_ins, registry
from ..tasks.entry import BATCH_CURVES
from ..tasks.problem import Problem, TaskFileError
from ..tasks.spec import TIERS, Cell, Limits, meaning
from . import arenas, provenance
from .records import Lookup, Run
from .results import CorruptRun, Store

KEYS = {"package": dict, "versions": dict, "python": str, "device": str, "xla_flags": str, "argv": list}
"""What every provenance has."""
SAME = ("device", "versions", "xla_flags", "variables")
"""What one code digest covers, beside the sources."""
MOST = 2**31
"""Bytes of one run's arrays that are read: more is not of this suite."""


@dataclass(frozen=True)
class Fault:
    """Something wrong: the run or cell as its path below the folder, and what it is."""

    where: str
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable(self.message))

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def printable(text: str) -> str:
    """The text with what a terminal would obey, as a stranger's file may hold it, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def place(run: Run) -> str:
    return f"{run.digest}/{run.code}/{run.seed}"


def read(store: Store, places: Iterable[tuple[str, str, int]]) -> tuple[list[Run], list[Fault]]:
    """The runs that can be read, and a fault for every other."""
    runs, faults = [], []
    for digest, code, seed in places:
        where = f"{digest}/{code}/{seed}"
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", CorruptRun)
            run = store.read(digest, code, seed)
            problem = "" if run is None else _ill_formed(run) or _too_large(run, store.arrays_bytes(run))
            if run is not None and not problem:
                store.arrays(run)
        if said:
            message = str(said[0].message).removeprefix(f"{store.root / where}/")
            faults.append(Fault(where, message.partition("; it counts")[0].partition("; its arrays count")[0]))
        elif run is None:
            faults.append(Fault(where, "there is no run.json"))
        elif problem:
            faults.append(Fault(where, problem))
        else:
            runs.append(run)
    return runs, faults


def _ill_formed(run: Run) -> str:
    """What `records.parse` leaves open: the kinds of values, and whether the cell is one."""
    for kind, empty in (("scalars", True), ("certificates", False), ("seconds", False)):
        for name, value in getattr(run, kind).items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (number and math.isfinite(value)) and not (value is None and empty):
                return f"{kind}: {name} is {value!r}, expected a number"
    if run.tier not in TIERS:
        return f"tier {run.tier!r} is none"
    try:
        cell_of(run)
    except ValidationError as error:
        first = error.errors()[0]
        return f"its cell is none: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return ""


def _too_large(run: Run, size: int) -> str:
    """Whether the arrays are larger than the record says: each has at most one number per step and one more."""
    names = len(run.cell["metrics"]) + len(BATCH_CURVES) + 3
    most = min(names * (8 * (run.steps + 2) + 1024) + 1024, MOST)
    return f"its arrays.npz has {size} bytes; {run.steps} steps give at most {most}" if size > most else ""


def cell_of(run: Run) -> Cell:
    """The cell that a run's record describes; raises pydantic's ValidationError where it describes none."""
    named = {"task": run.task, "coords": run.coords, "role": run.role, "seeds": [run.seed]}
    return Cell.model_validate({**run.cell, **named, "limits": Limits().model_dump()})


def cells(runs: Iterable[Run]) -> tuple[list[Run], list[Fault]]:
    """The runs whose cell is what their digest names, and a fault for every other.

    Cells that use a plug-in's component are taken as they are: its sources say what it means, and may be others here.
    """
    good, faults = [], []
    for run in runs:
        cell = cell_of(run)
        try:
            digest = cell.digest
            same = digest == run.digest or _uses_plug_ins(cell)
        except (KeyError, TypeError, AttributeError, ValueError) as error:  # a metric without a label, or none at all
            faults.append(Fault(place(run), f"its cell has no digest ({type(error).__name__}: {error})"))
            continue
        if same:
            good.append(run)
        else:
            faults.append(Fault(place(run), f"its cell was changed: what it describes has the digest {digest}"))
    return good, faults


def _uses_plug_ins(cell: Cell) -> bool:
    """Whether a component of the cell comes from a plug-in, installed here or not."""
    named = [(kind, getattr(cell, kind).get("name")) for kind in ("dataset", "model", "method")]
    named += [("loss", cell.loss), *(("metric", metric.get("name")) for metric in cell.metrics)]
    return bool(plug_ins.sources(cell)) or any(name and name not in registry.table(kind) for kind, name in named)


class Asked:
    """The cells that tasks here ask for, by task, tier and digest.

    Args:
        places: folders of more task files, and single ones, beside the suite and plug-ins.

    Raises:
        TaskFileError: there is no such folder, a file of these is not valid, or two files are of one id.
    """

    def __init__(self, places: Iterable[str] = ()) -> None:
        self._places = _places(places)
        self._tasks: dict[str, dict[str, load.Task] | None] = {}
        self._cells: dict[tuple[str, str], dict[str, Cell]] = {}

    def task(self, name: str, tier: str) -> load.Task | None:
        """The task at a tier; None where no task here has the name."""
        if name not in self._tasks:
            place = self._places.get(name)
            self._tasks[name] = load.load_tiers(*place) if place else None
        tiers = self._tasks[name]
        return None if tiers is None else tiers[tier]

    def cells(self, name: str, tier: str) -> dict[str, Cell]:
        """Every cell that the task may run at the tier, scores at any point of a grid included."""
        if (name, tier) not in self._cells:
            self._cells[name, tier] = {cell.digest: cell for cell in self.wanted(name, tier)}
        return self._cells[name, tier]

    def wanted(self, name: str, tier: str) -> list[Cell]:
        """The same with the seeds of each role: a cell that tunes has the digest of the one that scores."""
        task = self.task(name, tier)
        found = [] if task is None else load.cells(task)
        if task is not None and task.leaderboard is not None:
            methods = dict.fromkeys(cell.method["name"] for cell in found)
            points = ((m, dict(point)) for m in methods for point in registry.find("method", m).grid)
            found = [*found, *(load.score_cell(task, method, point) for method, point in points)]
        return found

    def whose(self, digest: str) -> tuple[str, str] | None:
        """A task and tier that ask for a cell, and whose board shows its runs whatever these are called."""
        everything = ((name, tier) for name in self._places for tier in TIERS)
        return next((place for place in everything if digest in self.cells(*place)), None)

    def scored(self, name: str, tier: str, runs: Lookup) -> set[str]:
        """Digests of the cells that an arena scores: each method at the point that its tuning chose."""
        task = self.task(name, tier)
        if task is None or task.leaderboard is None:
            return set()
        chosen = ((c.method, c.point) for c in arenas.choose(task, load.cells(task), runs).values())
        return {load.score_cell(task, method, point).digest for method, point in chosen if point is not None}

    def cell(self, run: Run) -> Cell:
        """The task's own cell of a run that it asks for."""
        return self.cells(run.task, run.tier)[run.digest]


def _places(places: Iterable[str]) -> dict[str, tuple[str, str | None]]:
    """What `load.load_tiers` is to be called with for each task."""
    suite = catalog.catalog()
    found: dict[str, tuple[str, str | None]] = {name: (name, None) for name in suite}
    files = dict(suite)
    for place in places:
        if catalog.is_path(place):
            load.load_tiers(place)
            more = {catalog.id_of(place, suite): (place, None, Path(place))}
        else:
            below = catalog.catalog(place)
            more = {name: (name, place, path) for name, path in below.items() if name not in suite}
        for name, (path_or_id, folder, path) in more.items():
            if name in files and not path.samefile(files[name]):
                text = f"task '{name}' exists already"
                raise TaskFileError([Problem(str(path), 0, 0, text, f"see {catalog.shown(files[name])}")])
            if name not in files:
                found[name], files[name] = (path_or_id, folder), path
    return found


def tasks(runs: Iterable[Run], asked: Asked) -> tuple[list[Run], list[Run], list[Fault]]:
    """The runs that tasks here ask for, those of tasks that are not known here, and a fault for every other cell.

    A run that calls itself another task's, or another tier's, than one here that asks for its cell is that one's. Where
    no run is of a task here nothing was checked, and every cell is a fault.
    """
    known, strangers, faults = [], [], {}
    for run in runs:
        task = asked.task(run.task, run.tier)
        stray = task is None or run.digest not in asked.cells(run.task, run.tier)
        if stray and (owner := asked.whose(run.digest)) is not None:
            task, run = asked.task(*owner), replace(run, task=owner[0], tier=owner[1])
        if task is None:
            strangers.append(run)
        elif run.digest in asked.cells(run.task, run.tier):
            if meaning(vars(cell_of(run))) == meaning(vars(asked.cell(run))):
                known.append(run)
            else:
                faults[place(run)] = Fault(place(run), "its cell is not the one that its digest names here")
        elif run.digest not in faults:
            faults[run.digest] = Fault(place(run), _stranger(run, task))
    if not known:
        text = "no task here is called '{}'; --tasks PATH names a folder of more, or a file"
        faults |= {run.digest: Fault(place(run), text.format(run.task)) for run in strangers}
    return known, strangers, list(faults.values())


def _stranger(run: Run, task: load.Task) -> str:
    version = run.cell.get("version")
    if version != task.spec.version:
        return f"it is of version {version} of {run.task}, which is at version {task.spec.version} here"
    if run.provenance.get("plug_ins"):
        return f"{run.task} does not ask this here; it was made with plug-ins, which may be others here"
    return f"{run.task} does not ask this at tier {run.tier}, though its version is the same"


def codes(runs: Sequence[Run]) -> Iterator[Fault]:
    """Runs whose provenance contradicts their code digest: of the current code, or of others under the same."""
    here = provenance.provenance([])
    first: dict[str, Mapping[str, Any]] = {provenance.code_digest(): here}
    for run in runs:
        made = first.setdefault(run.code, run.provenance)
        for key in SAME:
            if (run.provenance.get(key) or None) != (made.get(key) or None):
                whose = "here" if made is here else "in others of that digest"
                yield Fault(place(run), f"its code digest contradicts its {key}: {_differing(run, made, key)} {whose}")
                break


def _differing(run: Run, made: Mapping[str, Any], key: str) -> str:
    mine, other = run.provenance.get(key), made.get(key)
    if isinstance(mine, Mapping) and isinstance(other, Mapping):
        name = next(n for n in (*mine, *other) if mine.get(n) != other.get(n))
        mine, other = f"{name} {mine.get(name)}", f"{name} {other.get(name)}"
    return f"{mine or 'none'}, and {other or 'none'}"


def variables_apart(runs: Iterable[Run]) -> str:
    """Names of the variables of the environment that alone tell the code of some runs from the current; else empty.

    Sources, versions and device are then the same, as far as the records of the runs say.
    """
    here = provenance.provenance([])
    found = {_variables_apart(run.provenance, here) for run in runs}
    return found.pop() if len(found) == 1 else ""


def _variables_apart(made: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    if any(made.get(key) != here[key] for key in ("package", "device", "versions")):
        return ""
    if not isinstance(made.get("variables") or {}, Mapping):
        return ""
    mine, other = ({"XLA_FLAGS": p.get("xla_flags") or None, **(p.get("variables") or {})} for p in (made, here))
    return " and ".join(name for name in ("XLA_FLAGS", *provenance.NUMERICS) if mine.get(name) != other.get(name))


def provenances(runs: Iterable[Run]) -> Iterator[Fault]:
    """Runs that do not say what made them, or say too much."""
    for run in runs:
        made = run.provenance
        lacking = [key for key, kind in KEYS.items() if not isinstance(made.get(key), kind)]
        if run.status == "ok" and not isinstance(made.get("dataset"), str):
            lacking.append("dataset")
        if lacking:
            yield Fault(place(run), f"its provenance has no {', '.join(lacking)}")
            continue
        commit = made["package"].get("commit")
        if commit is not None and not provenance.COMMIT.fullmatch(str(commit)):
            yield Fault(place(run), f"its commit {commit!r} is none")
        elif any(provenance.without_path(str(word)) != word for word in made["argv"] if word != "<path>"):
            yield Fault(place(run), "its command line holds a path")


def seeds(runs: Sequence[Run], asked: Asked, have: Mapping[str, Set[int]]) -> tuple[int, list[Fault]]:
    """How many runs that the tasks ask for are absent, and a fault for every cell that lacks a seed which it cannot.

    A folder may hold fewer seeds than a task asks for (`--seeds`), and less than every cell: it is incomplete. A seed
    that another cell of the task has, in the same role, or that lies between others, was taken out or never ended.
    Runs count for every tier and task that shares the cell.

    Args:
        runs: those of tasks here.
        asked: what these ask for.
        have: the seeds of every cell in the folder, by digest.
    """
    absent, faults = 0, {}
    stored = {(run.digest, run.seed): run for run in runs}
    for name, tier in dict.fromkeys((run.task, run.tier) for run in runs):
        groups: dict[str, list[tuple[Cell, list[int]]]] = {}
        scored = asked.scored(name, tier, lambda cell, seed: stored.get((cell.digest, seed)))
        for cell in asked.wanted(name, tier):
            found = [seed for seed in cell.seeds if seed in have.get(cell.digest, ())]
            if found or cell.role != "score" or cell.digest in scored:
                groups.setdefault(cell.role, []).append((cell, found))
        for group in groups.values():
            present = {seed for _, found in group for seed in found}
            for cell, found in group:
                lacking = [seed for seed in cell.seeds if seed not in found]
                absent += len(lacking)
                holes = [seed for seed in lacking if found and seed <= max(present)]
                if holes:
                    which = f"seed{'s' if len(holes) > 1 else ''} {', '.join(map(str, holes))}"
                    faults[cell.digest] = Fault(cell.digest, f"{which} of {name} absent, and others are there")
    return absent, list(faults.values())
