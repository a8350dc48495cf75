"""The files that belong to the project: everything that `.gitignore` does not name. Needs no git.

python3 .ci/tree.py DEST    copy them to the new folder DEST
"""

import fnmatch
import os
import shutil
import sys
from pathlib import Path


def files(root: Path) -> list[Path]:
    """Paths below `root`, relative to it and sorted, that neither `.gitignore` nor git itself claims."""
    patterns = [line.strip().rstrip("/") for line in (root / ".gitignore").read_text().splitlines() if line.strip()]

    def ignored(path: Path) -> bool:
        here = path.relative_to(root).as_posix()
        return any(fnmatch.fnmatch("/" + here if p.startswith("/") else path.name, p) for p in patterns)

    found = []
    for folder, names, leaves in os.walk(root):
        names[:] = [name for name in names if name != ".git" and not ignored(Path(folder, name))]
        found += [Path(folder, leaf) for leaf in leaves if leaf != ".git" and not ignored(Path(folder, leaf))]
    return sorted(path.relative_to(root) for path in found)


def copy(root: Path, destination: Path) -> None:
    """Copy `files(root)`, with their modes, to `destination`, which must not exist."""
    destination.mkdir(parents=True)
    for path in files(root):
        (destination / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / path, destination / path)


if __name__ == "__main__":
    copy(Path(__file__).resolve().parent.parent, Path(sys.argv[1]))
