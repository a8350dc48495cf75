"""The JSON Schema for editors agrees with the loader on what is valid."""

import json
from pathlib import Path

import pytest

from tangentbench.tasks import registry
from tangentbench.tasks.document import parse
from tangentbench.tasks.load import catalog, json_schema

SCHEMA = json_schema()
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
FILES = [*sorted((Path(__file__).parent / "examples").glob("*.yaml")), *catalog().values()]


def valid(value, schema) -> bool:
    """A small validator, for the keywords that the schema uses."""
    if "$ref" in schema and not valid(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]):
        return False
    if "const" in schema and value != schema["const"] or "enum" in schema and value not in schema["enum"]:
        return False
    names = schema.get("type", [])
    if names and not any(of_type(value, name) for name in ([names] if isinstance(names, str) else names)):
        return False
    if "anyOf" in schema and not any(valid(value, s) for s in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(valid(value, s) for s in schema["oneOf"]) != 1:
        return False
    if isinstance(value, dict):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
        if not set(schema.get("required", ())) <= value.keys():
            return False
        if not all(valid(key, schema.get("propertyNames", {})) for key in value):
            return False
        rest = {} if rest is True else rest
        return all(
            rest is not False and valid(v, rest) if k not in known else valid(v, known[k]) for k, v in value.items()
        )
    if isinstance(value, list):
        size = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return size and all(valid(item, schema.get("items", {})) for item in value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        above = value >= schema.get("minimum", value) and value > schema.get("exclusiveMinimum", value - 1)
        return above and value <= schema.get("maximum", value) and value < schema.get("exclusiveMaximum", value + 1)
    return True


def of_type(value, name) -> bool:
    if name in ("number", "integer"):
        return isinstance(value, (int, float) if name == "number" else int) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_valid_files_fit(path):
    assert valid(parse(path.read_bytes()).plain(), SCHEMA)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: monomial", "name: monomal"),
        ("dim: 50", "dims: 50"),
        ("dim: 50", "dim: 0"),
        ("depth: 1", "depth: one"),
        ("width: 512, activation: relu", "width: 512, activation: relo"),
        ("loss: mse", "loss: msee"),
        ("title:", "titel:"),
        ("{critical: 0.6}", "{critcal: 0.6}"),
        ("as: ratio", "as: quotient"),
        ("at: start", "at: end, step: 3"),
        ("control: small_batches_generalise", "controls: small_batches_generalise"),
        ("- sgd_catapults", "- sgd_catapult"),
        ("seeds: 8", "seeds: 0"),
        ("  smoke:", "  smoek:"),
    ],
)
def test_broken_files_do_not(old, new):
    text = (Path(__file__).parent / "examples" / "batch_size.yaml").read_text()
    assert text.count(old) == 1
    assert not valid(parse(text.replace(old, new)).plain(), SCHEMA)


def test_every_component_and_option_is_described():
    for kind in ("dataset", "model", "method"):
        branches = SCHEMA["$defs"][kind]["oneOf"]
        assert [branch["properties"]["name"]["const"] for branch in branches] == [*registry.table(kind)]
        for branch in branches:
            for name, option in branch["properties"].items():
                assert name == "name" or option.get("description"), (branch["properties"]["name"], name)
    for name, keyword in SCHEMA["properties"].items():
        assert keyword.get("description"), name


def test_it_is_json():
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
