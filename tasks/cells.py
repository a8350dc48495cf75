"""Cells: one task at one point of its sweep, with seeds and the role that its runs play."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .spec import Cell, Leaderboard, TaskSpec

TUNE_SEED = 1_000_000  # tuning seeds start here; scoring seeds start at 0


@dataclass(frozen=True)
class Draft:
    """The resolved sections of one point of the sweep, before they are given a task, seeds and a role."""

    coords: dict[str, Any]
    sections: dict[str, Any]


def seeds_of(spec: TaskSpec, seeds: int | None, base_seed: int) -> list[int]:
    """The seeds of a task: ``seeds`` of them, or those that it declares, counted from ``base_seed``."""
    wanted = spec.seeds if seeds is None else seeds
    return [base_seed + k for k in (range(wanted) if isinstance(wanted, int) else wanted)]


def build(task_id: str, spec: TaskSpec, draft: Draft, role: str, seeds: list[int]) -> Cell:
    """The cell of a draft."""
    return Cell(
        task=task_id,
        version=spec.version,
        stream=spec.stream,
        coords=draft.coords,
        role=role,  # pyright: ignore[reportArgumentType]
        seeds=seeds,
        limits=spec.limits.model_dump(),
        **draft.sections,
    )


def tune_seeds(arena: Leaderboard, base_seed: int) -> list[int]:
    """The seeds that methods are tuned on; they never meet the scoring seeds."""
    return [TUNE_SEED + base_seed + k for k in range(arena.tune_seeds)]
