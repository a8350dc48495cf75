"""What `tangentbench show TASK` prints: a task's source, components, sweep, cells and claims."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..tasks import load
from ..tasks.load import Task
from ..tasks.spec import Claim
from .regions import Rejection, region_of
from .rows import FORMATS, Row, cell_of, render, text_of
from .text_table import definitions, hanging, terminal_width

SECTIONS = ("dataset", "model", "loss", "method", "stop", "record", "precision", "bisect")
SWEPT = "swept"
NEXT = "\n"  # between the lines of one fact


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
    facts = _facts(task) | {"cells": {each: len(load.cells(at)) for each, at in tiers.items()}}
    claims = [_claim_row(claim, task) for claim in task.claims]
    if fmt == "json":
        return json.dumps({**facts, "claims": claims}, indent=2, ensure_ascii=False, allow_nan=False)
    if fmt == "csv":
        return render(claims or _cell_rows(task), fmt)
    pairs = _texts(facts)
    if fmt == "markdown":
        items = [f"- **{key}**: {cell_of(text.replace(NEXT, '; '))}" for key, text in pairs.items() if key != "title"]
        return "\n".join([f"# {task.title}", "", *items]) + (f"\n\n{render(claims, fmt)}" if claims else "")
    if fmt != "table":
        raise ValueError(f"unknown format {fmt!r}: choose {', '.join(FORMATS)}")
    width = terminal_width()
    return "\n".join(definitions(pairs, width)) + "".join(hanging(_claim_text(row), width) for row in claims)


def setup(task: Task) -> dict[str, str]:
    """What the cells of a task are made of, in words; options that hold for all of them, then what a sweep changes."""
    about = ("title", "id", "file", "paper", "note", "tier", "metrics")
    return {key: text for key, text in _texts(_facts(task)).items() if key not in about}


def _texts(facts: Mapping[str, Any]) -> dict[str, str]:
    shown = {key: value for key, value in facts.items() if value not in (None, "", [], {})}
    special = {"labels": _labels_text, "metrics": NEXT.join}
    return {key: special.get(key, text_of)(value) for key, value in shown.items()}


def _facts(task: Task) -> dict[str, Any]:
    spec, paper = task.spec, task.paper
    axes = list(dict.fromkeys(axis for draft in task.drafts for axis in draft.coords))
    values = {axis: list({repr(d.coords[axis]): d.coords[axis] for d in task.drafts}.values()) for axis in axes}
    arena = spec.leaderboard
    return {
        "title": task.title,
        "id": task.id,
        "file": task.path,
        "paper": f"arXiv {paper.arxiv}" + (f", {paper.where}" if paper.where else "") if paper else None,
        "note": paper.note if paper else None,
        "tier": task.tier,
        **_sections(task),
        "metrics": [_metric_text(metric) for metric in _metrics(task)],
        "sweep": {} if arena else _sweep(task, values),
        "labels": {} if arena else {axis: found for axis in axes if (found := _labels(task, axis))},
        "leaderboard": {**arena.model_dump(exclude_none=True), "methods": values["method"]} if arena else None,
        "seeds": spec.seeds,
        "stream": spec.stream,
    }


def _sweep(task: Task, values: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The axes with their values; those of a `zip`, which advance together, within it and with repetitions."""
    together = [axis for axis in task.spec.sweep.get("zip") or {} if axis in values]
    points = {repr(point): point for draft in task.drafts if (point := [draft.coords[axis] for axis in together])}
    zipped = dict(zip(together, map(list, zip(*points.values(), strict=True)), strict=True)) if together else {}
    product = {axis: found for axis, found in values.items() if axis not in together}
    return {"zip": zipped, **product} if zipped else product


def _cell_rows(task: Task) -> list[Row]:
    """The cells with the options of their methods and their steps; of an arena, its tuning grid."""
    rows = []
    for draft in task.drafts:
        method = {("method" if key == "name" else key): value for key, value in draft.sections["method"].items()}
        rows.append({**draft.coords, **method, **draft.sections["stop"]})
    return rows


