"""asv's environment with the wheel of a commit: `python -m tangentbench.runners.commit_environment COMMIT`.

A program of its own, run in the checkout, because asv reads its configuration there and talks on standard output. The
last line that it prints is the environment's Python. Environments and wheels lie where `asv.conf.json` says, and are
those of `asv run` as long as the libraries that numbers depend on have the versions of the checkout's pins.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock

from .provenance import pinned

PINS = Path("constraints.txt")


def prepare(commit: str, pins: str | None, python: str) -> str:
    """Creates the environment where it is missing, installs the commit's wheel, and returns the environment's Python.

    Args:
        commit: its full name.
        pins: text of a constraints file; None for the checkout's.
        python: version as asv takes it, such as `3.11`.
    """
    from asv import environment, plugin_manager, repo
    from asv.config import Config

    conf: Any = Config.load()
    for plugin in conf.plugins:
        plugin_manager.plugin_manager.import_plugin(plugin)
    conf.pythons, variables = [python], {}
    own = PINS.read_text(encoding="utf-8") if PINS.is_file() else ""
    pins = own if pins is None else pins
    extra = "[cuda]" if _has_cuda() else ""  # runs are made on the kind of device that is used here
    if extra or pinned(pins, python) != pinned(own, python):
        name = hashlib.sha256(repr((extra, sorted(pinned(pins, python).items()))).encode()).hexdigest()[:12]
        path = Path(conf.env_dir).resolve() / f"pins-{name}.txt"
        path.write_text(pins, encoding="utf-8")
        variables = {("build", "TANGENTBENCH_PINS"): name}  # another name, so another environment
        wheel = f"-c {shlex.quote(str(path))} {{wheel_file}}{extra}"
        conf.install_command = [f"in-dir={{env_dir}} python -m pip install {wheel}"]
    kind = environment.get_environment_class(conf, python)
    made = kind(conf, python, {"setuptools": ""}, variables)
    made.create()
    made.install_project(conf, repo.get_repo(conf), commit)
    return made.find_executable("python")


def _has_cuda() -> bool:
    """Whether this environment has what the extra `cuda` installs."""
    try:
        return bool(importlib.metadata.version("jax-cuda13-plugin"))
    except importlib.metadata.PackageNotFoundError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description="Prepare asv's environment for a commit.", allow_abbrev=False)
    parser.add_argument("commit")
    parser.add_argument("--pins", type=Path, help="a constraints file; by default the checkout's")
    parser.add_argument("--python", default=f"{sys.version_info[0]}.{sys.version_info[1]}")
    options = parser.parse_args()
    try:
        from asv import environment, util
        from asv.config import Config

        folder = Path(Config.load().env_dir)
        folder.mkdir(parents=True, exist_ok=True)
        pins = options.pins.read_text(encoding="utf-8") if options.pins else None
        with FileLock(folder / ".tangentbench.lock"):  # asv takes none
            found = prepare(options.commit, pins, options.python)
    except ImportError as error:
        print(f"{error.name} is not installed; `pip install 'tangentbench[dev]'` brings it", file=sys.stderr)
        return 1
    except (util.UserError, environment.EnvironmentUnavailable, OSError) as error:
        print(f"{error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        said = f"{error.stderr or ''}\n{error.stdout or ''}".splitlines()
        failed = [line for line in said if line.lower().lstrip().startswith(("error", "fatal"))]
        print((failed or [str(error)])[-1].strip(), file=sys.stderr)
        return 1
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
