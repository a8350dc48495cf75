"""Which cells share one compiled program. Answered without jax, so that `--dry-run` and the parent process can ask."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ..tasks import registry
from ..tasks.spec import Cell

LABELS = {"task", "version", "stream", "coords", "role", "seeds", "limits"}  # what a compiled program never sees


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal text for equal meaning."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def batched_fields(entry: registry.Entry) -> frozenset[str]:
    """Options of a component that change neither shapes nor structure: they become arrays of the lane."""
    return getattr(entry.schema(), "batched", frozenset())


def signature(cell: Cell) -> str:
    """Equal for cells that share shapes and static settings. The value of a learning rate is never static."""
    spec = {k: v for k, v in cell.model_dump(mode="json").items() if k not in LABELS}
    for kind in ("model", "method"):
        if not spec[kind]:  # no method where nothing is trained
            continue
        batched = batched_fields(registry.find(kind, spec[kind]["name"]))
        spec[kind] = {k: v for k, v in spec[kind].items() if k not in batched}
    if spec["method"]:
        spec["method"]["learning_rate"] = " ".join(spec["method"]["learning_rate"])  # its units
    return canonical(spec)


def program_key(cell: Cell) -> str:
    """Equal for cells whose training is one compiled program: a bisection only sets rates."""
    return signature(cell.model_copy(update={"bisect": None}))


def group(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Cells in batches of one signature, in order of first appearance."""
    batches: dict[str, list[Cell]] = {}
    for cell in cells:
        batches.setdefault(signature(cell), []).append(cell)
    return list(batches.values())
