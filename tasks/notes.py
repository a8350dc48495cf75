"""What is no mistake in a task file, and still worth a second look: claims that nothing could refute.

Read from the document alone, of files that are valid: no schema, so that it costs a few milliseconds.
"""

from __future__ import annotations

from pathlib import Path

from .document import Node, read
from .problem import Problem

HINT = "add one: the same claim where it must fail, with `control: {name}`"


def notes(path: str | Path, shown: str) -> list[Problem]:
    """A note at every claim that no control of the file names; raises `TaskFileError` where the file is no document."""
    claims = read(path, shown).get("claims")
    items = [item for item in (claims.value if claims is not None else ()) or () if isinstance(item.value, dict)]
    controlled = {_text(item, "control") for item in items}
    found = []
    for item in items:
        name = _text(item, "id")
        if item.get("control") is None and name not in controlled:
            mark = item.place(("id",))
            found.append(
                Problem(shown, mark.line, mark.col, f"note: claim '{name}' has no control", HINT.format(name=name))
            )
    return found


def _text(item: Node, key: str) -> str:
    node = item.get(key)
    return "" if node is None else str(node.value)
