"""The options of a component in words: what each may be, its default, and what it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .entry import Entry
from .schema import of_options

TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true | false"}
HUGE = 1e6  # a bound this far out guards against typing errors; nobody needs to read it

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Option:
    """One option: its path (``init.output``), what it may be, its default (empty: none), and what it means."""

    option: str
    type: str
    default: Any
    says: str

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def options(entry: Entry) -> list[Option]:
    """Every option of a component, nested ones after the one they belong to; those that must be given come first."""
    if not entry.options:
        return []
    schema, definitions = of_options(entry)
    found = list(_options(schema, definitions, ""))
    heads = {option.option for option in found if option.default == "required"}
    return sorted(found, key=lambda option: option.option.split(".")[0] not in heads)


def _options(schema: Schema, definitions: Schema, prefix: str) -> Iterator[Option]:
    required = schema.get("required", ())
    for name, node in schema["properties"].items():
        default = "required" if name in required else node.get("default")
        says = " ".join(node.get("description", "").replace("`", "").split())
        if "$ref" in node and name not in required:
            default = ""  # its own options have the defaults
        choices = _alternatives(node)
        mappings = [_defined(one, definitions) for one in choices if "$ref" in one]
        alone = len(mappings) == len(choices) == 1
        yield Option(prefix + name, "mapping" if alone else in_words(node, definitions), default, says)
        inner = [(_name(one), list(_options(one, definitions, f"{prefix}{name}."))) for one in mappings]
        yield from inner[0][1] if alone else _of_any(inner)


def _of_any(mappings: Sequence[tuple[str, list[Option]]]) -> Iterator[Option]:
    """The options of mappings with these names, of which a value is one or none; each says whose it is, if not all's.

    None is required of a value that need not be this mapping. One of which nothing is said stands in the type alone.
    """
    owners: dict[str, tuple[Option, list[str]]] = {}
    for name, options in mappings:
        for option in options:
            if option.says and not (name and option.type == name):
                option = replace(option, default="" if option.default == "required" else option.default)
                owners.setdefault(repr(option), (option, []))[1].append(name)
    for option, names in owners.values():
        whose = "" if len(names) == len(mappings) else ", ".join(filter(None, names))
        yield replace(option, says=f"{whose}: {option.says}" if whose else option.says)


def _name(mapping: Schema) -> str:
    """What tells a mapping from others of its kind."""
    return mapping["properties"].get("name", {}).get("const", "")


def _alternatives(node: Schema) -> list[Schema]:
    """What a value may be, beside nothing."""
    several = node.get("anyOf") or node.get("oneOf")
    if several is None:
        return [] if node.get("type") == "null" else [node]
    return [one for each in several for one in _alternatives(each)]


def _defined(node: Schema, definitions: Schema) -> Schema:
    return definitions[node["$ref"].rpartition("/")[2]]


def in_words(node: Schema, definitions: Schema) -> str:
    """What a value may be."""
    if "$ref" in node:
        return _mapping(_defined(node, definitions), definitions)
    if "const" in node:
        return str(node["const"])
    if "enum" in node:
        return " | ".join(map(str, node["enum"]))
    for several in ("anyOf", "oneOf"):
        if several in node:
            words = [in_words(one, definitions) for one in node[several] if one.get("type") != "null"]
            return " | ".join(dict.fromkeys(words)) or "nothing"
    kind = node.get("type", "")
    if kind == "array":
        return f"list of {_count(node)}{in_words(node.get('items', {}), definitions)}"
    if kind == "object":
        return "mapping"
    if kind == "null":
        return "nothing"
    return " ".join(filter(None, (TYPES.get(kind, "value"), _bounds(node))))


def _mapping(schema: Schema, definitions: Schema) -> str:
    items = (f"{name}: {in_words(node, definitions)}" for name, node in schema["properties"].items())
    return "{" + ", ".join(items) + "}"


def _count(node: Schema) -> str:
    least, most = node.get("minItems"), node.get("maxItems")
    return f"{least} × " if least is not None and least == most else ""


def _bounds(node: Schema) -> str:
    signs = (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))
    return " and ".join(f"{sign} {node[key]:g}" for key, sign in signs if key in node and abs(node[key]) < HUGE)
