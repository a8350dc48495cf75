"""The digest of a cell: what it covers, and what it does not."""

import copy

import pytest

from tangentbench.tasks.spec import MEANING, Cell, digest

CELL = {
    "task": "family/name",
    "version": 1,
    "stream": 5,
    "dataset": {"name": "monomial", "dim": 20, "factors": [0, 1], "train": 64},
    "model": {"name": "wide", "width": 64, "init": {"weights": "ntk", "output": "normal"}},
    "loss": "mse",
    "method": {"name": "gd", "learning_rate": {"critical": 0.5}, "batch_size": None},
    "stop": {"steps": 100, "train_loss": None, "relative_loss": 0.1},
    "record": {"every": 1},
    "precision": "float32",
    "metrics": [{"name": "test_loss", "label": "test_loss", "at": "end"}, {"name": "x", "label": "a", "at": "start"}],
    "bisect": {"along": "method.learning_rate.critical", "between": [1.0, 3.0], "tolerance": 0.1, "leaves": ["dead"]},
    "coords": {"model.width": 64},
    "role": "claim",
    "seeds": [0, 1],
    "limits": {"seconds": 60.0, "memory_gib": 3.0},
}


def test_the_digest_is_pinned():
    """It names stored runs: a change of this number orphans every store, and must come with a new `SCHEMA`."""
    assert Cell(**CELL).digest == digest(Cell(**CELL)) == "632f9e6dd1e1f55e318903ca"


@pytest.mark.parametrize(
    "change",
    [
        {"task": "other"},
        {"coords": {}},
        {"role": "tune"},
        {"seeds": [7]},
        {"limits": {"seconds": 1.0, "memory_gib": 1.0}},
        {"metrics": CELL["metrics"][::-1]},
        {"dataset": dict(reversed(CELL["dataset"].items()))},
        {"model": {"init": {"output": "normal", "weights": "ntk"}, "width": 64, "name": "wide"}},
    ],
    ids=lambda change: "/".join(change),
)
def test_names_places_and_orders_mean_nothing(change):
    assert Cell(**{**CELL, **change}).digest == Cell(**CELL).digest


def leaves(value, path=()):
    """The paths of all scalars (and of empty containers)."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [leaf for key, child in items for leaf in leaves(child, (*path, key))]
    return found or [path]


@pytest.mark.parametrize("path", [leaf for name in MEANING for leaf in leaves(CELL[name], (name,))], ids=str)
def test_every_meaning_bearing_value_counts(path):
    changed = copy.deepcopy(CELL)
    target = changed
    for key in path[:-1]:
        target = target[key]
    old = target[path[-1]]
    target[path[-1]] = old + 1 if isinstance(old, (int, float)) else f"{old}?"
    assert Cell(**changed).digest != Cell(**CELL).digest


def test_every_field_is_either_meaning_or_not():
    """A new field of a cell must be put on one side."""
    assert set(Cell.model_fields) - set(MEANING) == {"task", "coords", "role", "seeds", "limits"}


def test_whole_and_real_numbers_differ_and_dumps_load_again():
    cell = Cell(**CELL)
    assert Cell(**{**CELL, "version": 2}).digest != cell.digest
    assert Cell.model_validate(cell.model_dump(mode="json")) == cell
    assert Cell.model_validate_json(cell.model_dump_json()).digest == cell.digest
    with pytest.raises(ValueError, match="frozen"):
        cell.version = 3  # pyright: ignore[reportAttributeAccessIssue]
