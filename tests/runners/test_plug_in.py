"""The example plug-in, installed by pip into its own folder, is listed, checked, trained and part of the digest."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
COMPONENTS = {"datasets": "ridge", "models": "sines", "methods": "sign_mean", "metrics": "output_norm"}
SUITE_ONLY = ("quadratic/general_quadratic", "quadratic/single_example")
DIGESTS = """
import json, sys
from tangentbench.runners.provenance import code_digest
from tangentbench.tasks import load
found = {}
for task in load.find(sys.argv[2:], folder=sys.argv[1]):
    for i, cell in enumerate(load.cells(task)):
        found[f"{task.id} {i} {cell.method.get('name')}"] = cell.digest
print(json.dumps([code_digest("cpu"), found]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder into which pip has installed it, from a copy, since a build leaves files."""
    folder = tmp_path_factory.mktemp("plug_in")
    shutil.copytree(EXAMPLES / "plug_in", folder / "source")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder / "site")]
    words = [sys.executable, "-m", "pip", "install", *options, str(folder / "source")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def call(site, tmp_path_factory):
    """Call the command in a process that sees the plug-in."""
    folder = tmp_path_factory.mktemp("work")

    def run(*words, program=("-m", "tangentbench.runners.cli"), path=site):
        environment = {**os.environ, "PYTHONPATH": str(path)}
        command = [sys.executable, *program, *map(str, words)]
        return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)

    return run


def test_it_is_listed_with_its_origin(call):
    for kind, name in COMPONENTS.items():
        rows = {row["name"]: row for row in json.loads(call("list", kind, "--format", "json").stdout)}
        assert rows[name]["origin"] == "example-plug-in" and "origin" not in rows[[*rows][0]]
    assert "Neurons of the hidden layer." in call("show", "sines").stdout


def test_its_tasks_are_valid_with_it_and_not_without(call, tmp_path):
    task = EXAMPLES / "tasks" / "examples" / "sines.yaml"
    assert call("validate", task).returncode == 0
    assert "examples/sines" in call("list", "--tasks", EXAMPLES / "tasks").stdout
    done = call("validate", task, path=tmp_path)
    assert done.returncode == 1 and "unknown dataset 'ridge'" in done.stderr


def test_listing_it_imports_no_jax(call):
    code = (
        "import sys; from tangentbench.runners.cli import main; main(['list', 'models']); "
        "print(sorted({'jax', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    assert call(code, program=("-c",)).stdout.splitlines()[-1] == "[]"


def test_every_check_passes(call):
    done = call("check", *COMPONENTS.values())
    assert done.returncode == 0, done.stdout
    heads = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert heads == [
        "dataset ridge: 8 passed",
        "model sines: 11 passed",
        "method sign_mean: 7 passed, 1 not applicable",
        "metric output_norm: 4 passed, 1 not applicable",
    ]


def test_a_smoke_run_yields_rows(call):
    done = call(
        "run", "examples/sines", "--tasks", EXAMPLES / "tasks", "--tier", "smoke", "--format", "json", "--quiet"
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert len(rows) == 4 and all(row["status"] == "ok" and row["output_norm"] > 0 for row in rows)


def test_its_sources_are_part_of_what_its_cells_mean_and_of_no_others(call, site, tmp_path):
    def digests(path, *tasks):
        words = (DIGESTS, EXAMPLES / "tasks", *tasks)
        done = call(*words, program=("-c",), path=path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    edited = tmp_path / "edited"
    shutil.copytree(site, edited)
    with_it = digests(site, "examples/sines", *SUITE_ONLY)
    assert digests(edited, "examples/sines", *SUITE_ONLY) == with_it
    with (edited / "example_plug_in" / "model.py").open("a") as file:
        file.write("# another line\n")
    code, after = digests(edited, "examples/sines", *SUITE_ONLY)
    moved = {name.split()[0] for name, digest in with_it[1].items() if after[name] != digest}
    assert moved == {"examples/sines"} and code == with_it[0]
    without = digests(tmp_path, *SUITE_ONLY)
    assert without[0] == code and without[1].items() <= after.items()


def test_in_an_arena_only_its_own_method_moves_with_it(call, site, tmp_path):
    edited = tmp_path / "edited"
    shutil.copytree(site, edited)
    with (edited / "example_plug_in" / "method.py").open("a") as file:
        file.write("# another line\n")
    words = (DIGESTS, EXAMPLES / "tasks", "arena/polynomial")
    before, after = (json.loads(call(*words, program=("-c",), path=path).stdout) for path in (site, edited))
    moved = {name.split()[2] for name, digest in before[1].items() if after[1][name] != digest}
    assert moved == {"sign_mean"} and len(before[1]) > len(moved) and before[0] == after[0]
