"""What `tangentbench new` writes: a task file, or a folder that installs as a plug-in with one component.

The files are templates of the package, in which only names are replaced, so that what is written is what the tests run.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import shlex
import zlib
from pathlib import Path
from string import Template

from ..tasks import registry

NAME = re.compile(r"[a-z][a-z0-9_]*")
TEMPLATES = Path(__file__).parent / "templates" / "new"


class CannotWrite(Exception):
    """Nothing was written; the message says why, and what to do."""


def new(kind: str, name: str, folder: str | Path = ".") -> str:
    """Write the files of a new task or component below a folder, and say what to type next.

    Raises:
        CannotWrite: the name cannot be one or is taken, or a file is in the way. Nothing is written then.
    """
    _check_name(kind, name)
    folder = Path(folder)
    files = _texts(kind, name, folder)
    for path in files:
        if path.exists():
            raise CannotWrite(f"{path} exists already: choose another name, or another folder with -o")
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise CannotWrite(f"cannot write {error.filename or folder}: {error.strerror or error}") from error
    wrote = [f"wrote {path}" for path in files]
    return "\n".join([*wrote, "", "next:", *(f"  {line}" for line in _next(kind, name, folder))])


def _check_name(kind: str, name: str) -> None:
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise CannotWrite(f"'{name}' cannot be a name: write small letters, digits and _, a letter first")
    if kind == "task":
        return
    table = registry.table(kind)
    if name in table:
        raise CannotWrite(f"there is a {kind} '{name}' already, of {table[name].origin}: choose another name")
    if importlib.util.find_spec(name) is not None:
        raise CannotWrite(f"Python knows a module '{name}' already: choose another name")


def _texts(kind: str, name: str, folder: Path) -> dict[Path, str]:
    """Every file with its content."""
    if kind == "task":
        sources = {folder / f"{name}.yaml": "task.yaml"}
    else:
        root = folder / name
        sources = {
            root / "pyproject.toml": "pyproject.toml.txt",
            root / name / "__init__.py": f"{kind}_entry.py.txt",
            root / name / f"{kind}.py": f"{kind}.py.txt",
            root / f"try_{name}.yaml": f"{kind}.yaml",
        }
    words = {
        "name": name,
        "Name": "".join(part.capitalize() for part in name.split("_")),
        "kind": kind,
        "file": next(path for path in sources if path.suffix == ".yaml").as_posix(),
        "stream": str(zlib.crc32(name.encode())),  # its own random numbers
    }
    return {
        path: Template((TEMPLATES / source).read_text(encoding="utf-8")).substitute(words)
        for path, source in sources.items()
    }


def _next(kind: str, name: str, folder: Path) -> list[str]:
    if kind == "task":
        path = (folder / f"{name}.yaml").as_posix()
        return [f"tangentbench validate {shlex.quote(path)}", f"tangentbench claims {shlex.quote(path)}"]
    root = (folder / name).as_posix()
    return [
        f"pip install -e {shlex.quote(root if '/' in root else './' + root)}",
        f"tangentbench check {name}",
        f"tangentbench run {shlex.quote(f'{root}/try_{name}.yaml')} --tier smoke",
    ]
