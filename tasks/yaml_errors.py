"""What PyYAML finds wrong with a file's syntax, in words about the file: where to look and what to change."""

from __future__ import annotations

import re
from typing import Any

QUOTES = "put text with special characters in quotes"
RULES: tuple[tuple[str, str, str], ...] = (
    # (pattern in PyYAML's words, what is wrong, what to change); {opened} is where the construct began
    (r"flow mapping.*',' or '}'", "the '{' {opened} is not closed, or a comma is missing before this place",
     "write '}' at its end, or ',' between its keys"),
    (r"flow sequence.*',' or ']'", "the '[' {opened} is not closed, or a comma is missing before this place",
     "write ']' at its end, or ',' between its items"),
    (r"quoted scalar.*end of stream", "the quote {opened} is not closed", "write the same quote at its end"),
    (r"simple key|expected ':'", "this line is no `key: value`: it has no ':' followed by a space",
     "write `key: value`, or indent the line if it goes on with the text above"),
    (r"block mapping.*expected (key|<block end>)", "this line does not line up with the keys of the mapping {opened}",
     "start all keys of a mapping in the same column"),
    (r"block (collection|sequence).*expected ('-' indicator|<block end>)",
     "this line does not line up with the items of the list {opened}", "start all its '- ' in the same column"),
    (r"sequence entries are not allowed", "a '- ' stands where no list can begin",
     "start the list on a line of its own"),
    (r"cannot start any token", "a value cannot start with {character}", QUOTES),
    (r"scanning an? (alias|anchor)", "'*' and '&' at the start of a value have a meaning of their own", QUOTES),
    (r"escape character", "an unknown escape: '\\' has a meaning of its own in double quotes", "use single quotes"),
    (r"expected '?<document start>", "this line does not belong to the mapping above it",
     "start all keys of a mapping in the same column, and end the file after it"),
    (r"tab character|'\\t'", "a tab stands where spaces must", "use spaces"),
)  # fmt: skip


def in_words(error: Any, text: str) -> tuple[int, int, str, str]:
    """(line, column, what is wrong, what to change) for a ``yaml.MarkedYAMLError`` in a text."""
    reason = " ".join(filter(None, (error.context, error.problem))).replace("\n", " ")
    start, mark = error.context_mark, error.problem_mark or error.context_mark
    if "simple key" in reason and start is not None:
        mark = start  # the problem is noticed at the next line
    line, col = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.split("\n")
    if line > len(lines):  # PyYAML sees an end that no editor shows
        line, col = len(lines), len(lines[-1]) + 1
    found = lines[line - 1]
    before, character = found[: col - 1], found[col - 1 : col]
    message, hint = _words(reason, before, character)
    opened = f"at line {start.line + 1}, column {start.column + 1}" if start else "above"
    return line, col, f"not valid YAML: {message.replace('{opened}', opened)}", hint


def _words(reason: str, before: str, character: str) -> tuple[str, str]:
    if "mapping values are not allowed" in reason:
        if ": " in before:
            return "text that contains ': ' looks like a second key", "put the text in quotes"
        hint = "line it up with the keys above, and write a space after every ':'"
        return "a key cannot start in this line: it continues the value of the line above", hint
    if character in ("}", "]") and "block" in reason:
        return f"this '{character}' closes nothing", "remove it"
    for pattern, message, hint in RULES:
        if re.search(pattern, reason):
            return message.replace("{character}", repr(character)), hint
    return reason, ""
