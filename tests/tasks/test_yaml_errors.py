"""Mistakes of syntax: the place, and words that need no knowledge of YAML's grammar, with both of PyYAML's parsers."""

import pytest
import yaml

from tangentbench.tasks.document import parse
from tangentbench.tasks.problem import TaskFileError

CASES = {
    "open mapping": ("a: {b: 1\nc: 2\n", 2, "the '{' at line 1, column 4 is not closed", "write '}' at its end"),
    "missing comma": ("a: {b: 1 c: 2}\n", 1, "a comma is missing before this place", "',' between its keys"),
    "open list": ("a: [1, 2\nc: 2\n", 2, "the '[' at line 1, column 4 is not closed", "write ']' at its end"),
    "open quote": ('a: "text\nb: 1\n', 3, "the quote at line 1, column 4 is not closed", "the same quote"),
    "colon in text": ("title: Foo: bar\n", 1, "text that contains ': ' looks like a second key", "in quotes"),
    "no colon": ("a: 1\nb\nc: 2\n", 2, "this line is no `key: value`", "write `key: value`"),
    "no space": ("a:1\nb: 2\n", 2, "a key cannot start in this line", "a space after every ':'"),
    "indented": ("a: 1\n  b: 2\n", 2, "a key cannot start in this line", "line it up with the keys above"),
    "half dedented": (
        "a:\n  b: 1\n c: 2\n",
        3,
        "does not line up with the keys of the mapping at line 1, column 1",
        "same",
    ),
    "list out of line": (
        "a:\n  - 1\n  b: 2\n",
        3,
        "does not line up with the items of the list at line 2",
        "same column",
    ),
    "list in line": ("a: - 1\n", 1, "a '- ' stands where no list can begin", "a line of its own"),
    "at sign": ("a: @x\n", 1, "a value cannot start with '@'", "in quotes"),
    "star": ("a: *\n", 1, "'*' and '&' at the start of a value", "in quotes"),
    "escape": ('a: "\\d"\n', 1, "an unknown escape", "use single quotes"),
    "one brace too many": ("a: {b: 1}}\n", 1, "this '}' closes nothing", "remove it"),
    "after the end": ("a: 1\n...\nb\n", 3, "this line does not belong to the mapping above it", "same column"),
}


@pytest.mark.parametrize("parser", ["C", "python"])
@pytest.mark.parametrize(("text", "line", "message", "hint"), CASES.values(), ids=CASES)
def test_syntax_is_explained(monkeypatch, parser, text, line, message, hint):
    if parser == "python":
        monkeypatch.delattr(yaml, "CSafeLoader")
    with pytest.raises(TaskFileError) as caught:
        parse(text)
    (problem,) = caught.value.problems
    assert problem.line == line and problem.message.startswith("not valid YAML: ")
    assert message in problem.message and hint in problem.suggestion


def test_an_end_without_a_line_end_is_in_the_last_line():
    """PyYAML sees the end of the file in a line after the last; an editor does not show it."""
    for text, place in (("title: {a", (1, 10)), ("title: {a\n", (2, 1)), ("a: 1\nb: [1,", (2, 7))):
        with pytest.raises(TaskFileError) as caught:
            parse(text, "task.yaml")
        (problem,) = caught.value.problems
        assert (problem.line, problem.col) == place and problem.message.startswith("not valid YAML: ")
