"""The page of a report: what its template is filled with. Every text is escaped by the template."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..tasks import registry
from . import describe, provenance, tables
from .figure_style import palette
from .inline_svg import inline_svg, rules
from .page_boards import arena_board, claim_row, overview, papers
from .records import Run
from .verdicts import verdict_counts

if TYPE_CHECKING:
    from .report import Report, TaskReport

TEMPLATES = Path(__file__).parent / "templates"
OWN_IDS = ("top", "main", "leaderboard", "claims", "tasks", "reading", "origin", "data", "theme")
MANY_CURVES = 3
MESSAGES = ("reason", "missing", "detail")
"""Fields that may quote an error, and an error may name a path."""


def html(report: Report) -> str:
    """The whole page as text."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False, "separators": (",", ":")}
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    return environment.get_template("report.html").render(
        **context(report),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
    )


def context(report: Report) -> dict[str, Any]:
    """What the template shows."""
    from markupsafe import Markup

    names = Names(OWN_IDS)
    anchors = {item.task.id: names.new(item.task.id) for item in report.tasks}
    classes: dict[str, str] = {}
    tasks = [_task(item, anchors[item.task.id], names, classes) for item in report.tasks]
    claims = {(item["id"], claim["claim"]): claim["anchor"] for item in tasks for claim in item["claims"]}
    runs = [run for item in report.tasks for run in item.runs]
    return {
        "tier": report.tier,
        "counts": verdict_counts(report.verdicts),
        "overview": overview(report.arenas),
        "arenas": [arena_board(arena, anchors[arena.task]) for arena in report.arenas],
        "papers": papers(report.verdicts, anchors, claims),
        "tasks": tasks,
        "stale": sum(run.code != report.code for run in runs),
        "origin": origin(runs),
        "palette": palette(),
        "plot_rules": Markup(rules(classes)),
        "data": {
            "leaderboard": packed(*_table([tables.flat(arena, row) for arena in report.arenas for row in arena.rows])),
            "claims": packed(*_table([tables.record(verdict) for verdict in report.verdicts])),
            **{item["key"]: packed(*item["data"]) for item in tasks},
            **{chart["key"]: packed(*chart["data"]) for item in tasks for chart in [*item["charts"], *item["curves"]]},
        },
    }


class Names:
    """Ids of a page, each given once."""

    def __init__(self, taken: Iterable[str]):
        self._taken = set(taken)

    def new(self, text: str) -> str:
        """An id like the text; a further one for the same text gets a number."""
        stem = re.sub(r"[^A-Za-z0-9_./:-]+", "-", text).strip("-") or "unnamed"
        name, count = stem, 1
        while name in self._taken:
            count += 1
            name = f"{stem}-{count}"
        self._taken.add(name)
        return name


def _task(item: TaskReport, anchor: str, names: Names, classes: dict[str, str]) -> dict[str, Any]:
    task = item.task
    charts = [_chart(chart, item.source, anchor, names, classes) for chart in item.charts]
    curves = [chart for chart in charts if chart["kind"] == "curves"]
    paper = task.paper
    return {
        "id": task.id,
        "anchor": anchor,
        "key": names.new(f"{anchor}-runs"),
        "title": task.title,
        "paper": paper.arxiv if paper else "",
        "where": (paper.where or "") if paper else "",
        "note": (paper.note or "") if paper else "",
        "claims": [{**claim_row(v), "anchor": names.new(f"{anchor}:{v.claim}")} for v in item.verdicts],
        "counts": verdict_counts(item.verdicts),
        "arena": task.leaderboard is not None,
        "charts": [chart for chart in charts if chart["kind"] != "curves"],
        "curves": curves,
        "open": len(curves) <= MANY_CURVES or len(curves) == len(charts),
        "stored": len(item.runs),
        "expected": item.expected,
        "statuses": _counted(run.status.replace("_", " ") for run in item.runs if run.status != "ok"),
        "outcomes": _counted(run.outcome for run in item.runs if run.outcome),
        "metrics": _metrics(item),
        "setup": describe.setup(task),
        "source": item.source,
        "data": runs_table(item.runs),
    }


