"""A JSON Schema of task files, for editors: completion, descriptions, and red lines while typing."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from . import registry
from .metric_items import MetricHead
from .option_docs import mentioned, sentences
from .spec import Claim
from .task_file import TaskFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema of a task file. Options of components are alternatives told apart by `name`."""
    definitions: dict[str, Any] = {}
    schema = _of(TaskFile, definitions)
    properties = schema["properties"]
    for kind in ("dataset", "model", "method"):
        definitions[kind] = _component(kind, definitions)
        properties[kind] = {"$ref": f"#/$defs/{kind}", "description": properties[kind].get("description", "")}
    properties["loss"] = _names("loss")
    definitions["metric"] = _metric(definitions)
    properties["metrics"]["items"] = {"$ref": "#/$defs/metric"}
    definitions["claim"] = _claim(definitions)
    properties["claims"]["items"] = {"$ref": "#/$defs/claim"}
    properties["sweep"] = _sweep()
    # an override names only what it changes, so components, sections and claims are partial there
    properties["tiers"]["additionalProperties"] = {"type": "object"}
    definitions["Bisect"].pop("required")  # what is swept need not stand in the base, here and below
    schema["required"] = [key for key in schema["required"] if key not in ("dataset", "model", "loss")]
    return {"$schema": DIALECT, "title": "tangentbench task", **schema, "$defs": dict(sorted(definitions.items()))}


def of_options(entry: registry.Entry) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON Schema of a component's options, and the definitions that it refers to."""
    definitions: dict[str, Any] = {}
    return _of(entry.schema(), definitions), definitions


def _of(model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/$defs/{model}")
    definitions.update(schema.pop("$defs", {}))
    schema.pop("title", None)
    for shown in (model, *_nested(model)):
        target = schema if shown is model else definitions[shown.__name__]
        for name, text in sentences(shown).items():
            alias = shown.model_fields[name].alias or name
            target["properties"][alias].setdefault("description", text)
    return schema


def _nested(model: type[BaseModel]) -> list[type[BaseModel]]:
    below = [m for info in model.model_fields.values() for m in mentioned(info.annotation)]
    return [*below, *(m for inner in below for m in _nested(inner))]


def _names(kind: str) -> dict[str, Any]:
    entries = registry.table(kind).values()
    return {"enum": [e.name for e in entries], "description": "; ".join(f"{e.name}: {e.summary}" for e in entries)}


def _component(kind: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """``oneOf`` the components of a kind; a mapping without `name` is allowed nowhere but in sweeps and tiers."""
    branches = []
    for entry in registry.table(kind).values():
        options = _of(entry.schema(), definitions) if entry.options else {"type": "object", "properties": {}}
        options["properties"] = {"name": {"const": entry.name}, **options["properties"]}
        # an option that the sweep sets may be absent, so only the name is required
        options["required"] = ["name"]
        options["additionalProperties"] = False
        options["description"] = f"{entry.summary} ({entry.source})"
        branches.append(options)
    return {"oneOf": branches, "discriminator": {"propertyName": "name"}}


def _metric(definitions: dict[str, Any]) -> dict[str, Any]:
    head = _of(MetricHead, definitions)["properties"]
    branches: list[dict[str, Any]] = [_names("metric")]
    for entry in registry.table("metric").values():
        options = _of(entry.schema(), definitions) if entry.options else {"properties": {}}
        properties = {**head, **options["properties"], "name": {"const": entry.name}, "at": {"enum": list(entry.at)}}
        branches.append(
            {
                "type": "object",
                "properties": properties,
                "required": ["name", *options.get("required", [])],
                "additionalProperties": False,
                "description": f"{entry.summary}: {entry.definition} [{entry.unit}]",
            }
        )
    return {"oneOf": branches}


def _claim(definitions: dict[str, Any]) -> dict[str, Any]:
    head = _of(Claim, definitions)
    kinds = {}
    for entry in registry.table("claim").values():
        definitions[f"claim_{entry.name}"] = _of(entry.schema(), definitions)
        kinds[entry.name] = {"$ref": f"#/$defs/claim_{entry.name}", "description": f"{entry.summary}; {entry.source}"}
    return {
        "type": "object",
        "properties": {**head["properties"], **kinds},
        "required": head["required"],
        "oneOf": [{"required": [key]} for key in ("control", *kinds)],
        "additionalProperties": False,
    }


def _sweep() -> dict[str, Any]:
    ends = {"type": "array", "minItems": 3, "maxItems": 3, "items": {"type": "number"}}
    value = {
        "anyOf": [
            {"type": ["string", "number", "boolean", "null"]},
            {"type": "object", "properties": {"label": {"type": "string", "minLength": 1}}, "required": ["label"]},
        ]
    }
    listed = {"type": "array", "minItems": 1, "items": value}
    ranges = [
        {"type": "object", "properties": {kind: ends}, "required": [kind], "additionalProperties": False}
        for kind in ("linear", "log")
    ]
    axes = {"type": "object", "additionalProperties": {"anyOf": [listed, *ranges]}}
    return {
        "type": "object",
        "description": "Axes: path to a list of values or a range; axes under `zip` advance together.",
        "properties": {"zip": axes},
        "additionalProperties": {"anyOf": [listed, *ranges]},
    }
