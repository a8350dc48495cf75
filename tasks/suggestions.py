"""What to type instead of a value that is wrong; a suggestion is made only where it would be accepted."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from .document import Keys, Node

FORMS = {
    r"^\d{4}\.\d{4,5}$": "the number of a paper on arXiv, such as '2306.04815'",
    "^[a-z][a-z0-9_]*$": "small letters, digits and underscores, a letter first",
}
SYNONYMS = {"silu": "swish", "linear": "identity"}
"""Other names of a choice."""
EXAMPLES = {"version": "version: 1", "stream": "stream: 1"}
"""What to write for a key that only has to be there."""
AT_LEAST = {"second_critical": "write 0 for a multiple of the first critical rate alone"}
"""What to do instead of a value that is too small."""
NUMBER = r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"
TRUTH = {"true": "true", "yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def retype(expected: str, node: Node) -> str:
    """What to type to get the expected type."""
    value = node.value
    if expected == "true or false" and isinstance(value, str) and value.lower() in TRUTH:
        return f"write {TRUTH[value.lower()]}"
    if expected == "text" and isinstance(value, (bool, int, float)):
        return f'write "{node.text or value}" in quotes'
    if expected in ("a number", "a whole number"):
        if isinstance(value, float) and value.is_integer():
            return f"write {int(value)}"
        if isinstance(value, str) and re.fullmatch(NUMBER, value):
            return "remove the quotes"
        if isinstance(value, str) and (rate := re.fullmatch(rf"({NUMBER})\s*critical", value)):
            return f"write {{critical: {rate[1]}}}"
    if expected == "a list" and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return _listed(node)
    if expected == "text" and isinstance(value, (dict, list)) and len(value) == 1:
        inner = node.get("name") or node.get(0)
        return f"write {inner.value}" if inner is not None and isinstance(inner.value, str) else ""
    return "write a value after the ':'" if value is None else ""


def _listed(node: Node) -> str:
    return f"write [{node.text or node.value}]"


def misplaced(key: str, schema: type[BaseModel]) -> str:
    """Why a key that others have is none of this schema's."""
    from .dataset_options import DatasetOptions  # needed for mistakes only

    if key == "reference" and issubclass(schema, DatasetOptions):
        return "leave it out: only real data, whose true function is not known, take a reference"
    return ""


def wrapped(node: Node, models: list[type[BaseModel]], key: str, component: bool) -> str:
    """The mapping that a single value, standing at a key, may have been meant as: the first key that would take it."""
    text = f'"{node.value}"' if isinstance(node.value, str) and not node.text else node.text
    if component and isinstance(node.value, str):
        return f"write {{name: {node.value}, …}}"
    for model in models:
        fields = {info.alias or name: info.is_required() for name, info in model.model_fields.items()}
        needed = [name for name, required in fields.items() if required]
        for name in needed or fields if not isinstance(node.value, (dict, list)) else ():
            if _takes(model, name, node.value):
                return f"write {{{name}: {text}{', …' if len(needed) > 1 else ''}}}"
        if needed:
            return f"write {{{', '.join(f'{name}: …' for name in needed)}}}"
        if TRUTH.get(str(node.value).lower()) == "true":
            return f"write `{key}: {{}}`"
    return ""


def _takes(model: type[BaseModel], name: str, value: Any) -> bool:
    try:
        model.model_validate({name: value})
    except ValidationError as error:
        return not any(item["loc"][:1] == (name,) for item in error.errors())
    return True


def spelt(value: Any, pattern: str) -> str:
    """The nearest text of the wanted form."""
    if (number := re.search(r"\d{4}\.\d{4,5}", str(value))) and re.fullmatch(pattern, number[0]):
        return f'write "{number[0]}"'
    name = re.sub(r"[^a-z0-9]+", "_", str(value).lower()).strip("_")
    return f"write {name}" if pattern in FORMS and re.fullmatch(pattern, name) else ""


def helps(suggestion: str, path: Keys, root: Node, schema: type[BaseModel]) -> bool:
    """Whether a list in place of the value, where this is suggested, is really what is wanted there."""
    value = root.at(path)
    if value is None or suggestion != _listed(value):
        return True
    try:
        schema.model_validate(_put(root.plain(), path, [value.plain()]))
    except ValidationError as error:
        places = (root.path(item["loc"]) for item in error.errors())
        return not any(place[: len(path)] == path for place in places)
    return True


def _put(data: Any, path: Keys, value: Any) -> Any:
    """Plain data with another value at a path."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(data, list):
        return [_put(item, rest, value) if i == step else item for i, item in enumerate(data)]
    return {**data, step: _put(data[step], rest, value)}
