"""Which code made a number: a digest that runs are filed under, and a record that travels with them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import os
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from ..tasks import registry
from ..tasks.plug_ins import OWN, hashes

SOURCES = (
    "models/**/*.py",
    "tasks/datasets/**/*.py",
    "tasks/metrics/**/*.py",
    "tasks/losses.py",
    "tasks/streams.py",
    "tasks/entry.py",
    "tasks/method_entries.py",
    "tasks/model_options.py",
    "tasks/metric_entries.py",  # how a curve becomes a number
    "tasks/registry.py",  # what a name in a cell stands for
    "runners/methods.py",
    "runners/references.py",
    "runners/batches.py",
    "runners/build.py",
    "runners/compiled.py",
    "runners/train.py",
)
"""Files of the package that can change a number. Boards, loading and the command line are not among them."""

LIBRARIES = ("jax", "jaxlib", "equinox", "optax", "numpy", "scikit-learn")
NUMERICS = ("JAX_DEFAULT_MATMUL_PRECISION", "JAX_ENABLE_X64")
"""Variables, besides `XLA_FLAGS`, with which the environment can change a number."""

COMMIT = re.compile(r"[0-9a-f]{7,64}")
"""A commit's name. Stores may come from anywhere, and git takes other words for options."""

_DEVICE_PLUG_INS = (
    "jax-cuda12-plugin",
    "jax-cuda13-plugin",
    "jax-rocm60-plugin",
    "jax-rocm7-plugin",
    "jax-metal",
    "libtpu",
    "libtpu-nightly",
)
_PACKAGE_FOLDERS = ("models", "tasks", "runners")
# from the first absolute, home or dotted path on; a task id such as family/name is none
_PATH = re.compile(r"(?<![\w./\\])(?:~[\w.-]*|\.{1,2}|[A-Za-z]:)?[/\\].*|(?<!\w)~.*", re.DOTALL)


class DeviceError(RuntimeError):
    """jax could not say which device it would use."""


def code_digest(kind: str | None = None, root: Path | None = None) -> str:
    """16 hex digits naming the code that makes numbers.

    Covers the files of `SOURCES`, the versions of `LIBRARIES`, the variables `XLA_FLAGS` and `NUMERICS` where they are
    set, and the device kind, so that a stored run is reused exactly while all of them stay the same. The sources of a
    plug-in are part of the digests of the cells that use it (`tasks.spec.Cell.digest`).

    Args:
        kind: the device kind; by default `device_kind()`.
        root: the folder that holds `models`, `tasks` and `runners`; by default `package_root()`.

    Raises:
        DeviceError: the device kind is unknown.
    """
    parts = [*hashes(root or package_root(), SOURCES), *(f"{name} {_version(name)}" for name in LIBRARIES)]
    parts += [f"{name} {version}" for name, version in _device_plug_ins().items()]
    parts += [f"XLA_FLAGS {flag}" for flag in _xla_flags()]
    parts += [f"{name} {value}" for name, value in numerics().items()]
    return hashlib.sha256("\n".join([*parts, kind or device_kind()]).encode()).hexdigest()[:16]


def device_kind() -> str:
    """The kind of device jax would run on, such as `cpu` or `NVIDIA H100 80GB HBM3`.

    Without a device plug-in among the installed distributions, or with `JAX_PLATFORMS=cpu`, it is `cpu` and jax is not
    imported. Otherwise a subprocess asks jax, once per process: the parent must not take the device's memory.

    Raises:
        DeviceError: jax does not start.
    """
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms.split(",")[0].strip().lower() == "cpu" or not _has_device_plug_in():
        return "cpu"
    return _asked_device_kind(platforms)


def provenance(argv: Sequence[str], kind: str | None = None) -> dict[str, Any]:
    """What a run records about its making; no host name, user name or path.

    Args:
        argv: the command line; paths in it are replaced by `<path>`.
        kind: the device kind; by default `device_kind()`.

    Returns:
        JSON: `package` (see there), `versions` of `LIBRARIES` and of the device's plug-ins, `python`, `device`,
        `xla_flags`, `variables` (see `numerics`), `argv`, `plug_ins`, and `started`, the time in UTC.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "package": dict(package()),
        "versions": {name: _version(name) for name in LIBRARIES} | _device_plug_ins(),
        "python": platform.python_version(),
        "device": kind or device_kind(),
        "xla_flags": " ".join(map(without_path, os.environ.get("XLA_FLAGS", "").split())),
        "variables": {name: without_path(value) for name, value in numerics().items()},
        "argv": [_program(argv[0]), *map(without_path, argv[1:])] if argv else [],
        "plug_ins": sorted(_plug_ins()),
    }


def numerics() -> dict[str, str]:
    """The variables of `NUMERICS` that are set, in lower case."""
    values = {name: os.environ.get(name, "").strip().lower() for name in NUMERICS}
    return {name: value for name, value in values.items() if value}


def package_root() -> Path:
    """The folder that holds the imported `models`, `tasks` and `runners`."""
    return Path(__file__).resolve().parent.parent


def commit_of(revision: str) -> str | None:
    """The full name of a git revision of the suite's repository; None where there is none, or no repository."""
    root = repository()
    found = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}") if root else None
    return found.decode().strip() if found else None


