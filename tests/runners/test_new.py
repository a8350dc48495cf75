"""What `tangentbench new` writes is valid and runs as it stands; it never writes over a file."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tangentbench.runners import arguments, cli, new
from tangentbench.tasks import load

EXAMPLE = Path(__file__).parents[1] / "examples" / "plug_in" / "example_plug_in"
COMPONENTS = {"dataset": "ridge", "model": "sines", "method": "sign_mean", "metric": "output_norm"}
MOST_LINES = 20


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = cli.main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


def test_a_new_task_is_short_and_decides_a_claim_and_its_control(call, tmp_path):
    code, out, err = call("new", "task", "my_question")
    assert (code, err) == (0, "") and out.startswith("wrote my_question.yaml\n")
    lines = [line for line in Path("my_question.yaml").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) <= MOST_LINES
    assert [line.strip() for line in out.splitlines() if line.startswith("  ")] == [
        "tangentbench validate my_question.yaml", "tangentbench claims my_question.yaml",
    ]  # fmt: skip
    assert call("validate", "my_question.yaml")[0] == 0
    code, out, _ = call("claims", "my_question.yaml", "--seeds", 3, "--quiet", "--format", "json")
    found = {row["claim"]: row["verdict"] for row in json.loads(out)["claims"]}
    assert (code, found) == (0, {"larger_steps_lower_the_loss": "holds", "equal_steps_do_not": "rejected"})


def test_new_tasks_have_random_numbers_of_their_own(call):
    streams = set()
    for name in ("one", "another"):
        call("new", "task", name)
        streams.add(load.load_task(Path(f"{name}.yaml")).spec.stream)
    assert len(streams) == 2


def installed(folder):
    """The folder of a plug-in as pip would leave it: its package, and the metadata that its pyproject.toml asks for."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    text = "".join(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups)
    (info / "entry_points.txt").write_text(text)
    return folder


def test_a_new_component_is_known_as_soon_as_it_is_installed(call, tmp_path):
    """The modules are those of the example plug-in, which `test_plug_in` checks and runs."""
    for kind, name in COMPONENTS.items():
        code, out, err = call("new", kind, name, "-o", "mine")
        assert (code, err) == (0, "") and f"tangentbench check {name}" in out and "pip install -e mine/" in out
        assert (tmp_path / "mine" / name / name / f"{kind}.py").read_text() == (EXAMPLE / f"{kind}.py").read_text()
    path = os.pathsep.join(str(installed(tmp_path / "mine" / name)) for name in COMPONENTS.values())
    tries = [f"mine/{name}/try_{name}.yaml" for name in COMPONENTS.values()]
    words = [sys.executable, "-m", "tangentbench.runners.cli", "validate", *tries]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    *costs, count = done.stdout.splitlines()
    assert (done.returncode, done.stderr, count) == (0, "", "4 of 4 task files are valid")
    assert "mine/sines/try_sines.yaml: cost is not estimated: model 'sines' comes with sines" in costs
    assert call("validate", *tries)[0] == 1  # without them on the path nobody knows these names


def test_nothing_is_written_over(call, tmp_path):
    for words, path in ((("task", "mine"), "mine.yaml"), (("model", "mine"), "mine/mine/model.py")):
        assert call("new", *words)[0] == 0
        before = {file: file.read_text() for file in tmp_path.rglob("*") if file.is_file()}
        (tmp_path / path).write_text("edited")
        code, out, err = call("new", *words)
        assert (code, out, err.count("\n")) == (1, "", 1) and "exists already" in err
        assert {file: file.read_text() for file in before} == before | {tmp_path / path: "edited"}
    (tmp_path / "mine" / "mine" / "model.py").unlink()  # one file in the way is enough
    assert call("new", "model", "mine")[0] == 1 and not (tmp_path / "mine" / "mine" / "model.py").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("task", "My-Question"), "cannot be a name: write small letters"),
        (("model", "class"), "cannot be a name"),
        (("model", "wide"), "there is a model 'wide' already, of tangentbench"),
        (("dataset", "json"), "Python knows a module 'json' already"),
        (("task", "x", "-o", "file/below"), "cannot write file/below"),
        (("tsak", "x"), "did you mean 'task'?"),
    ],
)
def test_what_cannot_be_written_is_one_line(call, tmp_path, words, reason):
    (tmp_path / "file").touch()
    code, out, err = call("new", *words)
    assert (code, out, err.count("\n")) == (1, "", 1) and reason in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_every_kind_has_its_templates():
    files = {path.name for path in new.TEMPLATES.iterdir()}
    assert files == {"pyproject.toml.txt"} | {f"{kind}.yaml" for kind in arguments.NEW} | {
        f"{kind}{part}.py.txt" for kind in COMPONENTS for part in ("", "_entry")
    }
