"""What is run again: the cells and seeds of A, with the commit, libraries, flags and precision that are asked for."""

import json
from pathlib import Path

import pytest

from tangentbench.runners import commits, comparison, provenance, reruns, sides
from tangentbench.runners.results import StoreError
from tangentbench.tasks.spec import Cell

from .planted import cells, plant

A = {
    "package": {"commit": "a" * 40, "dirty": False},
    "versions": {"jax": "0.10.2", "optax": None},
    "python": "3.11.9",
    "xla_flags": "",
}
B = {
    "package": {"commit": "b" * 40, "dirty": False},
    "versions": {"jax": "0.11.0"},
    "python": "3.12.1",
    "xla_flags": "--xla_b",
    "variables": {"JAX_ENABLE_X64": "1"},
}
UNSET = {"XLA_FLAGS": None, "JAX_DEFAULT_MATMUL_PRECISION": None, "JAX_ENABLE_X64": None}


@pytest.fixture
def rerun(tmp_path, monkeypatch):
    """Reruns between two planted sides; gives what was asked of asv and of the environment's Python."""
    asked = {}

    def environment(commit, *, pins, python, quiet):
        asked.update(commit=commit, pins=pins, python=python)
        return "python"

    def call(python, words, commit, *, variables, quiet):
        script, wanted, results, tier = words
        asked.update(script=script, tier=tier, run=commit, variables=variables)
        asked["cells"] = [Cell(**fields) for fields in json.loads(Path(wanted).read_text())]
        plant(results, asked["cells"], provenance=A)
        return asked.get("ends", 0), "no worker starts"

    monkeypatch.setattr(commits, "environment", environment)
    monkeypatch.setattr(commits, "call", call)
    before = sides.resolve(str(plant(tmp_path / "a", cells(), provenance=A)), "results")
    after = sides.resolve(str(plant(tmp_path / "b", cells(precision="float64"), provenance=B)), "results")
    pairs = comparison.paired(before, after)[0]

    def run(*factors, before=before, **changes):
        asked.update(changes)
        with reruns.rerunner(before, after, quiet=True) as again:
            side = again(frozenset(factors), pairs)
            return asked, {(run.digest, run.seed) for run in side.runs}

    run.before = before
    return run


def test_one_factor_is_taken_from_the_other_side(rerun):
    asked, ran = rerun("code")
    assert (asked["commit"], asked["run"], asked["python"]) == ("b" * 40, "b" * 40, "3.11")
    assert asked["pins"] == "jax==0.10.2\n" and asked["variables"] == UNSET
    assert {cell.precision for cell in asked["cells"]} == {"float32"}
    assert ran == {(run.digest, run.seed) for run in rerun.before.runs}, "A's cells and seeds, no others"
    asked, _ = rerun("environment")
    assert (asked["commit"], asked["python"], asked["pins"]) == ("a" * 40, "3.12", "jax==0.11.0\n")
    assert asked["variables"] == {**UNSET, "XLA_FLAGS": "--xla_b", "JAX_ENABLE_X64": "1"}
    asked, ran = rerun("precision")
    assert (asked["commit"], asked["python"]) == ("a" * 40, "3.11")
    assert {cell.precision for cell in asked["cells"]} == {"float64"}
    assert {seed for _, seed in ran} == {run.seed for run in rerun.before.runs}


def test_several_factors_or_none(rerun):
    asked, _ = rerun("code", "precision")
    assert (asked["commit"], asked["python"], asked["cells"][0].precision) == ("b" * 40, "3.11", "float64")
    asked, _ = rerun()
    assert (asked["commit"], asked["python"], asked["cells"][0].precision) == ("a" * 40, "3.11", "float32")


def test_the_script_is_there(rerun, root, monkeypatch):
    monkeypatch.setattr(provenance, "repository", lambda: root)
    assert Path(rerun("code")[0]["script"]).is_file()


def test_what_cannot_be_run_is_one_line(rerun, tmp_path):
    with pytest.raises(StoreError, match="commit bbbbbbbbbb could not run these cells: no worker starts"):
        rerun("code", ends=1)
    dirty = {**A, "package": {"commit": "a" * 40, "dirty": True}}
    changed = sides.resolve(str(plant(tmp_path / "dirty", cells(), provenance=dirty)), "results")
    with pytest.raises(StoreError, match="was not made by a commit"):
        rerun("environment", before=changed)
