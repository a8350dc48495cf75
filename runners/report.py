"""The report: boards and charts of stored runs as one HTML file that needs nothing else, and the charts as files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..tasks import load
from ..tasks.spec import Cell
from . import chart_rules, figures, page, suite
from .arenas import Arena
from .charts import AnyChart
from .records import Lookup, Run
from .results import Store
from .verdicts import Verdict


@dataclass(frozen=True)
class TaskReport:
    """A task with all that the page shows of it.

    `runs`: every stored run of its cells. `expected`: how many runs its cells ask for. `source`: where they come from.
    """

    task: load.Task
    runs: tuple[Run, ...]
    expected: int
    verdicts: tuple[Verdict, ...]
    charts: tuple[AnyChart, ...]
    source: str


@dataclass(frozen=True)
class Report:
    """Both boards and every task, from one store."""

    tier: str
    code: str
    arenas: tuple[Arena, ...]
    verdicts: tuple[Verdict, ...]
    tasks: tuple[TaskReport, ...]


class Written(NamedTuple):
    """What was written: the page, and the figures."""

    page: Path
    figures: list[Path]


def collect(planned: suite.Plan, store: Store, runs: Lookup, code: str) -> Report:
    """Everything that a report shows, from stored runs.

    Args:
        planned: the tasks at one tier.
        store: for the curves of runs.
        runs: looks a run up.
        code: the current code digest.
    """
    verdicts = suite.verdicts(planned, runs, code)
    scored = suite.second_wave(planned, runs)
    tasks = []
    for task in planned.tasks:
        own = [verdict for verdict in verdicts if verdict.task == task.id]
        cells, scores = planned.cells[task.id], [cell for cell in scored if cell.task == task.id]
        found = _found([*cells, *scores], runs)
        charts = chart_rules.charts(task, cells, runs, store.arrays, own, scores)
        expected = sum(len(cell.seeds) for cell in [*cells, *scores])
        tasks.append(TaskReport(task, tuple(found), expected, tuple(own), tuple(charts), source(task, found)))
    return Report(planned.tier, code, tuple(suite.arenas(planned, runs, code)), tuple(verdicts), tuple(tasks))


def write(report: Report, folder: Path, *, figures: bool = False) -> Written:
    """Writes `index.html` into the folder, and with ``figures`` every chart as PNG, SVG and PDF below `figures/`.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "index.html"
    target.write_text(page.html(report), encoding="utf-8")
    return Written(target, _write_figures(report, folder / "figures") if figures else [])


def source(task: Any, runs: Sequence[Run]) -> str:
    """Where numbers come from, in one line: code, task, tier, seeds, precision, device, libraries; no host, no path."""
    seeds = len({run.seed for run in runs if run.role != "tune"})
    packages = [run.provenance.get("package") or {} for run in runs]
    commits = {(p.get("commit") or "")[:8] + (" (modified)" if p.get("dirty") else "") for p in packages}
    parts = [
        f"tangentbench {_only(p.get('version') for p in packages)}",
        _only(commits, "commits"),
        f"{task.id} v{task.spec.version}",
        f"{task.tier} tier",
        f"{seeds} seeds",
        _only(run.cell.get("precision") for run in runs),
        _only(run.provenance.get("device") for run in runs),
        f"jax {_only((run.provenance.get('versions') or {}).get('jax') for run in runs)}",
        f"code {_only((run.code for run in runs), 'versions')}",
    ]
    return " · ".join(part for part in parts if part.strip())


def _only(values: Iterable[Any], several: str = "several") -> str:
    """The one value, or how many there are."""
    found = {str(value).strip() for value in values if value}
    if len(found) == 1:
        return found.pop()
    return f"{len(found)} {several}" if found else ""


def _found(cells: Iterable[Cell], runs: Lookup) -> list[Run]:
    return [run for cell in cells for seed in cell.seeds if (run := runs(cell, seed)) is not None]


def _write_figures(report: Report, folder: Path) -> list[Path]:
    from . import plots

    folder.mkdir(exist_ok=True)
    written: list[Path] = []
    if report.arenas or report.verdicts:
        boards = plots.boards_figure(report.arenas, report.verdicts)
        runs = [run for item in report.tasks for run in item.runs]
        where = f"code {_only((run.code for run in runs), 'versions')} · {report.tier} tier"
        written += figures.save_figure(boards, "Boards", where, folder, "boards")
    names: set[str] = set()
    for item in report.tasks:
        below = folder.joinpath(*map(file_name, item.task.id.split("/")))
        for chart in item.charts:
            below.mkdir(parents=True, exist_ok=True)
            stem = file_name(chart.name)
            while (key := f"{below}/{stem}".lower()) in names:  # some file systems do not tell cases apart
                stem += "-"
            names.add(key)
            written += figures.save(chart, item.source, below, stem)
    return written


def file_name(text: str) -> str:
    """The text as a file may be called anywhere: letters, digits, dots, hyphens."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.")[:80] or "unnamed"
