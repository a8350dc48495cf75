"""From pydantic's errors to sentences with places: what was expected, what was found, what to type instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from .document import Keys, Mark, Node
from .problem import Problem, TaskFileError, did_you_mean

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
TRUTH = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


@dataclass
class Report:
    """Collects the problems of one file."""

    file: str
    problems: list[Problem] = field(default_factory=list)

    def add(self, place: Place | None, message: str, suggestion: str = "") -> None:
        """Note a problem at a node or mark; ``None`` is the file as a whole."""
        mark = place.mark if isinstance(place, Node) else place or Mark(0, 0)
        self.problems.append(Problem(self.file, mark.line, mark.col, message, suggestion))

    def model(self, schema: type[Model], node: Node) -> Model | None:
        """The node as an instance of ``schema``; ``None`` after noting everything that is wrong with it."""
        try:
            return schema.model_validate(node.plain())
        except ValidationError as error:
            for mistake in _condense(_mistakes(error, node, schema)):
                self.add(mistake.mark, mistake.message, mistake.suggestion)
        return None

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


def _mistakes(error: ValidationError, root: Node, schema: type[BaseModel]) -> Iterator[_Mistake]:
    for item in error.errors(include_url=False):
        loc, kind, context = item["loc"], item["type"], item.get("ctx", {})
        inner = loc[:-1] if kind in ("missing", "extra_forbidden") else loc
        path = _path(root, inner)
        node = root.at(path) or root
        if kind == "missing":
            key = str(loc[-1])
            yield _Mistake((*path, key), node.mark, f"missing key '{key}'")
        elif kind == "extra_forbidden":
            key = str(loc[-1])
            known = [name for name in _fields(schema, inner) if node.get(name) is None]
            mark = root.place((*path, key), key=True)
            yield _Mistake((*path, key), mark, f"unknown key '{key}'", did_you_mean(key, known))
        elif kind == "refused":
            at = node.get(context["field"]) or node
            yield _Mistake(path, at.mark, context["message"], context["suggestion"])
        else:
            yield _at_value(kind, context, item["msg"], path, node)


def _at_value(kind: str, context: dict[str, Any], fallback: str, path: Keys, node: Node) -> _Mistake:
    """A mistake of one value: its type, its size, its choice."""
    got, name = describe(node), f"'{path[-1]}'" if path and isinstance(path[-1], str) else "this item"
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        hint = did_you_mean(str(node.value), choices) if isinstance(node.value, str) else _retype("text", node)
        return _Mistake(path, node.mark, f"{name}: ", hint, context["expected"], got)
    if kind in EXPECTED:
        return _Mistake(path, node.mark, f"{name}: ", _retype(EXPECTED[kind], node), EXPECTED[kind], got)
    if kind in BOUNDS:
        key, sign = BOUNDS[kind]
        return _Mistake(path, node.mark, f"{name} must be {sign} {context[key]:g}, got {got}")
    if kind in ("too_short", "too_long"):
        bound, words = ("min_length", "at least") if kind == "too_short" else ("max_length", "at most")
        return _Mistake(path, node.mark, f"{name} needs {words} {context[bound]} items, got {context['actual_length']}")
    if kind == "string_too_short":
        return _Mistake(path, node.mark, f"{name} must not be empty")
    if kind == "string_too_long":
        return _Mistake(path, node.mark, f"{name} must be at most {context['max_length']} characters long")
    if kind == "string_pattern_mismatch":
        return _Mistake(path, node.mark, f"{name}: {got} does not have the form {context['pattern']}")
    if kind == "union_tag_not_found":
        return _Mistake(path, node.mark, "missing key 'name'")
    if kind == "union_tag_invalid":
        choices = re.findall(r"'([^']*)'", context["expected_tags"])
        tag = node.get("name") or node
        return _Mistake(path, tag.mark, f"unknown {path[-1]} '{context['tag']}'", did_you_mean(context["tag"], choices))
    return _Mistake(path, node.mark, f"{name}: {fallback}")


def _condense(mistakes: Iterable[_Mistake]) -> list[_Mistake]:
    """One mistake per value. A union reports each of its branches: the one that got furthest is the one meant."""
    found = list(mistakes)
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
        hint = next((m.suggestion for m in same if m.suggestion), "")
        out.append(_Mistake(first.path, first.mark, f"{first.message}expected {expected}, got {first.got}", hint))
    return out


def _path(root: Node, loc: Iterable[str | int]) -> Keys:
    """The part of a pydantic location that exists in the document; it also names branches of unions."""
    node, path = root, ()
    for step in loc:
        child = node.get(step)
        if child is not None:
            node, path = child, (*path, step)
    return path


def _fields(schema: type[BaseModel], loc: Iterable[str | int]) -> list[str]:
    """Names of the keys that are known at a pydantic location."""
    models = [schema]
    for step in loc:
        owners = [model for model in models if step in model.model_fields]
        if owners:  # else the step is an index or names a branch of a union
            models = [m for owner in owners for m in mentioned(owner.model_fields[str(step)].annotation)]
    return [info.alias or name for model in models for name, info in model.model_fields.items()]


def mentioned(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models that an annotation mentions, alternatives included."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in mentioned(part)]


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


def _retype(expected: str, node: Node) -> str:
    """What to type to get the expected type."""
    value = node.value
    if expected == "no value":
        return "remove the key"
    if expected == "true or false" and isinstance(value, str) and value.lower() in TRUTH:
        return f"write {TRUTH[value.lower()]}"
    if expected == "text" and isinstance(value, (bool, int, float)):
        return f'write "{node.text or value}" in quotes'
    if expected in ("a number", "a whole number"):
        if isinstance(value, float) and value.is_integer():
            return f"write {int(value)}"
        if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?", value):
            return "remove the quotes"
    if expected == "a list" and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return f"write [{node.text or value}]"
    return ""