def code_digest_at(commit: str) -> str | None:
    """The code digest that a commit of the suite's repository has in this environment; None where it has no sources."""
    root = repository() if COMMIT.fullmatch(commit) else None
    archive = _git(root, "archive", "--format=tar", "--end-of-options", commit, *_PACKAGE_FOLDERS) if root else None
    if archive is None:
        return None
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
        return code_digest(root=Path(folder))


def file_at(commit: str, name: str) -> str | None:
    """A file of the suite's repository as a commit has it; None where it is not there."""
    root = repository() if COMMIT.fullmatch(commit) else None
    found = _git(root, "show", "--end-of-options", f"{commit}:{name}") if root else None
    return None if found is None else found.decode(errors="replace")


def pinned(text: str, python: str) -> dict[str, str]:
    """Versions that a constraints file gives the libraries on which numbers depend, for a Python such as `3.11`."""
    from packaging.requirements import Requirement

    found = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith(("#", " ", "-")):
            continue
        wanted = Requirement(line.split(" #")[0])
        here = {"python_version": python, "python_full_version": f"{python}.0"}
        if wanted.name in LIBRARIES and (wanted.marker is None or wanted.marker.evaluate(here)):
            found[wanted.name] = str(wanted.specifier).removeprefix("==")
    return found


@cache
def repository() -> Path | None:
    """The checkout of the imported sources or, for an installed wheel, the one that is the current folder."""
    for root in (package_root(), Path.cwd()):
        if _git(root, "ls-files", "--error-unmatch", "runners/provenance.py") is not None:
            return root
    return None


@cache
def package() -> dict[str, Any]:
    """Where the imported sources come from.

    Returns:
        `version` of the distribution; `commit` of the checkout that tracks the sources, or the commit that `ASV_COMMIT`
        names for a wheel; `dirty` and `diff`: whether models, tasks or runners differ from it, and a hash of how.
    """
    found: dict[str, Any] = {"version": _version("tangentbench"), "commit": None, "dirty": None, "diff": None}
    root = package_root()
    # only the repository that tracks the imported files counts, not one that merely contains the environment
    if _git(root, "ls-files", "--error-unmatch", "runners/provenance.py") is None:
        commit = os.environ.get("ASV_COMMIT", "")
        found["commit"] = commit if re.fullmatch(r"[0-9a-f]{7,64}", commit) else None
        return found
    commit = _git(root, "rev-parse", "HEAD")
    found["commit"] = commit.decode().strip() if commit else None
    diff = _git(root, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD", "--", *_PACKAGE_FOLDERS) or b""
    listing = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", *_PACKAGE_FOLDERS) or b""
    new = sorted(name for name in listing.decode().split("\0") if name)
    found["dirty"] = bool(diff or new)
    if found["dirty"]:
        content = b"".join(name.encode() + b"\0" + (root / name).read_bytes() for name in new)
        found["diff"] = hashlib.sha256(diff + content).hexdigest()[:16]
    return found


def _xla_flags() -> list[str]:
    """The flags of `XLA_FLAGS` in order of name, the last of a repeated one; dumps of what was compiled are none."""
    flags = {flag.split("=", 1)[0]: flag for flag in os.environ.get("XLA_FLAGS", "").split()}
    return [flag for name, flag in sorted(flags.items()) if not name.startswith("--xla_dump")]


def _plug_ins() -> set[str]:
    """Name and version of every distribution that adds components."""
    points = (point for group in registry.GROUPS.values() for point in registry.entry_points(group))
    return {f"{p.dist.name} {p.dist.version}" for p in points if p.dist is not None and p.dist.name != OWN}


def _has_device_plug_in() -> bool:
    return bool(importlib.metadata.entry_points(group="jax_plugins")) or bool(_device_plug_ins())


def _device_plug_ins() -> dict[str, str]:
    """Versions of the installed packages that let jax use a device other than the CPU."""
    return {name: version for name in _DEVICE_PLUG_INS if (version := _version(name))}


@cache
def _asked_device_kind(platforms: str) -> str:
    environment = {**os.environ, "JAX_PLATFORMS": platforms, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    question = "import jax; print(jax.devices()[0].device_kind)"
    try:
        answer = subprocess.run(
            [sys.executable, "-c", question], capture_output=True, text=True, env=environment, timeout=180
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = type(error).__name__
        raise DeviceError(f"jax did not start ({why}); set JAX_PLATFORMS=cpu to run on the CPU") from error
    lines = answer.stdout.split("\n")
    kind = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if answer.returncode or not kind:
        last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        raise DeviceError(f"jax did not start: {last}; set JAX_PLATFORMS=cpu to run on the CPU")
    return kind


@cache
def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Standard output of a git command that changes nothing; None where it fails or git is missing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        answer = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            env={**environment, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None


def _program(name: str) -> str:
    stem = re.split(r"[/\\]", name)[-1]
    return stem.removesuffix(".exe").removesuffix(".py")


def without_path(word: str) -> str:
    """The word with the first path in it, and all that follows, replaced by `<path>`."""
    return _PATH.sub("<path>", word)
