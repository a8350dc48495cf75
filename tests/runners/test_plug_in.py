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
DIGEST = "from tangentbench.runners.provenance import code_digest; print(code_digest('cpu'))"


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


def test_the_code_digest_covers_its_sources(call, site, tmp_path):
    def digest(path):
        return call(DIGEST, program=("-c",), path=path).stdout.strip()

    before, without = digest(site), digest(tmp_path)
    assert len(before) == len(without) == 16 and before != without
    edited = tmp_path / "edited"
    shutil.copytree(site, edited)
    assert digest(edited) == before
    with (edited / "example_plug_in" / "model.py").open("a") as file:
        file.write("# another line\n")
    assert digest(edited) not in (before, without)
