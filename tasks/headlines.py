"""The headline of every task, for `list`: read without its schema, so that a list is printed at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .document import Node, read
from .merge import DEFAULT_TIER, merge, without


@dataclass(frozen=True)
class Headline:
    """What a list says of a task, at the default tier."""

    id: str
    paper: str
    title: str
    claims: int
    controls: int
    arena: bool


def headline(name: str, path: Path, shown: str) -> Headline | None:
    """The headline of a file; ``None`` where the file is not what a task file must be.

    Raises:
        TaskFileError: the file cannot be read, or is not YAML.
    """
    root = read(path, shown)
    over = root.at(("tiers", DEFAULT_TIER))
    changed = over is not None and isinstance(over.value, dict)
    merged = merge(without(root, "tiers"), over) if changed else root  # pyright: ignore[reportArgumentType]
    title, paper, claims = _text(merged, "title"), _text(merged, "paper", "arxiv"), merged.get("claims")
    listed = [] if claims is None else claims.value
    if title is None or (paper is None and merged.get("paper") is not None) or not isinstance(listed, list):
        return None
    controls = sum(claim.get("control") is not None for claim in listed)
    arena = merged.get("leaderboard") is not None
    return Headline(name, paper or "", title, len(listed) - controls, controls, arena)


def _text(root: Node, *path: str) -> str | None:
    node = root.at(path)
    return node.value if node is not None and isinstance(node.value, str) else None