def _sections(task: Task) -> dict[str, Any]:
    """What all cells have in common in each section, defaults filled in, with `swept` for what the sweep sets."""
    spec, drafts = task.spec, [draft.sections for draft in task.drafts]
    absent = set() if spec.method else {"method"}  # measured only, or an arena: its methods are listed there
    absent |= {"stop"} if task.leaderboard else set()
    absent |= {"record"} if all(sections["stop"]["steps"] == 0 for sections in drafts) else set()
    shown = {name: _common([sections[name] for sections in drafts]) for name in SECTIONS if name not in absent}
    if spec.bisect:
        *path, last = spec.bisect.along.split(".")
        _at(shown, path)[last] = "bisected"
    if task.leaderboard:  # a method's steps between records depend on its batch
        shown["record"] = {"every": f"{spec.record.every} epochs"} if spec.record.every else None
    return {name: _given(value) for name, value in shown.items()}


def _at(value: Any, path: Sequence[str]) -> Any:
    return functools.reduce(lambda inner, key: inner[key], path, value)


def _common(values: Sequence[Any]) -> Any:
    """What several values of a section share: one value, or the mapping of the options that all of them have."""
    if not all(isinstance(value, Mapping) for value in values):
        return values[0] if all(value == values[0] for value in values) else SWEPT
    keys = [key for key in values[0] if all(key in value for value in values)]
    return {key: _common([value[key] for value in values]) for key in keys} if keys else SWEPT


def _given(value: Any) -> Any:
    """A section without the options that are not set."""
    if not isinstance(value, Mapping):
        return value
    return {key: _given(inner) for key, inner in value.items() if inner is not None}


def _labels(task: Task, axis: str) -> dict[str, dict[str, Any]]:
    """By label of an axis, the options in which its values differ; nothing for an axis without labels."""
    head, *path = axis.split(".")
    found: dict[Any, list[Any]] = {}
    for draft in task.drafts:
        found.setdefault(draft.coords[axis], []).append(_at(draft.sections[head], path))
    if not any(isinstance(coord, str) and coord != values[0] for coord, values in found.items()):
        return {}
    options = {str(coord): dict(_options(_common(values), axis.split(".")[-1])) for coord, values in found.items()}
    names = dict.fromkeys(name for each in options.values() for name in each)
    differ = [name for name in names if len({repr(each.get(name, SWEPT)) for each in options.values()}) > 1]
    if not differ:
        return {}
    return {
        label: {name: each[name] for name in differ if each.get(name, SWEPT) != SWEPT}
        for label, each in options.items()
    }


def _options(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """A value under its name, or its options under their paths: `init.output`."""
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, inner in value.items():
        for path, option in _options(inner, ""):
            yield ".".join(filter(None, (key, path))), option


def _labels_text(axes: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    return NEXT.join(
        f'{axis} "{label}": ' + ", ".join(f"{name}={_option_text(value)}" for name, value in options.items())
        for axis, labels in axes.items()
        for label, options in labels.items()
    )


def _option_text(value: Any) -> str:
    return "none" if value is None else text_of([value])


def _metrics(task: Task) -> list[dict[str, Any]]:
    """The metrics with every time at which a cell measures them: a default depends on whether the cell trains."""
    first: dict[str, Mapping[str, Any]] = {}
    times: dict[str, list[str]] = {}
    for draft in task.drafts:
        for metric in draft.sections["metrics"]:
            first.setdefault(metric["label"], metric)
            times.setdefault(metric["label"], []).append(metric["at"])
    return [{**metric, "at": " or ".join(dict.fromkeys(times[label]))} for label, metric in first.items()]


def _metric_text(metric: Mapping[str, Any]) -> str:
    label = "" if metric["label"] == metric["name"] else f", label {metric['label']}"
    options = {key: value for key, value in metric.items() if key not in ("name", "label", "at")}
    words = "".join(f", {key} {text_of(value)}" for key, value in options.items())
    return f"{metric['name']} (at {metric['at']}{label}{words})"


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
        "against": options.get("against", ""),
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
    if kind == "rank_correlation":
        return f"rho {text}, over at least {options['methods_at_least']} methods"
    return f"slope {text}" if kind == "exponent" else text


def _claim_text(row: Row) -> str:
    head = f"control of {row['control_of']}" if row["control_of"] else row["kind"]
    subject = row["metric"] + (f" along {row['along']}" if row["along"] else "")
    subject += f" against {row['against']}," if row["against"] else ""
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
