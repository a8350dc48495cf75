"""What `tangentbench list`, `show` and `validate` print. Answered from files and the registry, without numpy or jax."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..tasks import load, registry
from ..tasks.load import Task, TaskFileError
from ..tasks.spec import TIERS, Claim

KINDS = ("tasks", "datasets", "models", "losses", "methods", "metrics", "claims")
FORMATS = ("table", "markdown", "csv", "json")
PIPE_WIDTH = 120

Row = Mapping[str, Any]


# -- list -------------------------------------------------------------------------------------------------------------


def list_components(kind: str, fmt: str = "table", *, folder: str | None = None) -> str:
    """All tasks, or all components of one kind, as text.

    Args:
        kind: one of `KINDS`.
        fmt: table | markdown | csv | json.
        folder: a folder of more tasks.

    Raises:
        TaskFileError: a task file is invalid.
        ValueError: unknown kind or format.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}: choose {', '.join(KINDS)}")
    if kind == "tasks":
        return render([_task_row(task) for task in load.find(folder=folder)], fmt)
    singular = next(k for k, group in registry.GROUPS.items() if group == f"tangentbench.{kind}")
    return render([_entry_row(entry) for entry in registry.table(singular).values()], fmt)


def _task_row(task: Task) -> Row:
    controls = sum(claim.control is not None for claim in task.claims)
    return {
        "id": task.id,
        "paper": task.paper.arxiv if task.paper else "",
        "title": task.title,
        "claims": len(task.claims) - controls,
        "controls": controls,
        "arena": "yes" if task.leaderboard else "",
    }


def _entry_row(entry: registry.Entry) -> Row:
    if isinstance(entry, registry.MetricEntry):
        row = {
            "name": entry.name,
            "unit": entry.unit,
            "direction": entry.direction,
            "at": " ".join(entry.at),
            "definition": entry.definition,
        }
    elif isinstance(entry, registry.MethodEntry):
        first, last = (_rate(point) for point in (entry.grid[0], entry.grid[-1]))
        row = {"name": entry.name, "rates": first if first == last else f"{first} … {last}", "summary": entry.summary}
    else:
        row = {"name": entry.name, "summary": entry.summary}
    extra = {} if entry.origin == "tangentbench" else {"origin": entry.origin}
    return {**row, "source": entry.source, **extra}


def _rate(point: Mapping[str, Any]) -> str:
    kind, value = next(iter(point["learning_rate"].items()))
    return f"{value:g} critical" if kind == "critical" else f"{value:g}"


# -- show -------------------------------------------------------------------------------------------------------------


def show_task(name: str, tier: str = "laptop", fmt: str = "table", *, folder: str | None = None) -> str:
    """One task in full: source, components, sweep, cells per tier, claims with their regions and controls.

    Args:
        name: task id or path of a YAML file.
        tier: whose sizes are shown.
        fmt: table (plain text) | markdown | csv (one line per claim) | json (one document).
        folder: a folder of more tasks.

    Raises:
        TaskFileError: the file is invalid.
        UnknownName: no such task.
    """
    task = load.load_task(name, tier, folder)
    facts = _facts(task, {each: len(load.cells(load.load_task(name, each, folder))) for each in TIERS})
    claims = [_claim_row(claim, task) for claim in task.claims]
    if fmt == "json":
        return json.dumps({**facts, "claims": claims}, indent=2, ensure_ascii=False)
    if fmt == "csv":
        return render(claims, fmt)
    pairs = {key: _text(value) for key, value in facts.items() if value not in (None, "", [], {})}
    if fmt == "markdown":
        items = [f"- **{key}**: {_cell(text)}" for key, text in pairs.items() if key != "title"]
        return "\n".join([f"# {task.title}", "", *items]) + (f"\n\n{render(claims, fmt)}" if claims else "")
    if fmt != "table":
        raise ValueError(f"unknown format {fmt!r}: choose {', '.join(FORMATS)}")
    width = max(map(len, pairs))
    lines = [f"{key:<{width}}  {text}".replace("\n", "\n" + " " * (width + 2)) for key, text in pairs.items()]
    return "\n".join(lines) + "".join(_claim_text(row) for row in claims)


def _facts(task: Task, counts: Mapping[str, int]) -> dict[str, Any]:
    spec, paper = task.spec, task.paper
    axes = list(dict.fromkeys(axis for draft in task.drafts for axis in draft.coords))
    sweep = {axis: list({repr(d.coords[axis]): d.coords[axis] for d in task.drafts}.values()) for axis in axes}
    arena = spec.leaderboard
    return {
        "title": task.title,
        "id": task.id,
        "file": task.path,
        "paper": f"arXiv {paper.arxiv}" + (f", {paper.where}" if paper.where else "") if paper else None,
        "note": paper.note if paper else None,
        "tier": task.tier,
        **_sections(task, [] if arena else axes),
        "metrics": [_metric_text(metric) for metric in (task.drafts[0].sections["metrics"] if task.drafts else ())],
        "sweep": {} if arena else sweep,
        "leaderboard": {**arena.model_dump(exclude_none=True), "methods": sweep["method"]} if arena else None,
        "seeds": spec.seeds,
        "cells": dict(counts),
    }


def _sections(task: Task, axes: Sequence[str]) -> dict[str, Any]:
    """What the file says of each section, with `swept` for what its sweep sets."""
    spec = task.spec
    shown: dict[str, Any] = {name: getattr(spec, name) for name in ("dataset", "model", "loss", "method")}
    shown["stop"] = None if task.leaderboard else spec.stop.model_dump(exclude_none=True)
    shown["precision"] = spec.precision
    shown["bisect"] = spec.bisect.model_dump() if spec.bisect else None
    for axis in axes:
        head, *rest = axis.split(".")
        if head in shown:
            shown[head] = _swept(shown[head], rest)
    return shown


