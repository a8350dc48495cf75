"""From pydantic's errors to sentences with places: what was expected, what was found, what to type instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from .document import Keys, Mark, Node, marks
from .entry import COMPONENTS
from .option_docs import keys, owners, sentence
from .problem import Problem, TaskFileError, did_you_mean
from .suggestions import AT_LEAST, EXAMPLES, FORMS, SYNONYMS, helps, misplaced, retype, spelt, wrapped

Model = TypeVar("Model", bound=BaseModel)
Place = Node | Mark

EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "no value",
}
BOUNDS = {
    "greater_than": ("gt", ">"),
    "greater_than_equal": ("ge", ">="),
    "less_than": ("lt", "<"),
    "less_than_equal": ("le", "<="),
}


MOST = 200
"""Problems of a file that are collected: whoever has more mends these first."""


@dataclass
class Report:
    """Collects the problems of one file. ``single``: only those of values that are there, each by itself."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    single: bool = False
    _different: set[Problem] = field(default_factory=set)

    def add(self, place: Place | None, message: str, suggestion: str = "") -> None:
        """Note a problem at a node or mark; ``None`` is the file as a whole.

        Raises:
            TaskFileError: it is one of `MOST`; nothing more is looked for.
        """
        mark = place.mark if isinstance(place, Node) else place or Mark(0, 0)
        problem = Problem(self.file, mark.line, mark.col, message, suggestion)
        self.problems.append(problem)
        self._different.add(problem)
        if len(self._different) >= MOST:
            more = Problem(self.file, mark.line, mark.col, f"{MOST} mistakes are told; others are not looked for")
            raise TaskFileError([*self.problems, more])

    def model(self, schema: type[Model], node: Node, also: Sequence[str] = ()) -> Model | None:
        """The node as an instance of ``schema``; ``None`` after noting everything that is wrong with it.

        ``also``: keys that were read before, named where an unknown one is corrected.
        """
        try:
            return schema.model_validate(node.plain())
        except ValidationError as error:
            for mistake in _condense(_mistakes(error, node, schema, also)):
                if self.single and (mistake.between or mistake.key):
                    continue
                hint = mistake.suggestion if helps(mistake.suggestion, mistake.path, node, schema) else ""
                self.add(mistake.mark, mistake.message, hint)
        return None

    def at(self, node: Node) -> bool:
        """Whether a problem has been noted anywhere in a node."""
        places = marks(node) if self.problems else ()
        return any(Mark(problem.line, problem.col) in places for problem in self.problems)

    def stop(self) -> None:
        """Raise `TaskFileError` if there are problems."""
        if self.problems:
            raise TaskFileError(self.problems)


@dataclass(frozen=True)
class _Mistake:
    path: Keys
    mark: Mark
    message: str
    suggestion: str = ""
    expected: str = ""  # of the wrong type: alternatives of a union are joined to one sentence
    got: str = ""
    key: str = ""  # that is missing
    between: bool = False  # several values do not fit together


def _mistakes(error: ValidationError, root: Node, schema: type[BaseModel], also: Sequence[str]) -> Iterator[_Mistake]:
    for item in error.errors(include_url=False):
        loc, kind, context = item["loc"], item["type"], item.get("ctx", {})
        inner = loc[:-1] if kind in ("missing", "extra_forbidden") else loc
        path = root.path(inner)
        node = root.at(path) or root
        if kind == "missing":
            key = str(loc[-1])
            example = f"write {EXAMPLES[key]}" if key in EXAMPLES and not path else ""
            says = ": ".join(filter(None, (example, sentence(schema, inner, key))))
            yield _Mistake((*path, key), node.mark, f"missing key '{key}'", says, key=key)
        elif kind == "extra_forbidden":
            key = str(loc[-1])
            known = list(dict.fromkeys([*(also if not inner else ()), *keys(schema, inner)]))
            mark = root.place((*path, key), key=True)
            hint = (not inner and misplaced(key, schema)) or did_you_mean(key, known)
            yield _Mistake((*path, key), mark, f"unknown key '{key}'", hint)
        elif kind == "refused":
            at = node.get(context["field"]) or node
            yield _Mistake(path, at.mark, context["message"], context["suggestion"], between=True)
        elif EXPECTED.get(kind) == "a mapping":
            models = [] if node.value is None else owners(schema, loc)
            hint = wrapped(node, models, str(path[-1]) if path else "", len(path) == 1 and path[0] in COMPONENTS)
            yield _Mistake(
                path, node.mark, f"{_named(path)}: ", hint or retype("a mapping", node), EXPECTED[kind], describe(node)
            )
        elif kind == "none_required":
            says = sentence(schema, loc[:-1], str(loc[-1]))
            hint = "leave it out" + (f": {says[0].lower()}{says[1:]}" if says else "")
            yield _Mistake(path, node.mark, f"{_named(path)}: ", hint, EXPECTED[kind], describe(node))
        else:
            yield _at_value(kind, context, item["msg"], path, node)


