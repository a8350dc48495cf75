"""What `tangentbench show TASK` prints: a task's source, components, sweep, cells and claims."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..tasks import load
from ..tasks.load import Task
from ..tasks.spec import Claim
from .regions import Rejection, region_of
from .rows import FORMATS, Row, cell_of, render, text_of


def show_task(name: str, tier: str = "laptop", fmt: str = "table", *, folder: str | None = None) -> str:
    """One task in full: source, components, sweep, cells per tier, claims with their regions and controls.

    Args:
        name: task id or path of a YAML file.
        tier: whose sizes are shown.
        fmt: table (plain text) | markdown | csv (one line per claim, or per cell where there is no
            claim, as in an arena) | json (one document).
        folder: a folder of more tasks.

    Raises:
        TaskFileError: the file is invalid.
        UnknownName: no such task.
    """
    tiers = load.load_tiers(name, folder)
    task = tiers[tier]
    facts = _facts(task, {each: len(load.cells(at)) for each, at in tiers.items()})
    claims = [_claim_row(claim, task) for claim in task.claims]
    if fmt == "json":
        return json.dumps({**facts, "claims": claims}, indent=2, ensure_ascii=False, allow_nan=False)
    if fmt == "csv":
        return render(claims or _cell_rows(task), fmt)
    pairs = {key: text_of(value) for key, value in facts.items() if value not in (None, "", [], {})}
    if fmt == "markdown":
        items = [f"- **{key}**: {cell_of(text)}" for key, text in pairs.items() if key != "title"]
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


def _cell_rows(task: Task) -> list[Row]:
    """The cells with the options of their methods and their steps; of an arena, its tuning grid."""
    rows = []
    for draft in task.drafts:
        method = {("method" if key == "name" else key): value for key, value in draft.sections["method"].items()}
        rows.append({**draft.coords, **method, **draft.sections["stop"]})
    return rows


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
    own = {"between": claim.between, "metric": claim.metric}
    options = {**kind.options, **{key: value for key, value in own.items() if value is not None}}
    return {
        "id": claim.id,
        "says": claim.says,
        "kind": kind.kind,
        "metric": options.get("metric", ""),
        "region": region(kind.kind, options),
        "along": options.get("along", ""),
        "where": dict(claim.where),
        "control_of": claim.control or "",
        "rejected_if": _rejection(kind.kind, kind.options) if claim.control else "",
        "in_paper": claim.where_in_paper or "",
        "explanation": claim.explanation or "",
    }


def _rejection(kind: str, options: Mapping[str, Any]) -> str:
    """What an exponent's control must show beside missing the region; nothing for the other kinds."""
    if kind != "exponent":
        return ""
    rejection = Rejection.of(region_of(options))
    side = f"above {rejection.above:g}" if rejection.above is not None else f"below {rejection.below:g}"
    return f"the whole interval of the slope lies {side}"


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
        first, second = (text_of(side) for side in options["between"])
        return f"{options['as']} of ({first}) to ({second}) {text}"
    return f"slope {text}" if kind == "exponent" else text


def _claim_text(row: Row) -> str:
    head = f"control of {row['control_of']}" if row["control_of"] else row["kind"]
    subject = " along ".join(filter(None, (row["metric"], row["along"])))
    lines = [f"\n\n{row['id']}  ({head})", f"  {row['says']}"]
    lines.append("  must fail: " if row["control_of"] else "  holds if: ")
    lines[-1] += f"{subject} {row['region']}".strip()
    if row["rejected_if"]:
        lines.append(f"  rejected if: {row['rejected_if']}")
    if row["where"]:
        lines.append(f"  where: {text_of(row['where'])}")
    if row["in_paper"]:
        lines.append(f"  in the paper: {row['in_paper']}")
    if row["explanation"]:
        lines.append(f"  explanation: {row['explanation']}")
    return "\n".join(lines)
