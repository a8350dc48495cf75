"""The tree holds nothing of the machine that it was written on, and nothing large; every module says what it is for."""

import ast
import re

import pytest

MEGABYTE = 2**20
BINARY = {".png", ".npz"}
ELSEWHERE = re.compile(
    r"(?<![\w.])/(?:home|root|Users|tmp|var|opt|mnt|work)/"  # folders of one machine
    r"|\blocalhost:\d|\b(?:10|127|172|192)(?:\.\d{1,3}){3}\b|\b[\w-]+\.(?:internal|local|lan|corp)\b"  # hosts
    r"|--(?:extra-)?index-url|--find-links [^-]|\bfile://|/simple\b|[pP]ypi\.org|pythonhosted"  # registries
)


def elsewhere(text: str) -> list[str]:
    """Machine paths, hosts and registry addresses in `text`."""
    return [match.group() for match in ELSEWHERE.finditer(text)]


def test_nothing_of_the_machine(root, project_files):
    me = root / "tests" / "test_tree.py"
    for path in (root / path for path in project_files if path.suffix not in BINARY):
        if path != me:
            assert elsewhere(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize(
    "text",
    [
        "see /home/someone/x",
        "'/tmp/a'",
        "10.0.0.17",
        "node7.internal",
        "--index-url=x",
        "file:///x",
        "https://pypi.org/simple",
    ],
)
def test_a_trace_of_a_machine_is_noticed(text):
    assert elsewhere(text)
    assert not elsewhere("uses tmp_path/x, a/home/b, 0.10.2, arXiv 2306.04815, ./work and https://arxiv.org/abs/1")


def test_no_large_file(root, project_files):
    assert [path for path in project_files if (root / path).stat().st_size > MEGABYTE] == []


def test_ignored_files_are_left_out(script, tmp_path):
    (tmp_path / ".gitignore").write_text("__pycache__/\n*.egg-info/\n/results/\n")
    kept = ["a/results/x", "b.py", ".ci/run"]
    for name in [*kept, "results/x", "a/__pycache__/y", "x.egg-info/z", ".git/config"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert {path.as_posix() for path in script("tree").files(tmp_path)} == {*kept, ".gitignore"}


def test_every_module_has_a_docstring(root, project_files):
    modules = [path for path in project_files if path.suffix == ".py"]
    assert modules
    assert [path for path in modules if not ast.get_docstring(ast.parse((root / path).read_text()))] == []
