"""Task files that were found valid before: the same bytes under the same checks need no second look.

An empty file named by the content stands for each, in the user's cache folder (`cache.folder`), below a name for the
checks: the sources in `tasks`, Python, and the installed distributions. Where plug-ins add components nothing is
remembered, since their sources may change in place. A folder that cannot be written costs only time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from ..tasks import registry
from . import cache

FOLDER = "valid"


class Known:
    """Which files are known to be valid."""

    def __init__(self) -> None:
        compiled = cache.folder()
        plug_ins = any(registry.entry_points(group) for group in registry.GROUPS.values())
        self.folder = None if compiled is None or plug_ins else compiled / FOLDER / _checks()

    def valid(self, path: Path) -> bool:
        """Whether a file's content was found valid by these checks."""
        stamp = self._stamp(path)
        return stamp is not None and stamp.exists()

    def remember(self, paths: Iterable[Path]) -> None:
        """Note files that were found valid; what was noted under other checks is forgotten."""
        stamps = [stamp for path in paths if (stamp := self._stamp(path)) is not None]
        if self.folder is None or not stamps:
            return
        with contextlib.suppress(OSError):
            if not self.folder.exists():
                shutil.rmtree(self.folder.parent, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            for stamp in stamps:
                stamp.touch()

    def _stamp(self, path: Path) -> Path | None:
        if self.folder is None:
            return None
        try:
            return self.folder / hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            return None


def _checks() -> str:
    """A name for everything that decides whether a file is valid."""
    sources = sorted(Path(registry.__file__).parent.glob("*.py"))
    parts = [hashlib.sha256(source.read_bytes()).hexdigest() for source in sources]
    parts += [sys.version, *sorted(_distributions())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _distributions() -> Iterable[str]:
    """Names and versions of what is installed, as the folders of the path spell them."""
    for folder in sys.path:
        with contextlib.suppress(OSError):
            yield from (name for name in os.listdir(folder or ".") if name.endswith((".dist-info", ".egg-info")))
