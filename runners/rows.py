"""Rows of plain data as text, and values in the words of a task file."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .text_table import Head, layout, terminal_width

FORMATS = ("table", "markdown", "csv", "json")

Row = Mapping[str, Any]


def render(rows: Sequence[Row], fmt: str, columns: Sequence[str] = ()) -> str:
    """Rows as text; columns are the keys of the rows in order of first appearance unless given."""
    if fmt == "json":
        return json.dumps(list(rows), indent=2, ensure_ascii=False, allow_nan=False)
    names = list(columns) or list(dict.fromkeys(key for row in rows for key in row))
    cells = [[text_of(row.get(name, "")) for name in names] for row in rows]
    if fmt == "csv":
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([names, *cells])
        return out.getvalue().rstrip("\n")
    if fmt == "markdown":
        lines = [names, ["---"] * len(names), *([cell_of(text) for text in row] for row in cells)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if fmt == "table":
        return _table(names, cells)
    raise ValueError(f"unknown format {fmt!r}: choose {', '.join(FORMATS)}")


def _table(names: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    # the first column is what one types next: never broken
    heads = [Head(name, keep=index == 0) for index, name in enumerate(names)]
    return "\n".join(layout(heads, cells, terminal_width()))


def text_of(value: Any) -> str:
    """A value as it would stand in a task file, without the outer braces or quotes."""
    if isinstance(value, Mapping):
        return ", ".join(f"{_quoted(str(key))}: {_inner(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_inner, value))
    return value if isinstance(value, str) else _inner(value)


def _quoted(text: str) -> str:
    """Text within a list or mapping: in quotes where it would not be read as one value."""
    return json.dumps(text, ensure_ascii=False) if re.search(r"[,\[\]{}\"]|: |:$", text) else text


def _inner(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + text_of(value) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + text_of(value) + "]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else _quoted(str(value))


def cell_of(text: str) -> str:
    """Text as it may stand in a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
