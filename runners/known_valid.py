"""Task files that were found valid before: the same bytes under the same checks need no second look.

A file named by the content stands for each, in the user's cache folder (`cache.folder`), below a name for the checks:
the sources in `tasks` and those that estimate costs, Python, and the installed distributions. It holds the estimate.
Where plug-ins add components nothing is remembered, since their sources may change in place. A folder that cannot be
written costs only time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..tasks import registry
from . import cache

FOLDER = "valid"


class Known:
    """Which files are known to be valid."""

    def __init__(self) -> None:
        compiled = cache.folder()
        plug_ins = any(registry.entry_points(group) for group in registry.GROUPS.values())
        self.folder = None if compiled is None or plug_ins else compiled / FOLDER / _checks()

    def estimate(self, path: Path) -> dict[str, Any] | None:
        """What a file is estimated to cost (`cost.estimates`) if its content was found valid by these checks.

        Empty where nobody has asked for the estimate.
        """
        stamp = self._stamp(path)
        with contextlib.suppress(OSError, ValueError):
            return json.loads(stamp.read_text()) if stamp is not None else None
        return None

    def remember(self, found: Mapping[Path, Mapping[str, Any]]) -> None:
        """Note files that were found valid, and what they cost; what was noted under other checks is forgotten."""
        stamps = [(stamp, cost) for path, cost in found.items() if (stamp := self._stamp(path)) is not None]
        if self.folder is None or not stamps:
            return
        with contextlib.suppress(OSError):
            if not self.folder.exists():
                shutil.rmtree(self.folder.parent, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            for stamp, cost in stamps:
                stamp.write_text(json.dumps(cost))

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
    sources += [Path(__file__).with_name(name) for name in ("cost.py", "batches.py")]
    parts = [hashlib.sha256(source.read_bytes()).hexdigest() for source in sources]
    parts += [sys.version, *sorted(_distributions())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _distributions() -> Iterable[str]:
    """Names and versions of what is installed, as the folders of the path spell them."""
    for folder in sys.path:
        with contextlib.suppress(OSError):
            yield from (name for name in os.listdir(folder or ".") if name.endswith((".dist-info", ".egg-info")))
