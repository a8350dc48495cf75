"""The store: one folder per run, written so that a reader never sees half of one.

    <root>/tangentbench.json                                  marks the folder as ours
    <root>/<cell digest>/<code digest>/<seed>/run.json        what was asked, how it ended, scalars
    <root>/<cell digest>/<code digest>/<seed>/arrays.npz      curves and spectra, where there are any
    <root>/<cell digest>/<code digest>/tier-<name>            empty: the cell's runs are this tier's, too

The files of a run are written under a temporary name in the same folder, flushed to disk and renamed, the arrays first.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from .records import NAME, SCHEMA, Cell, Lookup, Run, numeric, parse, plain, started, to_json

if TYPE_CHECKING:
    import pandas

__all__ = ["Cell", "CorruptRun", "Lookup", "Run", "Store", "StoreError"]

MARKER = "tangentbench.json"
TIER_MARK = "tier-"
"""How the empty files are called that say which tiers share a cell's runs."""
MOST = 2**26  # bytes of a record that are read


class StoreError(Exception):
    """The store cannot be used as asked; the message is one line and says what to do."""


class CorruptRun(UserWarning):
    """A stored run cannot be read and counts as missing."""


class Store:
    """A folder of runs.

    Args:
        root: the folder.
        create: make it if it is not there; without, a missing folder is an empty store.

    Raises:
        StoreError: the folder holds something else, was written by a newer version, or cannot be used.
    """

    def __init__(self, root: Path | str, create: bool = False) -> None:
        self.root = Path(root)
        try:
            self._open(create)
        except OSError as error:
            hint = "; choose another with --results" if create else ""
            raise StoreError(f"cannot use the results folder {self.root}: {_why(error)}{hint}") from error

    def read(self, digest: str, code: str, seed: int) -> Run | None:
        """The run, or None where it is missing; a damaged one warns (`CorruptRun`) and counts as missing."""
        path = self._folder(digest, code, seed) / "run.json"
        problem = ""
        # a writer may rename the arrays and then the record between our two looks at them
        for pause in (0.0, 0.02, 0.2):
            if pause:  # to sleep for no time still gives the processor away
                time.sleep(pause)
            try:
                if problem := _unreadable(path, MOST):
                    break
                text = path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                raise StoreError(f"cannot read {path}: {_why(error)}") from error
            run, size, problem = parse(text, digest, code, seed)
            if run is None:
                break
            if _size(path.with_name("arrays.npz")) == size or size is None:
                return run
            problem = "its arrays.npz is missing or truncated"
        warnings.warn(f"{path}: {problem}; it counts as missing", CorruptRun, stacklevel=2)
        return None

    def write(self, run: Run, arrays: Mapping[str, Any] | None = None) -> None:
        """Store a run, replacing one of the same cell, code and seed as a whole.

        Args:
            run: its scalars and certificates must be finite (a scalar may be None).
            arrays: name -> numeric array; unlike scalars they may hold inf and NaN, as the curves of a diverged run do.

        Raises:
            ValueError: a number is not finite, or an array is not numeric; the message names it.
            StoreError: the folder cannot be written; the run stored before, if any, is intact.
        """
        record = plain(run)
        checked = {name: numeric(name, value) for name, value in (arrays or {}).items()}
        folder = self._folder(run.digest, run.code, run.seed)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _temporary(folder) as (spare, spare_arrays):
                size = None
                if checked:
                    with spare_arrays.open("wb") as file:
                        np.savez(file, **checked)  # pyright: ignore[reportArgumentType]
                        size = _flush(file)
                with spare.open("wb") as file:
                    file.write(to_json({**record, "arrays_bytes": size}))
                    _flush(file)
                # the pair is renamed under one lock: two writers must not leave a record and arrays that differ
                with FileLock(self.root / ".write.lock", timeout=60):
                    if checked:
                        os.replace(spare_arrays, folder / "arrays.npz")
                    os.replace(spare, folder / "run.json")
                    if not checked:
                        (folder / "arrays.npz").unlink(missing_ok=True)
        except Timeout as error:
            raise StoreError(f"cannot write to {self.root}: another process holds its lock for a minute") from error
        except OSError as error:
            raise StoreError(f"cannot write the run in {folder}: {_why(error)}") from error

    def mark(self, digest: str, code: str, tier: str) -> None:
        """Note that the stored runs of a cell and code are of this tier, whatever tier they were computed for.

        Where the folder cannot be written nothing is noted: boards do not need it.
        """
        path = self.root / digest / code / f"{TIER_MARK}{tier}"
        with suppress(OSError):
            if not path.exists():
                path.touch()

    def tiers(self, digest: str, code: str) -> list[str]:
        """Tiers that were noted for the runs of a cell and code; none where all are of the one that they name."""
        try:
            names = os.listdir(self.root / digest / code)
        except OSError:
            return []
        return sorted(name.removeprefix(TIER_MARK) for name in names if name.startswith(TIER_MARK))

    def arrays(self, run: Run) -> dict[str, np.ndarray]:
        """The arrays of a run; empty where it has none, or (with a `CorruptRun` warning) where they are damaged."""
        path = self._folder(run.digest, run.code, run.seed) / "arrays.npz"
        try:
            if problem := _unreadable(path):
                raise ValueError(problem)
            # opened here, because numpy leaves the file of a damaged archive open
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                if sum(entry.file_size for entry in archive.zip.infolist()) > self.arrays_bytes(run):
                    raise ValueError("it holds less than it expands to")
                return {name: archive[name] for name in archive.files}
        except FileNotFoundError:
            return {}
        except PermissionError as error:
            raise StoreError(f"cannot read {path}: {_why(error)}") from error
        # a damaged zip or npy raises anything from BadZipFile to struct.error
        except Exception as error:
            problem = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(f"{path}: {problem}; its arrays count as missing", CorruptRun, stacklevel=2)
            return {}

    def arrays_bytes(self, run: Run) -> int:
        """The size of a run's arrays; 0 where it has none."""
        return _size(self._folder(run.digest, run.code, run.seed) / "arrays.npz") or 0

    def digests(self) -> list[str]:
        """Digests of the cells that have a folder."""
        return [name for name in _folders(self.root) if NAME.fullmatch(name)]

    def codes(self, digest: str) -> list[str]:
        """Code digests under which a cell has runs."""
        return [name for name in _folders(self.root / digest) if NAME.fullmatch(name)]

    def seeds(self, digest: str, code: str) -> list[int]:
        """Seeds of a cell that have a folder, readable or not."""
        return sorted(int(name) for name in _folders(self.root / digest / code) if re.fullmatch(r"-?\d+", name))

    def runs(self, code: str | None = None) -> Iterator[Run]:
        """Every readable run, or those of one code digest, in a fixed order."""
        for digest in self.digests():
            for found in self.codes(digest) if code is None else [code]:
                for seed in self.seeds(digest, found):
                    run = self.read(digest, found, seed)
                    if run is not None:
                        yield run

    def lookup(self, digest_of: Callable[[Any], str], code: str, *, any_code: bool = False) -> Lookup:
        """A function (cell, seed) -> run for the boards, which reads every run once.

        Args:
            digest_of: digest of a cell (`tasks.spec.digest`).
            code: the current code digest.
            any_code: where the current code has no run, take the newest other one, by what the runs say (`started`).
        """
        seen: dict[tuple[str, int], Run | None] = {}
        digests: dict[int, tuple[str, Any]] = {}  # by identity; the cell is kept, so that no other takes its place

        def find(cell: Any, seed: int) -> Run | None:
            if id(cell) not in digests:
                digests[id(cell)] = digest_of(cell), cell
            digest = digests[id(cell)][0]
            if (digest, seed) not in seen:
                run = self.read(digest, code, seed)
                if run is None and any_code:
                    others = (self.read(digest, other, seed) for other in self.codes(digest) if other != code)
                    run = max((other for other in others if other is not None), key=started, default=None)
                seen[digest, seed] = run
            run = seen[digest, seed]
            # cells of several tasks may share a digest; the board wants the row under the name it asked for
            return run if run is None else replace(run, task=cell.task, coords=dict(cell.coords), role=cell.role)

        return find

    def frame(self, runs: Iterable[Run] | None = None) -> pandas.DataFrame:
        """One long table: a row per run and scalar, in pandas.

        Columns: task, one per sweep axis, method, seed, status, outcome, metric, value, then tier, role, steps, work,
        seconds, digest, code, message. A run without scalars keeps one row with an empty metric, so failures count.
        An axis whose path is the name of another column (`method`) is called `sweep.method`.
        """
        import pandas

        head = ["task"], ["method", "seed", "status", "outcome", "metric", "value"]
        tail = ["tier", "role", "steps", "work", "seconds", "digest", "code", "message"]
        taken = {*head[0], *head[1], *tail}
        axes: dict[str, str] = {}
        rows = []
        for run in self.runs() if runs is None else runs:
            axes.update({axis: f"sweep.{axis}" if axis in taken else axis for axis in run.coords})
            base = {
                "task": run.task,
                **{axes[axis]: value for axis, value in run.coords.items()},
                "method": run.cell.get("method", {}).get("name"),
                "seconds": run.seconds.get("run"),
                **{name: getattr(run, name) for name in (*head[1][1:4], "tier", "role", "steps", "work")},
                **{name: getattr(run, name) for name in ("digest", "code", "message")},
            }
            rows += [{**base, "metric": name, "value": value} for name, value in (run.scalars or {None: None}).items()]
        table = pandas.DataFrame(rows, columns=[*head[0], *axes.values(), *head[1], *tail])
        return table.astype({"value": "float64"})

    def _open(self, create: bool) -> None:
        marker = self.root / MARKER
        if marker.exists():
            if problem := _unreadable(marker, MOST):
                raise StoreError(f"cannot read {marker}: {problem}")
            try:
                schema = json.loads(marker.read_text(encoding="utf-8"))["schema"]
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(f'cannot read {marker}: expected {{"schema": {SCHEMA}}}') from error
            if schema != SCHEMA:
                raise StoreError(
                    f"{self.root} has schema {schema} and this version reads {SCHEMA}; choose another --results folder"
                )
            return
        if self.root.exists():
            if not self.root.is_dir():
                raise StoreError(f"{self.root} is a file; --results needs a folder")
            # another process may have started the marker a moment ago
            if any(not name.startswith((".tmp-", ".write.lock")) for name in os.listdir(self.root)):
                if marker.exists():
                    return self._open(create)
                raise StoreError(
                    f"{self.root} is not empty and holds no {MARKER}; choose an empty or new folder with --results"
                )
        if create:
            self.root.mkdir(parents=True, exist_ok=True)
            with _temporary(self.root) as (spare, _):
                with spare.open("wb") as file:
                    file.write(to_json({"schema": SCHEMA}))
                    _flush(file)
                os.replace(spare, marker)

    def _folder(self, digest: str, code: str, seed: int) -> Path:
        return self.root / digest / code / str(int(seed))


@contextmanager
def _temporary(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Two unused names in the folder, whose files are gone afterwards whatever happened."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".tmp-", delete=False) as file:
        first = Path(file.name)
    # the mode of a temporary file is private, and a store may be shared
    mask = os.umask(0)
    os.umask(mask)
    first.chmod(0o666 & ~mask)
    second = first.with_name(first.name + ".npz")
    try:
        yield first, second
    finally:
        for path in (first, second):
            with suppress(OSError):
                path.unlink()


def _flush(file: IO[bytes]) -> int:
    file.flush()
    os.fsync(file.fileno())
    return os.fstat(file.fileno()).st_size


def _folders(path: Path) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(f"cannot read {path}: {_why(error)}") from error


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _unreadable(path: Path, most: int | None = None) -> str:
    """Why a file of a stranger's folder must not be opened, if so: a pipe never ends, and neither does a device."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):  # a folder is refused when it is opened
        return "it is no regular file"
    return f"it has {found.st_size} bytes, more than a record" if most is not None and found.st_size > most else ""


def _why(error: OSError) -> str:
    return error.strerror or str(error)
