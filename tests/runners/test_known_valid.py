"""A file that was found valid is not checked again while it and the checks stay the same; any other is."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tangentbench.runners import known_valid
from tangentbench.runners.validation import validate
from tangentbench.tasks import load, registry

EXAMPLE = Path(__file__).parents[1] / "tasks" / "examples" / "exponent.yaml"


@pytest.fixture
def checked(tmp_path, monkeypatch):
    """Names that were really checked, with a cache and a task file of this test."""
    names: list[str] = []
    real = load.check
    monkeypatch.setenv("TANGENTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        load, "check", lambda wanted, *rest: names.extend(wanted := list(wanted)) or real(wanted, *rest)
    )
    shutil.copy(EXAMPLE, tmp_path / "a.yaml")
    monkeypatch.chdir(tmp_path)
    return names


def test_a_valid_file_is_checked_once(checked):
    assert validate(["a.yaml"]) == 0
    assert checked == ["a.yaml"]
    shutil.copy("a.yaml", "same_content.yaml")
    assert validate(["a.yaml", "same_content.yaml"]) == 0
    assert checked == ["a.yaml"]
    Path("a.yaml").write_text(EXAMPLE.read_text() + "# changed\n")
    assert validate(["a.yaml"]) == 0
    assert checked == ["a.yaml"] * 2


def test_a_mistake_is_told_every_time(checked, capsys):
    Path("bad.yaml").write_text(EXAMPLE.read_text().replace("half_sse", "half_see"))
    for _ in range(2):
        assert validate(["a.yaml", "bad.yaml"]) == 1
        assert "unknown loss 'half_see'" in capsys.readouterr().err
    assert checked == ["a.yaml", "bad.yaml", "bad.yaml"]


def test_other_checks_look_again(checked, monkeypatch, tmp_path):
    validate(["a.yaml"])
    before = known_valid.Known().folder
    monkeypatch.setattr(known_valid, "_distributions", lambda: ["pydantic-99.dist-info"])
    assert known_valid.Known().folder != before
    validate(["a.yaml"])
    assert checked == ["a.yaml"] * 2
    assert len(list((tmp_path / "cache" / known_valid.FOLDER).iterdir())) == 1, "what other checks found is forgotten"


@pytest.mark.parametrize("why", ["a plug-in", "off", "not a folder"])
def test_where_nothing_can_be_remembered_files_are_checked(checked, monkeypatch, tmp_path, why):
    if why == "a plug-in":
        monkeypatch.setattr(registry, "entry_points", lambda group: ["one"] if group == "tangentbench.models" else [])
        monkeypatch.setattr(registry, "table", lambda kind: registry.KINDS[kind])
    elif why == "off":
        monkeypatch.setenv("TANGENTBENCH_CACHE", "off")
    else:
        (tmp_path / "cache").write_text("a file")
    for _ in range(2):
        assert validate(["a.yaml"]) == 0
    assert checked == ["a.yaml"] * 2


def test_a_second_look_builds_no_schema(checked):
    script = (
        "import sys\nfrom tangentbench.runners.validation import validate\n"
        "assert validate(['a.yaml']) == 0\nprint('pydantic' in sys.modules)"
    )
    answers = [
        subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert [answer.splitlines()[-1] for answer in answers] == ["True", "False"]
