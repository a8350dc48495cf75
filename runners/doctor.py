"""What `tangentbench doctor` says: what runs would be made with and on, where they go, and what is odd about it."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from ..tasks import catalog, registry
from . import cache, cleaning, provenance
from .results import Store, StoreError
from .rows import render

GIB = 2**30
LEAST_MEMORY = 6.0  # GiB that the laptop tier was measured to need, with room
LEAST_DISK = 1.0  # GiB
ADDRESS = ("JAX_COMPILATION_CACHE_DIR",)
"""Variables whose value is a place, which is nobody's business."""
START_SECONDS = 60.0  # for a process that only starts jax
_XLA_SAYS = (
    (re.compile(r"Unknown flags? in XLA_FLAGS: (.+)"), "flag unknown, or without the value that it needs: {}"),
    (re.compile(r"Couldn't interpret value (.*) for flag (\S+)\."), "--{1} cannot be '{0}'"),
    (re.compile(r'Could not open file "(.*?)" to read flags'), "'{}' does not start with --"),
)
"""What XLA writes before it ends, and the same in few words."""
_JAX_SAYS = re.compile(r"Unable to initialize backend '.*?': (.*?)\.? \(set JAX_PLATFORMS")
"""What jax says of a platform that it cannot use."""


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what is there, and what is odd about it; `broken`: nothing will run like this."""

    what: str
    found: str
    remark: str = ""
    broken: bool = False


def examine(results: str = "results") -> list[Finding]:
    """Everything that was found; never raises for what it examines."""
    looks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("versions", _versions),
        ("device", _device),
        ("environment", _environment),
        ("machine", _machine),
        ("compiled programs", _compiled),
        ("data sets", _data),
        ("components", _components),
        ("results", lambda: _results(results)),
    )
    found: list[Finding] = []
    for what, look in looks:
        try:
            found += look()
        except Exception as error:  # what is broken here is what this command is for
            found.append(Finding(what, "cannot be examined", f"{type(error).__name__}: {error}", broken=True))
    return found


def text(found: list[Finding], fmt: str = "table") -> str:
    """The findings as a table, Markdown, CSV or JSON, and in words whether anything is odd."""
    rows = [asdict(finding) for finding in found]
    if fmt in ("csv", "json"):
        return render(rows, fmt)
    table = render([{key: row[key] for key in ("what", "found", "remark")} for row in rows], fmt)
    broken = [finding.what for finding in found if finding.broken]
    odd = sum(bool(finding.remark) for finding in found)
    if broken:
        return f"{table}\n\nbroken: {', '.join(broken)}"
    return f"{table}\n\n{'nothing is odd' if not odd else f'{odd} remarks, nothing is broken'}"


def _versions() -> Iterator[Finding]:
    version = sys.version_info
    remark = "" if (3, 11) <= version < (3, 14) else "tangentbench is tested with Python 3.11 to 3.13"
    yield Finding("python", platform.python_version(), remark)
    made = provenance.provenance([], kind="unknown")
    package = made["package"]
    commit = f", commit {package['commit'][:10]}" if package["commit"] else ""
    changed = "its sources differ from the commit: runs are no commit's" if package["dirty"] else ""
    yield Finding("tangentbench", f"{package['version']}{commit}", changed)
    for name, found in made["versions"].items():
        yield Finding(name, found or "missing", "" if found else f"install it: pip install {name}", broken=not found)
    jax, jaxlib = (made["versions"][name] or "" for name in ("jax", "jaxlib"))
    if jax.split(".")[:2] != jaxlib.split(".")[:2]:
        yield Finding("jax and jaxlib", f"{jax}, {jaxlib}", "they belong together: pip install -U jax jaxlib", True)


def _device() -> Iterator[Finding]:
    try:
        kind = provenance.device_kind()
    except provenance.DeviceError as error:
        yield Finding("device", "none", str(error), broken=True)
        return
    remark = ""
    if kind == "cpu" and shutil.which("nvidia-smi"):
        remark = "there is an NVIDIA driver; to use its GPU: pip install 'tangentbench[cuda]'"
        if "cpu" in os.environ.get("JAX_PLATFORMS", "").lower():
            remark = "there is an NVIDIA driver, and JAX_PLATFORMS says cpu"
    yield Finding("device", kind, remark)
    yield Finding("code digest", provenance.code_digest(kind))


def _environment() -> Iterator[Finding]:
    """Variables that change numbers, or what is used."""
    precision = os.environ.get("JAX_DEFAULT_MATMUL_PRECISION", "")
    yield Finding("matmul precision", "highest, in every run", f"JAX_DEFAULT_MATMUL_PRECISION={precision} has no effect"
                  if precision else "")  # fmt: skip
    for name in sorted(os.environ):
        if not name.startswith(("JAX_", "XLA_")) or name == "JAX_DEFAULT_MATMUL_PRECISION":
            continue
        value = "(a folder)" if name in ADDRESS else provenance.without_path(os.environ[name])
        remark = "part of the code digest: runs with and without it are kept apart"
        broken = {"XLA_FLAGS": refused_flags, "JAX_PLATFORMS": refused_platforms}.get(name, str)()
        if broken:
            remark = f"{'XLA' if name == 'XLA_FLAGS' else 'jax'} does not start: {broken}"
        elif name == "XLA_FLAGS" and (words := ignored_flags()):
            remark = f"XLA passes over {provenance.without_path(' '.join(words))}: a flag starts with --; {remark}"
        elif name not in ("XLA_FLAGS", *provenance.NUMERICS):
            remark = ""
        yield Finding(name, value, remark, broken=bool(broken))


def refused_flags() -> str:
    """What XLA refuses in the variable XLA_FLAGS, in a few words; empty where it starts.

    It tells only by ending the process that it runs in, so jax is started in one of its own, on the CPU: one library
    reads the flags of all devices.
    """
    if not os.environ.get("XLA_FLAGS", "").strip():
        return ""
    said = _last_words({"JAX_PLATFORMS": "cpu"})
    found = [form.format(*match.groups()) for sign, form in _XLA_SAYS for match in sign.finditer(said)]
    return provenance.without_path("; ".join(found))


def refused_platforms() -> str:
    """Why jax does not start with the variable JAX_PLATFORMS, in a few words; empty where it starts, or is not asked.

    Every jax has `cpu`, which starts no process.
    """
    if os.environ.get("JAX_PLATFORMS", "") in ("", "cpu"):
        return ""
    said = _last_words({"XLA_FLAGS": "", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}).strip()
    if not said:
        return ""
    match = _JAX_SAYS.search(said)
    # of a platform that jax knows and that is not installed it only says that nothing is left
    plain = "AssertionError" if said.endswith("\nAssertionError") else ""
    why = match[1] if match else "no device of these platforms" if plain else said.splitlines()[-1]
    return provenance.without_path(why)


def _last_words(variables: dict[str, str]) -> str:
    """What jax, started in a process of its own, wrote to standard error before it failed; empty where it starts.

    Empty, too, where a process is slow or cannot be started: that is no word on the variables.
    """
    try:
        answer = subprocess.run(
            [sys.executable, "-P", "-c", "import jax; jax.devices()"],
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, **variables},
            timeout=START_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stderr if answer.returncode else ""


def ignored_flags() -> list[str]:
    """Words of the variable XLA_FLAGS that XLA passes over: those that follow a flag and are none themselves."""
    text = os.environ.get("XLA_FLAGS", "")
    try:
        first, *others = shlex.split(text)
    except ValueError:  # nothing, or a quotation without an end
        return []
    return [word for word in others if not word.startswith("-")] if first.startswith("--") else []


def require_jax() -> None:
    """Raises `provenance.DeviceError`, in one line, where the environment would end or fail whatever runs something."""
    if found := refused_flags():
        raise provenance.DeviceError(f"XLA does not start with this XLA_FLAGS: {found}; correct it or unset it")
    if found := refused_platforms():
        raise provenance.DeviceError(f"jax does not start with this JAX_PLATFORMS: {found}; correct it or unset it")


def _machine() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("cores", str(cores), "the laptop tier was measured on two" if cores < 2 else "")
    free = psutil.virtual_memory().available / GIB
    few = f"the laptop tier needs up to {LEAST_MEMORY:g} GiB; try --jobs 1" if free < LEAST_MEMORY else ""
    yield Finding("free memory", f"{free:.1f} GiB", few)


def _compiled() -> Iterator[Finding]:
    place = cache.folder()
    if place is None:
        own = os.environ.get("JAX_COMPILATION_CACHE_DIR")
        yield Finding("compiled programs", "kept by JAX itself" if own else "not kept",
                      "" if own else f"{cache.VARIABLE} is off: every call compiles again")  # fmt: skip
        return
    existing = next(parent for parent in (place, *place.parents) if parent.exists())
    bad = "" if existing.is_dir() and os.access(existing, os.W_OK) else "cannot be written: every call compiles again"
    yield Finding("compiled programs", f"{cleaning.compiled().mebibytes()} MiB", bad)


def _data() -> Iterator[Finding]:
    """The folder of public data sets: which are there, and whether their files are what was published."""
    from ..tasks.datasets import files, images  # numpy, which reading task files does without

    named = os.environ.get(files.VARIABLE, "")
    if named.lower() == files.OFF:
        yield Finding("data sets", "none", f"{files.VARIABLE} is off: runs that need a download are skipped")
        return
    root = files.folder()
    place = f"the folder of {files.VARIABLE}" if named else "the user's cache folder"
    existing = next(parent for parent in (root.absolute(), *root.absolute().parents) if parent.exists())
    odd = [] if existing.is_dir() and os.access(existing, os.W_OK) else ["it cannot be written: nothing is downloaded"]
    there, size = [], 0
    for name, wanted in images.FILES.items():
        present = [file for file in wanted if (root / name / file.name).is_file()]
        bad = [file.name for file in present if _sha256(root / name / file.name) != file.sha256]
        odd += [f"{name}: {', '.join(bad)} is damaged, and downloaded again when asked for"] if bad else []
        if present and len(present) < len(wanted):
            odd.append(f"{name}: {len(wanted) - len(present)} of {len(wanted)} files are missing")
        there += [name] if len(present) == len(wanted) and not bad else []
        known = {file.name for file in wanted} | {".lock"}
        inside = [path for path in (root / name).glob("*") if path.is_file()]
        strange = sorted(path.name for path in inside if path.name not in known)
        odd += [f"{name}: {', '.join(strange[:3])} is not of it"] if strange else []
        size += sum(path.stat().st_size for path in inside)
    said = f"{', '.join(there) or 'none downloaded yet'}; {size / 2**20:.1f} MiB in {place}"
    yield Finding("data sets", said, "; ".join(odd))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _components() -> Iterator[Finding]:
    counts = [f"{len(registry.table(kind))} {kind}s" for kind in ("dataset", "model", "method", "metric")]
    yield Finding("components", ", ".join([f"{len(catalog.suite())} tasks", *counts]))
    origins = {entry.origin for kind in registry.KINDS for entry in registry.table(kind).values()} - {"tangentbench"}
    for origin in sorted(origins):
        yield Finding("plug-in", origin)


def _results(folder: str) -> Iterator[Finding]:
    root = Path(folder)
    existing = next(parent for parent in (root.resolve(), *root.resolve().parents) if parent.exists())
    free = shutil.disk_usage(existing).free / GIB
    few = f"runs of the whole suite take some 0.1 GiB; {free:.2f} GiB are left" if free < LEAST_DISK else ""
    yield Finding("free space for results", f"{free:.1f} GiB", few)
    if not os.access(existing, os.W_OK):
        yield Finding("results", folder, "cannot be written; choose another with --results", broken=True)
    if not root.exists():
        yield Finding("runs", "none yet")
        return
    try:
        store = Store(root)
        code, digests = provenance.code_digest(), store.digests()
    except (StoreError, provenance.DeviceError) as error:
        yield Finding("results", folder, str(error), broken=isinstance(error, StoreError))
        return
    mine = sum(len(store.seeds(digest, code)) for digest in digests)
    every = sum(len(store.seeds(digest, other)) for digest in digests for other in store.codes(digest))
    stale, left = len(cleaning.stale(store).paths), len(cleaning.temporary(store).paths)
    others = {
        "of other sources: `tangentbench clean --stale` removes them": stale,
        "made with other versions, flags or devices, where they are current": every - mine - stale,
        "files of interrupted writes: `tangentbench clean --temporary` removes them": left,
    }
    yield Finding("runs", f"{mine} of the current code", "; ".join(f"{n} {what}" for what, n in others.items() if n))


def exit_code(found: list[Finding]) -> int:
    """1 if anything is broken, else 0."""
    return int(any(finding.broken for finding in found))
