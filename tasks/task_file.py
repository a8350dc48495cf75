"""The keys of a task file, tiers included."""

from __future__ import annotations

from typing import Any

from .spec import TaskSpec, Tier

FIXED = frozenset({"title", "paper", "version", "stream", "tiers"})
"""Keys that no tier may override: they say which task it is."""


class TaskFile(TaskSpec):
    """A task file: a task, and what its tiers change."""

    tiers: dict[Tier, dict[str, Any]] = {}
    """Overrides of `smoke` (seconds), `laptop` (the default) and `paper` (the paper's own sizes)."""
