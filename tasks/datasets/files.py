"""Files of public data sets: where they are kept, where they come from, and that they are what was published.

They lie in the user's cache folder, one folder per data set; `TANGENTBENCH_DATA` names another, or is `off`. What is
missing is downloaded by `pooch` under a temporary name and renamed once its SHA-256 is the pinned one: a file is
whole or absent.
A file that is put there by hand is checked the same way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .base import DatasetUnavailable

VARIABLE = "TANGENTBENCH_DATA"
OFF = "off"
SECONDS = 20.0  # that a server may keep silent before the next address is tried


@dataclass(frozen=True)
class PublicFile:
    """A file that never changes.

    Attributes:
        name: its name, here and there.
        sha256: of its content, in hexadecimal digits.
        folders: addresses of the folders that hold it, tried in this order.
    """

    name: str
    sha256: str
    folders: tuple[str, ...]


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where data sets are kept."""
    import platformdirs

    chosen = environment.get(VARIABLE, "")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("tangentbench") / "data"


def fetch(dataset: str, files: Sequence[PublicFile]) -> list[Path]:
    """Paths of the files of a data set, downloaded where they are missing or damaged.

    Raises:
        DatasetUnavailable: pooch is not installed, or a file can neither be found nor downloaded; it says which ones
            to put where.
    """
    if os.environ.get(VARIABLE, "").lower() == OFF:
        raise DatasetUnavailable(f"{dataset} is not looked for: {VARIABLE} is {OFF}", "unset it, or name a folder")
    try:
        import pooch
        from filelock import FileLock
    except ImportError as error:
        raise DatasetUnavailable(f"{error.name} is not installed", f"pip install {error.name}") from error
    place = folder() / dataset
    absent = _absent(files, place)
    if not absent:  # also where the folder is read-only
        return [place / file.name for file in files]
    pooch.get_logger().setLevel("WARNING")
    try:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / ".lock"):  # workers that run side by side download it once
            for file in absent:
                _download(file, place)
    except (OSError, ValueError) as error:  # no network, no such page, no space, or not the pinned content
        raise DatasetUnavailable(_reason(dataset, absent, place, error), _how_to_get(absent, place)) from error
    return [place / file.name for file in files]


def _download(file: PublicFile, place: Path) -> None:
    import pooch

    known, downloader = f"sha256:{file.sha256}", pooch.HTTPDownloader(timeout=SECONDS)
    for address in file.folders:
        try:
            pooch.retrieve(address + file.name, known, file.name, place, downloader=downloader)  # pyright: ignore[reportArgumentType]
            return
        except (OSError, ValueError):
            if address == file.folders[-1]:
                raise


def _absent(files: Sequence[PublicFile], place: Path) -> list[PublicFile]:
    """Those that are missing or damaged."""
    import pooch

    def whole(file: PublicFile) -> bool:
        path = place / file.name
        return path.is_file() and pooch.file_hash(str(path)) == file.sha256

    return [file for file in files if not whole(file)]


def _reason(dataset: str, absent: Sequence[PublicFile], place: Path, error: Exception) -> str:
    what = "damaged" if any((place / file.name).exists() for file in absent) else "missing"
    return f"files of {dataset} are {what} and cannot be downloaded: {type(error).__name__}"


def _how_to_get(absent: Sequence[PublicFile], place: Path) -> str:
    names = ", ".join(f"{file.name} (sha256 {file.sha256[:16]}…)" for file in _absent(absent, place))
    return f"put {names} from {absent[0].folders[0]} into {_shown(place)}"


def _shown(place: Path) -> str:
    """The folder as one would type it, without the user's name."""
    if os.environ.get(VARIABLE):
        return f"${VARIABLE}/{place.name}"
    home = Path.home()
    return f"~/{place.relative_to(home).as_posix()}" if place.is_relative_to(home) else str(place)
