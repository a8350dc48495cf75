"""What `tangentbench list` prints: every task or component, or one component with its options.

Tasks are listed by their headlines, and components by their entries: neither builds a schema.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from ..tasks import catalog, registry
from ..tasks.headlines import headline
from .rows import FORMATS, Row, cell_of, render, text_of
from .text_table import definitions, terminal_width, wrapped

BOUNDS = {
    "tolerance": "the largest residual, as a share of the value, with which a run is evidence",
    "margin": "the share of its size by which it may differ between two commits as if it had not moved",
    "negligible": "the amount, in its unit, by which it may differ beside that",
}
"""What the numbers of a metric's entry bound."""

KINDS = {
    "datasets": "dataset", "models": "model", "losses": "loss", "methods": "method", "metrics": "metric",
    "claims": "claim",
}  # fmt: skip
"""What can be listed beside `tasks`, and the registry's word for one of them."""


LONG = {"tasks": "title", "metrics": "definition"}
"""The text that a row on several lines says first, where it is not the summary."""


def list_components(kind: str, fmt: str = "table", *, folder: str | None = None) -> str:
    """All tasks, or all components of one kind, as text.

    Args:
        kind: ``tasks``, or one of `KINDS`.
        fmt: table | markdown | csv | json.
        folder: a folder of more tasks.

    Raises:
        TaskFileError: a task file is invalid.
        ValueError: unknown kind or format.
    """
    if kind == "tasks":
        return _rendered(_tasks(folder), kind, fmt)
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}: choose tasks, {', '.join(KINDS)}")
    return _rendered([_entry_row(entry) for entry in registry.table(KINDS[kind]).values()], kind, fmt)


def _rendered(rows: list[Row], kind: str, fmt: str) -> str:
    """As a table, unless its lines do not fit the terminal, or a few lines for each row are fewer."""
    text, width = render(rows, fmt), terminal_width()
    if fmt != "table":
        return text
    lines = [line for row in rows for line in _stacked(row, LONG.get(kind, "summary"), width)]
    table = text.splitlines()
    return text if len(table) <= len(lines) and max(map(len, table)) <= width else "\n".join(lines)


def _stacked(row: Row, long: str, width: int) -> list[str]:
    """A row on several lines: its name, which is never broken, its long text, and every other field with its key."""
    (_, name), *others = row.items()
    facts = "; ".join(f"{key}: {text_of(value)}" for key, value in others if key != long and value != "")
    below = [line for text in (text_of(row[long]), facts) if text for line in wrapped(text, width - 3)]
    return [f" {name}", *(f"   {line}" for line in below)]


def _tasks(folder: str | None) -> list[Row]:
    rows = []
    for name, path in catalog.catalog(folder).items():
        found = headline(name, path, catalog.shown(path))
        if found is None:
            from ..tasks import load

            load.load_task(name, folder=folder)  # says what is wrong with the file
            continue
        rows.append({**dataclasses.asdict(found), "arena": "yes" if found.arena else ""})
    return rows


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


# -- one component ----------------------------------------------------------------------------------------------------


def named(name: str, kind: str | None = None) -> list[registry.Entry]:
    """The components with a name: of one kind of `KINDS`, or of any (a metric and a claim may share one).

    Raises:
        UnknownName: there is none.
    """
    if kind is not None:
        return [registry.find(KINDS[kind], name)]
    return [table[name] for each in KINDS.values() if name in (table := registry.table(each))]


def names() -> list[str]:
    """The names of all components."""
    return [name for kind in KINDS.values() for name in registry.table(kind)]


def show_component(entry: registry.Entry, fmt: str = "table") -> str:
    """One component: what it is, and every option with what it may be, its default and its meaning.

    Args:
        entry: of the registry.
        fmt: table (plain text) | markdown | csv (one line per option) | json (one document).

    Raises:
        ValueError: unknown format.
    """
    from ..tasks.option_words import options

    facts = {key: value for key, value in _facts(entry).items() if value not in ("", (), [])}
    rows = [option.plain() for option in options(entry)]
    if fmt == "json":
        return json.dumps({**facts, "options": rows}, indent=2, ensure_ascii=False, allow_nan=False)
    rows = [{**row, "default": "none" if row["default"] is None else row["default"]} for row in rows]
    if fmt == "csv":
        return render(rows, fmt, columns=("option", "type", "default", "says"))
    if fmt not in FORMATS:
        raise ValueError(f"unknown format {fmt!r}: choose {', '.join(FORMATS)}")
    pairs = {key: "\n".join(map(text_of, value)) if key == "grid" else text_of(value) for key, value in facts.items()}
    pairs |= {key: f"{facts[key]:g}: {says}" for key, says in BOUNDS.items() if key in facts}
    table = render(rows, fmt) if rows else "no options"
    if fmt == "markdown":
        items = [f"- **{key}**: {cell_of(text)}" for key, text in pairs.items() if key != "name"]
        return "\n".join([f"# {entry.name}", "", *items, "", table])
    return "\n".join([*definitions(pairs, terminal_width()), "", table])


def _facts(entry: registry.Entry) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": entry.name, "kind": entry.kind, "summary": entry.summary, "source": entry.source}
    if isinstance(entry, registry.MetricEntry):
        facts |= {"definition": entry.definition, "unit": entry.unit, "direction": entry.direction}
        facts |= {key: value for key in BOUNDS if (value := getattr(entry, key)) is not None}
        facts |= {"cost": entry.cost} | {key: list(getattr(entry, key)) for key in ("at", "needs", "requires")}
    if isinstance(entry, registry.MethodEntry):
        facts["grid"] = list(entry.grid)
    return {**facts, "origin": entry.origin}
