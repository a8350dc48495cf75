"""The wheel holds what the checkout holds: packages, task files, pins, versions."""

import importlib.resources
import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDERS = ("models", "tasks", "runners")
PYTHONS = ("3.11", "3.12", "3.13")


def packages(root: Path) -> set[str]:
    """Dotted names of the folders with Python files below the three folders."""
    modules = [module for folder in FOLDERS for module in (root / folder).rglob("*.py")]
    return {"tangentbench." + module.parent.relative_to(root).as_posix().replace("/", ".") for module in modules}


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def pins(root):
    return [Requirement(line) for line in (root / "constraints.txt").read_text().splitlines()]


def test_every_package_is_listed(root, project):
    assert packages(root) == set(project["tool"]["setuptools"]["packages"])


def test_an_unlisted_package_is_noticed(tmp_path, project):
    for name in project["tool"]["setuptools"]["packages"]:
        folder = tmp_path / name.removeprefix("tangentbench.").replace(".", "/")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
    assert packages(tmp_path) == set(project["tool"]["setuptools"]["packages"])
    (tmp_path / "models" / "unlisted").mkdir()
    (tmp_path / "models" / "unlisted" / "module.py").touch()
    assert packages(tmp_path) - set(project["tool"]["setuptools"]["packages"]) == {"tangentbench.models.unlisted"}


def packaged(folder: Path, project: dict) -> set[str]:
    """Files below `tasks` that setuptools' package data takes along, by the globs of pyproject.toml."""
    globs = project["tool"]["setuptools"]["package-data"]["tangentbench.tasks"]
    return {path.relative_to(folder).as_posix() for glob in globs for path in folder.glob(glob)}


def test_every_file_of_the_suite_is_packaged(root, project):
    suite = {path.relative_to(root / "tasks").as_posix() for path in (root / "tasks" / "suite").rglob("*.*")}
    assert suite and suite == packaged(root / "tasks", project)


def test_a_file_of_another_kind_is_noticed(tmp_path, project):
    (tmp_path / "suite" / "family").mkdir(parents=True)
    for name in ("good.yaml", "bad.yml"):
        (tmp_path / "suite" / "family" / name).touch()
    assert packaged(tmp_path, project) == {"suite/family/good.yaml"}


def test_the_installed_suite_is_the_tree_s(root):
    installed = importlib.resources.files("tangentbench.tasks") / "suite"
    with importlib.resources.as_file(installed) as folder:
        texts = {path.relative_to(folder): path.read_text() for path in folder.rglob("*.yaml")}
    suite = root / "tasks" / "suite"
    assert texts == {path.relative_to(suite): path.read_text() for path in suite.rglob("*.yaml")}, "install it again"


def test_pins_are_exact_and_have_no_addresses(root, pins):
    text = (root / "constraints.txt").read_text()
    assert not re.search(r"://|^\s*-|@", text, re.MULTILINE)
    assert all([s.operator for s in pin.specifier] == ["=="] for pin in pins)


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_one_pin_that_it_accepts(python, project, pins):
    environment = {
        "python_version": python,
        "python_full_version": python + ".0",
        "sys_platform": "linux",
        "os_name": "posix",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }

    def holds(marker: Marker | None) -> bool:
        return marker is None or marker.evaluate(environment)  # pyright: ignore[reportArgumentType]

    found = [(canonicalize_name(pin.name), next(iter(pin.specifier)).version) for pin in pins if holds(pin.marker)]
    pinned = dict(found)
    assert len(pinned) == len(found), "two pins of one package"
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *extras["test"], *extras["dev"]]
    for requirement in map(Requirement, wanted):
        if requirement.name != "tangentbench":
            assert pinned[canonicalize_name(requirement.name)] in requirement.specifier


def test_one_version(root, project):
    version = re.escape(project["project"]["version"])
    assert re.search(rf"^version: {version}$", (root / "CITATION.cff").read_text(), re.MULTILINE)
    assert re.search(rf"^## \[{version}\]", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
