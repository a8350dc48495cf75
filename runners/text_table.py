"""Tables of text: columns that share the width, words that wrap, colours where a terminal wants them."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CODES = {"bold": "1", "dim": "2", "green": "32", "yellow": "33", "bold red": "1;31"}
"""Styles by name, as the codes that terminals understand."""
PIPE_WIDTH = 100
LEAST_WIDTH = 60


@dataclass(frozen=True)
class Head:
    """How a column is set. `keep`: its cells are never broken; others get `least` characters, or their longest word."""

    title: str
    right: bool = False
    keep: bool = False
    least: int = 14


def terminal_width() -> int:
    """Characters of a line: of the variable COLUMNS, else the terminal's, else `PIPE_WIDTH`; at least `LEAST_WIDTH`."""
    return max(shutil.get_terminal_size((PIPE_WIDTH, 24)).columns, LEAST_WIDTH)


def hanging(text: str, width: int) -> str:
    """Lines of at most ``width`` characters; what continues a line stands below its text, or its second column."""
    lines = []
    for line in text.split("\n"):
        found = re.match(r" *(?:\S.*? {2,})?", line) if len(line) > width else None
        head = found[0] if found else ""
        first, *more = wrapped(line[len(head) :], max(width - len(head), 1))
        lines += [head + first, *(" " * len(head) + part for part in more)]
    return "\n".join(lines)


def definitions(pairs: Mapping[str, str], width: int) -> list[str]:
    """A line per key with its text beside it, wrapped within its column."""
    column = max(map(len, pairs)) + 2
    lines = []
    for key, text in pairs.items():
        first, *more = wrapped(text, max(width - column, 1))
        lines += [f"{key:<{column}}{first}".rstrip(), *(" " * column + part for part in more)]
    return lines


def layout(
    heads: Sequence[Head],
    rows: Sequence[Sequence[str]],
    width: int,
    styles: Sequence[Sequence[str]] | None = None,
    widths: Sequence[int] | None = None,
) -> list[str]:
    """The lines of a table: heads, a rule, and the rows; a no-break space is printed as a space.

    Args:
        heads: one per column.
        rows: one text per column; a newline starts a new line within the cell.
        width: characters of a line; exceeded only where the cells that must be kept need more.
        styles: per row and column a key of `CODES`, or nothing.
        widths: of the columns, where several tables are to line up (`measure`).
    """
    gap, widths = _gap(widths, width) if widths is not None else _fitted(heads, rows, width)
    lines = [*_row([head.title for head in heads], heads, widths, gap, ["bold" if styles else ""] * len(heads))]
    lines.append(" " + "─" * (sum(widths) + gap * (len(widths) - 1)))
    for index, row in enumerate(rows):
        lines += _row(row, heads, widths, gap, styles[index] if styles else [""] * len(heads))
    return lines


def measure(heads: Sequence[Head], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Widths of the columns."""
    return _fitted(heads, rows, width)[1]


def styled(text: str, style: str) -> str:
    """Text in a style; as it is without one."""
    return f"\x1b[{CODES[style]}m{text}\x1b[0m" if style and text else text


class _Wrapper(textwrap.TextWrapper):
    """Breaks a word that is longer than a line after an underscore or a slash, where it has one."""

    def _handle_long_word(self, reversed_chunks: list[str], cur_line: list[str], cur_len: int, width: int) -> None:
        word, space = reversed_chunks[-1], max(width - cur_len, 1)
        cut = max(word.rfind(sign, 0, space) for sign in "_/") + 1
        if cut:
            cur_line.append(word[:cut])
            reversed_chunks[-1] = word[cut:]
        elif not cur_line:
            super()._handle_long_word(reversed_chunks, cur_line, cur_len, width)


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` characters, broken between words, else after underscores, where that is possible."""
    wrapper = _Wrapper(max(width, 1), break_on_hyphens=False)
    lines = []
    for paragraph in text.split("\n"):
        lines += wrapper.wrap(paragraph) or [""]
    return [line.replace("\u00a0", " ") for line in lines]


def _fitted(heads: Sequence[Head], rows: Sequence[Sequence[str]], width: int) -> tuple[int, list[int]]:
    """The gap between columns and their widths: what is left beside the floors goes to the narrowest first."""
    columns = [[head.title, *(row[i] for row in rows)] for i, head in enumerate(heads)]
    natural = [max(len(line) for text in column for line in text.split("\n")) for column in columns]
    floors = [
        most if head.keep else min(most, head.least or max(len(word) for text in column for word in _words(text)))
        for head, column, most in zip(heads, columns, natural, strict=True)
    ]
    gap, widths = _gap(floors, width)
    extra = width - 1 - sum(widths) - gap * (len(widths) - 1)
    while extra > 0 and (short := [i for i, most in enumerate(natural) if widths[i] < most]):
        widths[min(short, key=widths.__getitem__)] += 1
        extra -= 1
    return gap, widths


def _words(text: str) -> list[str]:
    return text.replace("\n", " ").split(" ")


def _gap(widths: Sequence[int], width: int) -> tuple[int, list[int]]:
    """Two characters between columns, one where that is too wide."""
    return (2 if sum(widths) + 2 * len(widths) - 1 <= width else 1), list(widths)


def _row(
    texts: Sequence[str], heads: Sequence[Head], widths: Sequence[int], gap: int, styles: Sequence[str]
) -> list[str]:
    cells = [
        wrapped(text, max(width, len(text)) if head.keep else width)
        for text, head, width in zip(texts, heads, widths, strict=True)
    ]
    lines = []
    for number in range(max(map(len, cells), default=0)):
        parts = []
        for cell, head, width, style in zip(cells, heads, widths, styles, strict=True):
            text = cell[number] if number < len(cell) else ""
            space = " " * (width - len(text))
            parts.append(space + styled(text, style) if head.right else styled(text, style) + space)
        lines.append((" " + (" " * gap).join(parts)).rstrip())
    return lines