def _named(path: Keys) -> str:
    """What to call the value at a path."""
    if not path or isinstance(path[-1], str):
        return f"'{path[-1]}'" if path else "this value"
    return f"item {path[-1] + 1} of {_named(path[:-1])}"


def _at_value(kind: str, context: dict[str, Any], fallback: str, path: Keys, node: Node) -> _Mistake:
    """A mistake of one value: its type, its size, its choice."""
    got, name = describe(node), _named(path)
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        hint = did_you_mean(str(node.value), choices) if isinstance(node.value, str) else retype("text", node)
        hint = "" if hint.startswith("known") else hint  # the message names them all
        meant = SYNONYMS.get(str(node.value))
        hint = f"write {meant}" if meant in choices else hint
        return _Mistake(path, node.mark, f"{name}: ", hint, context["expected"], got)
    if kind in EXPECTED:
        return _Mistake(path, node.mark, f"{name}: ", retype(EXPECTED[kind], node), EXPECTED[kind], got)
    if kind in BOUNDS:
        key, sign = BOUNDS[kind]
        hint = AT_LEAST.get(str(path[-1]), "") if path and kind == "greater_than_equal" else ""
        return _Mistake(path, node.mark, f"{name} must be {sign} {_bound(context[key])}, got {got}", hint)
    if kind in ("too_short", "too_long"):
        bound, words = ("min_length", "at least") if kind == "too_short" else ("max_length", "at most")
        return _Mistake(path, node.mark, f"{name} needs {words} {context[bound]} items, got {context['actual_length']}")
    if kind == "string_too_short":
        return _Mistake(path, node.mark, f"{name} must not be empty")
    if kind == "string_too_long":
        return _Mistake(path, node.mark, f"{name} must be at most {context['max_length']} characters long")
    if kind == "string_pattern_mismatch":
        form = FORMS.get(context["pattern"], f"text of the form {context['pattern']}")
        return _Mistake(path, node.mark, f"{name}: expected {form}, got {got}", spelt(node.value, context["pattern"]))
    if kind == "union_tag_not_found":
        return _Mistake((*path, "name"), node.mark, "missing key 'name'", key="name")
    if kind == "union_tag_invalid":
        choices = re.findall(r"'([^']*)'", context["expected_tags"])
        tag = node.get("name") or node
        return _Mistake(path, tag.mark, f"unknown {path[-1]} '{context['tag']}'", did_you_mean(context["tag"], choices))
    return _Mistake(path, node.mark, f"{name}: {fallback}")


def _condense(mistakes: Iterable[_Mistake]) -> list[_Mistake]:
    """One mistake per value. A union reports each of its branches: the one that got furthest is the one meant."""
    found = list(mistakes)
    # a key that is missing because it is misspelt is one mistake
    misspelt = {(m.path[:-1], name) for m in found for name in re.findall("'([^']*)'", m.suggestion) if not m.key}
    found = [m for m in found if not m.key or (m.path[:-1], m.key) not in misspelt]
    parents = {m.path[:depth] for m in found for depth in range(len(m.path))}
    settled = {m.path for m in found if not m.expected}
    wrong_type: dict[Keys, list[_Mistake]] = {}
    out = []
    for mistake in found:
        if not mistake.expected:
            out.append(mistake)
        elif mistake.path not in parents and mistake.path not in settled:
            wrong_type.setdefault(mistake.path, []).append(mistake)
    for same in wrong_type.values():
        first = same[0]
        expected = " or ".join(dict.fromkeys(m.expected for m in same))
        hint = next((m.suggestion for m in same if m.suggestion and m.expected != "a list"), "")
        hint = hint or next((m.suggestion for m in same if m.suggestion), "")
        if len(same) > 1 and ": …" in hint:
            hint = ""  # a mapping is only one of the things that it could be
        out.append(_Mistake(first.path, first.mark, f"{first.message}expected {expected}, got {first.got}", hint))
    return out


def _bound(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e9 else f"{value:g}"


def describe(node: Node) -> str:
    """What a value is, in the words of a task file."""
    value = node.value
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"the text '{value if len(value) <= 40 else value[:37] + '...'}'"
    return node.text or (str(value).lower() if isinstance(value, bool) else f"{value!r}")
