"""Nothing imports upward, and what answers from files or the store starts without jax."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDERS = ("models", "tasks", "runners")
READING = ("tasks.document", "tasks.registry", "tasks.options", "tasks.spec", "tasks.cells", "tasks.load")
ANSWERING = ("runners.results", "runners.verdicts", "runners.arenas", "runners.tables")


def lint(root: Path, planted: Path | None = None) -> subprocess.CompletedProcess:
    """Run import-linter with the project's contracts on the installed package, or on a copy of it in `planted`."""
    command = "from importlinter.cli import lint_imports_command as lint; lint()"
    arguments = ["--config", str(root / "pyproject.toml"), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(planted or "")}
    return subprocess.run(
        [sys.executable, "-c", command, *arguments], env=environment, cwd=root, capture_output=True, text=True
    )


def test_layers(root):
    done = lint(root)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("models/layers.py", "from ..tasks import losses", "runners ask tasks, tasks measure models"),
        ("tasks/options.py", "from ..models import kernels", "task files are read without jax or numpy"),
        ("tasks/sweep.py", "import numpy", "task files are read without jax or numpy"),
        ("tasks/spec.py", "from . import cells", "task files load in layers"),
        ("tasks/losses.py", "from . import spec", "metrics and data sets do not know task files"),
        ("runners/results.py", "import jax", "boards are answered without jax"),
        ("runners/suite.py", "from . import train", "boards are answered without jax"),
        ("runners/train.py", "from .tables import render", "training does not know the boards"),
    ],
)
def test_a_planted_import_is_noticed(root, tmp_path, module, line, contract):
    for folder in FOLDERS:
        ignore = shutil.ignore_patterns("__pycache__", "suite")
        shutil.copytree(root / folder, tmp_path / "tangentbench" / folder, ignore=ignore)
    with (tmp_path / "tangentbench" / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint(root, tmp_path)
    assert done.returncode == 1
    assert f"{contract} BROKEN" in done.stdout


def absolute_imports(source: str) -> list[str]:
    """Imports of the project's own folders that are not relative: they would load a second copy, or another project."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module or "")
    return [name for name in names if name.split(".")[0] in ("tangentbench", *FOLDERS)]


def test_the_folders_import_relatively(root):
    for path in (path for folder in FOLDERS for path in (root / folder).rglob("*.py")):
        assert absolute_imports(path.read_text()) == [], path


@pytest.mark.parametrize(
    "line", ["import models.wide", "from tasks import load", "from tangentbench.models import Wide"]
)
def test_an_absolute_import_is_noticed(line):
    assert absolute_imports(f"def f():\n    {line}\n")
    assert not absolute_imports("from ..models import Wide\nfrom . import tasks\nimport tasksets\n")


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        (READING, ("jax", "numpy", "pandas", "scipy")),
        (ANSWERING, ("jax", "matplotlib", "pandas", "scipy.stats")),
        (("runners.cli",), ("jax", "matplotlib", "pandas", "scipy.stats")),
    ],
    ids=("reading", "answering", "cli"),
)
def test_light_modules_start_light(modules, heavy):
    imports = "".join(f"import tangentbench.{module}\n" for module in modules)
    code = f"{imports}import sys\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
