"""Cells: one task at one point of its sweep, with seeds and the role that its runs play."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .spec import TUNE_SEED, Cell, Leaderboard, TaskSpec


class SeedError(ValueError):
    """A run was asked for on a seed that arenas tune on."""


@dataclass(frozen=True)
class Draft:
    """The resolved sections of one point of the sweep, before they are given a task, seeds and a role."""

    coords: dict[str, Any]
    sections: dict[str, Any]


def seeds_of(spec: TaskSpec, seeds: int | None, base_seed: int) -> list[int]:
    """The seeds of a task: ``seeds`` of them, or those that it declares, counted from ``base_seed``.

    Raises:
        SeedError: one of them is a seed that arenas tune on.
    """
    wanted = spec.seeds if seeds is None else seeds
    found = [base_seed + k for k in (range(wanted) if isinstance(wanted, int) else wanted)]
    if max(found) >= TUNE_SEED:
        highest = TUNE_SEED - 1 - (max(found) - base_seed)
        hint = f"use a base seed of at most {highest}" if highest >= 0 else "ask for fewer seeds"
        raise SeedError(f"seeds must be below {TUNE_SEED}, where tuning seeds start; got {max(found)} ({hint})")
    return found


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
