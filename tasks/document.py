"""Strict YAML with positions: the text of a task file becomes a tree of nodes that remember line and column.

PyYAML scans and parses; composing and resolving are done here, because its resolver follows YAML 1.1 (``1e-3`` is a
string, ``no`` is False, ``12:30`` is 750, ``010`` is 8), keeps the last of two equal keys, and expands aliases without
bound. Here plain scalars follow the YAML 1.2 core schema, and every spelling that the two versions read differently
is an error. The event stream is consumed step by step, so depth and size are bounded before anything grows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from .problem import Problem, TaskFileError, did_you_mean
from .yaml_errors import in_words

NEW = "`tangentbench new task NAME` writes one to start from"
MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_NODES = 50_000  # after alias expansion
MAX_KEYS = 1000  # of one mapping

Scalar = str | int | float | bool | None
Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the file, 1-based."""

    line: int
    col: int


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value with its place. ``value`` is a scalar, a list of nodes, or a dict of ``key -> (mark of key, node)``.

    ``text`` is how a plain scalar was written: it tells ``2306.04815`` from ``2306.048150``.
    """

    value: Any
    mark: Mark
    text: str = ""

    def plain(self) -> Any:
        """The value as plain Python data."""
        value = self.value
        kind = type(value)  # called for each node of each cell: `isinstance` would cost twice the time
        if kind is dict:
            return {k: n.plain() for k, (_, n) in value.items()}
        return [n.plain() for n in value] if kind is list else value

    def get(self, key: str | int) -> Node | None:
        """The child at a key or an index; ``None`` where there is none."""
        if isinstance(self.value, dict) and key in self.value:
            return self.value[key][1]
        if isinstance(self.value, list) and type(key) is int and 0 <= key < len(self.value):
            return self.value[key]
        return None

    def at(self, path: Keys) -> Node | None:
        """The descendant at a path; ``None`` where there is none."""
        node: Node | None = self
        for key in path:
            node = node.get(key) if node else None
        return node

    def path(self, loc: Iterable[str | int]) -> Keys:
        """The part of a pydantic location that exists in the document; it also names branches of unions."""
        node, path = self, ()
        for step in loc:
            child = node.get(step)
            if child is not None:
                node, path = child, (*path, step)
        return path

    def place(self, path: Keys, *, key: bool = False) -> Mark:
        """Mark of the value (or of the key) at ``path``, else of its nearest ancestor that exists."""
        node, mark = self, self.mark
        for step in path:
            child = node.get(step)
            if child is None:
                break
            keyed = key and isinstance(node.value, dict)
            node, mark = child, node.value[step][0] if keyed else child.mark
        return mark


def positions(root: Node) -> dict[Keys, tuple[Mark, Mark]]:
    """Every path of the tree with (mark of its key, mark of its value); list items have their own mark twice."""

    def walk(node: Node, path: Keys) -> Iterator[tuple[Keys, tuple[Mark, Mark]]]:
        if isinstance(node.value, dict):
            for name, (mark, child) in node.value.items():
                yield (*path, name), (mark, child.mark)
                yield from walk(child, (*path, name))
        elif isinstance(node.value, list):
            for index, child in enumerate(node.value):
                yield (*path, index), (child.mark, child.mark)
                yield from walk(child, (*path, index))

    return dict(walk(root, ()))


def marks(root: Node) -> set[Mark]:
    """Every place in a tree, keys included."""
    return {root.mark} | {mark for both in positions(root).values() for mark in both}


def read(path: str | Path, shown: str | None = None) -> Node:
    """Root node of a file; raises `TaskFileError`. ``shown`` is the name used in messages."""
    shown = shown or str(path)
    try:
        path = Path(path)
        if not path.is_file():
            if path.exists():
                raise TaskFileError([Problem(shown, 0, 0, "not a file")])
            near = did_you_mean(shown, map(str, path.parent.glob("*.yaml")), otherwise=NEW)
            raise TaskFileError([Problem(shown, 0, 0, "no such file", near)])
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise TaskFileError([Problem(shown, 0, 0, f"cannot be read: {getattr(error, 'strerror', error)}")]) from None
    return parse(raw, shown)


def parse(raw: bytes | str, shown: str = "<text>") -> Node:
    """Root node of a document given as bytes (UTF-8) or text; its value is always a mapping."""
    return _Composer(_decode(raw, shown), shown).document()


def _decode(raw: bytes | str, shown: str) -> str:
    """Text without a byte-order mark; refuses what no task file needs: size, bad UTF-8, control characters, tabs."""

    def refuse(text_before: str, message: str, suggestion: str = "") -> TaskFileError:
        line = text_before.count("\n") + 1
        col = len(text_before) - (text_before.rfind("\n") + 1) + 1
        return TaskFileError([Problem(shown, line, col, message, suggestion)])

    if isinstance(raw, str):
        raw = raw.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_BYTES:
        raise refuse("", f"the file is larger than {MAX_BYTES // 1024} KiB", "task files are short")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", "replace")
        raise refuse(before, f"not valid UTF-8: byte 0x{raw[error.start]:02x}", "save the file as UTF-8") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if bad := _CONTROL.search(text):
        code = f"U+{ord(bad[0]):04X}"
        raise refuse(text[: bad.start()], f"control character {code}", "remove it; the file may not be text")
    if tab := re.search(r"^ *\t", text, re.MULTILINE):
        raise refuse(text[: tab.end() - 1], "tab in the indentation", "indent with spaces")
    return text


_CONTROL = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_ODD_NUMBER = re.compile(
    r"[-+]?(?:0[0-9_]+(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|0[xob][0-9a-fA-F_]+|[0-9][0-9]*_[0-9_.]*|\.(?:inf|Inf|INF)|"
    r"\.(?:nan|NaN|NAN))"
)
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class _Composer:
    """Builds the tree from PyYAML's events; non-fatal mistakes are collected and raised together at the end."""

    def __init__(self, text: str, shown: str):
        self.text, self.shown = text, shown
        self.problems: list[Problem] = []
        self.anchors: dict[str, tuple[Node, int] | None] = {}  # None while the anchored node is still open
        self.nodes = 0

    def document(self) -> Node:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C scanner is eight times as fast
        events = yaml.parse(self.text, Loader=loader)
        try:
            root = self._documents(events)
        except yaml.MarkedYAMLError as error:
            line, col, message, hint = in_words(error, self.text)
            raise TaskFileError([*self.problems, self._problem(Mark(line, col), message, hint)]) from None
        except yaml.YAMLError as error:
            reason = str(error).splitlines()[0]
            raise TaskFileError([*self.problems, self._problem(Mark(1, 1), f"not valid YAML: {reason}")]) from None
        if self.problems:
            raise TaskFileError(self.problems)
        if not isinstance(root.value, dict):
            where = root.mark
            raise TaskFileError([self._problem(where, "a task file is a mapping of keys, such as `title: …`")])
        return root

    def _documents(self, events: Iterator[Any]) -> Node:
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self._fatal(_mark(event), "a second document starts here", "one task per file")
                root = self._node(next(events), events, 1)[0]
        if root is None:
            self._fatal(Mark(1, 1), "the file is empty", NEW)
        return root

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> tuple[Node, int]:
        """The node that starts with ``event``, and how many nodes it expands to."""
        mark = _mark(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, mark)
        if depth > MAX_DEPTH:
            self._fatal(mark, f"nested deeper than {MAX_DEPTH} levels")
        anchor = event.anchor
        if anchor is not None:
            if anchor in self.anchors:
                self._note(mark, f"anchor '&{anchor}' is defined twice")
            self.anchors[anchor] = None
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._note(mark, f"tag '{tag}' is not allowed", "task files are plain data: remove the tag")
        self._count(1, mark)
        if isinstance(event, yaml.ScalarEvent):
            node, size = self._scalar(event, mark), 1
        elif isinstance(event, yaml.SequenceStartEvent):
            node, size = self._sequence(mark, events, depth)
        else:
            node, size = self._mapping(mark, events, depth)
        if anchor is not None:
            self.anchors[anchor] = (node, size)
        return node, size

    def _alias(self, event: Any, mark: Mark) -> tuple[Node, int]:
        name = event.anchor
        if name not in self.anchors:
            self._fatal(mark, f"alias '*{name}' has no anchor '&{name}' before it")
        found = self.anchors[name]
        if found is None:
            self._fatal(mark, f"alias '*{name}' stands inside its own anchor")
        self._count(found[1], mark)
        return found

    def _sequence(self, mark: Mark, events: Iterator[Any], depth: int) -> tuple[Node, int]:
        items, size = [], 1
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            item, count = self._node(event, events, depth + 1)
            items.append(item)
            size += count
        return Node(items, mark), size

    def _mapping(self, mark: Mark, events: Iterator[Any], depth: int) -> tuple[Node, int]:
        entries: dict[str, tuple[Mark, Node]] = {}
        size = 1
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key, _ = self._node(event, events, depth + 1)
            value, count = self._node(next(events), events, depth + 1)
            size += count + 1
            name = key.value
            if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and name == "<<":
                self._note(key.mark, "merge key '<<' is not allowed", "write the keys out, or use a tier override")
            elif not isinstance(name, str):
                quoted = f'write "{key.text}" in quotes' if key.text else ""
                self._note(key.mark, "a key must be text", quoted)
            elif name in entries:
                first = entries[name][0]
                self._note(key.mark, f"duplicate key '{name}'", f"first given at line {first.line}")
            else:
                entries[name] = (key.mark, value)
            if len(entries) > MAX_KEYS:
                self._fatal(mark, f"a mapping of more than {MAX_KEYS} keys")
        return Node(entries, mark), size

    def _scalar(self, event: Any, mark: Mark) -> Node:
        text = event.value
        if not event.implicit[0]:  # quoted or block scalars are always text
            return Node(text, mark)
        if text in _WORDS:
            return Node(_WORDS[text], mark, text)
        if _INT.fullmatch(text):
            if len(text) <= 19:
                return Node(int(text), mark, text)
            self._note(mark, f"the number {text[:24]}… has too many digits")
        elif _FLOAT.fullmatch(text):
            number = float(text)
            if abs(number) != float("inf"):
                return Node(number, mark, text)
            self._note(mark, f"the number {text[:24]} is too large")
        elif _ODD_NUMBER.fullmatch(text):
            finite = not re.search("[iI][nN][fF]|[nN][aA][nN]", text)
            why = "is read differently by YAML 1.1 and 1.2" if finite else "is not a finite number"
            self._note(mark, f"'{text}' {why}", _plainer(text) if finite else "leave the key out for 'no limit'")
        return Node(text, mark, text)

    def _count(self, nodes: int, mark: Mark) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            self._fatal(mark, f"expands to more than {MAX_NODES} values", "use fewer aliases")

    def _problem(self, mark: Mark, message: str, suggestion: str = "") -> Problem:
        return Problem(self.shown, mark.line, mark.col, message, suggestion)

    def _note(self, mark: Mark, message: str, suggestion: str = "") -> None:
        self.problems.append(self._problem(mark, message, suggestion))

    def _fatal(self, mark: Mark, message: str, suggestion: str = "") -> NoReturn:
        raise TaskFileError([*self.problems, self._problem(mark, message, suggestion)])


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _plainer(text: str) -> str:
    """How to write an odd number so that everybody reads the same."""
    body = text.lstrip("+-").lower()
    if body[:2] in ("0x", "0o", "0b"):
        try:
            return f'write {int(text, 0)}, or "{text}" for text'
        except ValueError:
            return f'write "{text}" for text'
    digits = body.replace("_", "").lstrip("0") or "0"
    sign = "-" if text.startswith("-") else ""
    return f'write {sign}{"0" + digits if digits.startswith(".") else digits}, or "{text}" for text'