def _swept(value: Any, path: Sequence[str]) -> Any:
    if not path or not isinstance(value, Mapping):
        return "swept"
    return {**value, path[0]: _swept(value.get(path[0]), path[1:])}


def _metric_text(metric: Mapping[str, Any]) -> str:
    label = "" if metric["label"] == metric["name"] else f" as {metric['label']}"
    return f"{metric['name']} ({metric['at']}){label}"


def _claim_row(claim: Claim, task: Task) -> Row:
    named = {other.id: other for other in task.claims}
    kind = named[claim.control] if claim.control else claim
    return {
        "id": claim.id,
        "says": claim.says,
        "kind": kind.kind,
        "metric": kind.options.get("metric", ""),
        "region": region(kind.kind, kind.options),
        "along": kind.options.get("along", ""),
        "where": dict(claim.where),
        "control_of": claim.control or "",
        "in_paper": claim.where_in_paper or "",
        "explanation": claim.explanation or "",
    }


def region(kind: str, options: Mapping[str, Any]) -> str:
    """What is accepted, in words."""
    if kind == "outcome":
        return f"{' or '.join(options['is'])} in at least {options['at_least']:.0%} of seeds"
    if kind == "monotone":
        return f"{options['direction']}, tau >= {options['at_least']:g}"
    if options.get("within") is not None:
        text = "in [{:g}, {:g}]".format(*options["within"])
    elif options.get("at_least") is not None:
        text = f">= {options['at_least']:g}"
    else:
        text = f"<= {options['at_most']:g}"
    if kind == "contrast":
        first, second = (_text(side) for side in options["between"])
        return f"{options['as']} of ({first}) to ({second}) {text}"
    return f"slope {text}" if kind == "exponent" else text


def _claim_text(row: Row) -> str:
    head = f"control of {row['control_of']}" if row["control_of"] else row["kind"]
    subject = " along ".join(filter(None, (row["metric"], row["along"])))
    lines = [f"\n\n{row['id']}  ({head})", f"  {row['says']}"]
    lines.append("  must fail: " if row["control_of"] else "  holds if: ")
    lines[-1] += f"{subject} {row['region']}".strip()
    if row["where"]:
        lines.append(f"  where: {_text(row['where'])}")
    if row["in_paper"]:
        lines.append(f"  in the paper: {row['in_paper']}")
    if row["explanation"]:
        lines.append(f"  explanation: {row['explanation']}")
    return "\n".join(lines)


# -- validate ---------------------------------------------------------------------------------------------------------


def validate(paths: Iterable[str] = (), fmt: str = "table") -> int:
    """Check task files, folders of them, or the whole suite; print every mistake with file, line and column.

    Args:
        paths: YAML files, folders or task ids; the whole suite without any.
        fmt: ``json`` prints one document on stdout; ``csv`` and ``markdown`` one line per mistake; ``table`` prints
            mistakes as ``file:line:col: message`` on stderr.

    Returns:
        0 if all files are valid, 1 if not, 4 if there is no file.
    """
    names = _files(list(paths))
    problems, valid = [], 0
    for name in names:
        try:
            load.load_task(name)
            valid += 1
        except TaskFileError as error:
            problems += error.problems
        except registry.UnknownName as error:
            problems.append(load.Problem(name, 0, 0, error.args[0], error.suggestion))
    rows = [problem.plain() for problem in problems]
    if fmt == "json":
        print(json.dumps({"files": len(names), "valid": valid, "problems": rows}, indent=2, ensure_ascii=False))
    elif fmt in ("csv", "markdown"):
        print(render(rows, fmt, columns=tuple(load.Problem.__dataclass_fields__)))
    else:
        for problem in problems:
            print(problem, file=sys.stderr)
        print(f"{valid} of {len(names)} task files are valid")
    return 1 if problems else 0 if names else 4


def _files(paths: Sequence[str]) -> list[str]:
    if not paths:
        return load.suite()
    found: list[str] = []
    for path in paths:
        inside = None
        if os.path.isdir(path):  # hidden folders hold virtual environments and caches
            below = sorted(Path(path).rglob("*.y*ml"))
            inside = [file for file in below if not any(p.startswith(".") for p in file.relative_to(path).parts)]
        found += [path] if inside is None else [file.as_posix() for file in inside]
    return list(dict.fromkeys(found))


# -- text -------------------------------------------------------------------------------------------------------------


def render(rows: Sequence[Row], fmt: str, columns: Sequence[str] = ()) -> str:
    """Rows as text; columns are the keys of the rows in order of first appearance unless given."""
    if fmt == "json":
        return json.dumps(list(rows), indent=2, ensure_ascii=False)
    names = list(columns) or list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_text(row.get(name, "")) for name in names] for row in rows]
    if fmt == "csv":
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([names, *cells])
        return out.getvalue().rstrip("\n")
    if fmt == "markdown":
        lines = [names, ["---"] * len(names), *([_cell(text) for text in row] for row in cells)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if fmt == "table":
        return _rich(names, cells)
    raise ValueError(f"unknown format {fmt!r}: choose {', '.join(FORMATS)}")


def _rich(names: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(names):
        # the first column is what one types next: never broken
        table.add_column(name, no_wrap=index == 0, overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    out = io.StringIO()
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    Console(file=out, width=width, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().strip("\n").splitlines())


def _text(value: Any) -> str:
    """A value as it would stand in a task file, without the outer braces."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_inner(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_inner, value))
    return _inner(value)


def _inner(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + _text(value) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + _text(value) + "]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