def _chart(chart: Any, source: str, anchor: str, names: Names, classes: dict[str, str]) -> dict[str, Any]:
    from markupsafe import Markup

    return {
        "key": names.new(f"{anchor}-{chart.kind}"),
        "kind": chart.kind,
        "title": chart.title,
        "caption": chart.caption,
        "svg": Markup(inline_svg(chart, source, names.new("s"), classes)),
        "data": chart.table(),
    }


def _metrics(item: TaskReport) -> list[dict[str, str]]:
    labels: dict[str, Any] = {}
    for run in item.runs:
        for metric in run.cell.get("metrics", []):
            labels.setdefault(metric.get("label", metric["name"]), metric["name"])
    known = registry.table("metric")
    return [
        {
            "label": label,
            "definition": known[name].definition if name in known else "",
            "unit": known[name].unit if name in known and known[name].unit != "1" else "",
            "source": known[name].source if name in known else "",
        }
        for label, name in labels.items()
    ]


def _counted(words: Iterable[str | None]) -> str:
    return ", ".join(f"{n} {word}" for word, n in Counter(words).most_common())


def runs_table(runs: Sequence[Run]) -> tuple[list[str], list[list[Any]]]:
    """Every run of a task, a row each: sweep axes, method, seed, how it ended, work, digests, metrics; unrounded."""
    axes = list(dict.fromkeys(axis for run in runs for axis in run.coords))
    metrics = list(dict.fromkeys(name for run in runs for name in run.scalars))
    fixed = ["role", "seed", "status", "outcome", "message", "steps", "work", "seconds", "digest", "code"]
    rows = []
    for run in runs:
        ended = [run.role, run.seed, run.status, run.outcome, provenance.without_path(run.message), run.steps, run.work]
        rows.append(
            [
                *(run.coords.get(axis) for axis in axes),
                run.cell.get("method", {}).get("name"),
                *ended,
                run.seconds.get("run"),
                run.digest,
                run.code,
                *(run.scalars.get(name) for name in metrics),
            ]
        )
    return [*(f"sweep.{axis}" for axis in axes), "method", *fixed, *metrics], rows


def _table(records: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    columns = list(dict.fromkeys(name for record in records for name in record))
    return columns, [[_plain(name, record.get(name)) for name in columns] for record in records]


def packed(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """A table by columns, each as its values or, where that is shorter, as `{"runs": [[value, how often], …]}`.

    A number that is not finite, as of a diverged curve, is no value: JSON has none. Columns without any value are left
    out.
    """
    found = {}
    for k, name in enumerate(columns):
        values = [_finite(row[k]) for row in rows]
        runs = [[value, len(list(group))] for value, group in groupby(values)]
        if any(value is not None for value in values):
            found[name] = {"runs": runs} if 2 * len(runs) < len(values) else values
    return {"size": len(rows), "columns": found}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(name: str, value: Any) -> Any:
    return provenance.without_path(value) if name in MESSAGES and isinstance(value, str) else value


def origin(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What made the runs, as (what, which); more than one where runs of several kinds are shown."""
    packages = [run.provenance.get("package") or {} for run in runs]
    versions = [run.provenance.get("versions") or {} for run in runs]

    def listed(values: Iterable[Any]) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in values if value))

    commits = ((p.get("commit") or "") + (f" with changes {p.get('diff')}" if p.get("dirty") else "") for p in packages)
    libraries = list(dict.fromkeys(name for found in versions for name in found))
    pairs = [
        ("tangentbench", listed(p.get("version") for p in packages)),
        ("commit", listed(commits)),
        ("code digest", listed(run.code for run in runs)),
        ("device", listed(run.provenance.get("device") for run in runs)),
        ("python", listed(run.provenance.get("python") for run in runs)),
        *((name, listed(found.get(name) for found in versions)) for name in libraries),
        ("XLA flags", listed(run.provenance.get("xla_flags") for run in runs)),
        ("plug-ins", listed(name for run in runs for name in run.provenance.get("plug_ins") or ())),
        ("runs", str(len(runs))),
    ]
    return [(what, which) for what, which in pairs if which]
