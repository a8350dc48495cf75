"""Stores of runs that were never computed, in which something moved on purpose."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tangentbench.runners.results import Store
from tangentbench.tasks.spec import Cell

from .boards import make_cell, make_run

METRICS = [
    {"name": "test_loss", "label": "test_loss", "at": "end"},  # lower is better
    {"name": "agop_alignment", "label": "agop_alignment", "at": "end"},  # higher is better
    {"name": "relative_parameter_distance", "label": "distance", "at": "end"},  # neither
]
RATES = (0.1, 0.2)
Values = Callable[[Cell, int], dict[str, Any] | None]


def cells(rates: Iterable[float] = RATES, **changes: Any) -> list[Cell]:
    """One cell per learning rate."""
    fields: dict[str, Any] = {"metrics": METRICS, "stop": {"steps": 10}}
    return [
        make_cell({"method.learning_rate.value": rate}, method={"name": "gd", "rate": rate}, **{**fields, **changes})
        for rate in rates
    ]


def usual(cell: Cell, seed: int) -> dict[str, Any]:
    """What every run has unless something is planted: values that depend on the seed and on nothing else."""
    level = float(np.random.default_rng([seed, len(cell.coords)]).lognormal(0.0, 0.5))
    return {
        "scalars": {"test_loss": 0.3 * level, "agop_alignment": 0.6 + 0.1 * np.tanh(level - 1), "distance": level},
        "seconds": {"compile": 5.0, "run": 0.2},
        "steps": 10,
        "start": level,
    }


def plant(folder: Path, wanted: Iterable[Cell], values: Values = usual, *, code: str = "c0de", **shared: Any) -> Path:
    """Writes a run for every cell and seed for which `values` has one; `start` is its first loss."""
    store = Store(folder, create=True)
    for cell in wanted:
        for seed in cell.seeds:
            fields = values(cell, seed)
            if fields is None:
                continue
            fields = {**usual(cell, seed), **fields}
            if fields["scalars"].get("agop_alignment") is not None:
                fields.setdefault("certificates", {"agop_alignment.residual": 0.0})
            start = fields.pop("start")
            made = {"device": "cpu", "dataset": f"data{seed}", "package": {"commit": "a" * 40, "dirty": False}}
            made |= shared.get("provenance", {}) | fields.pop("provenance", {})
            rest = {name: value for name, value in shared.items() if name != "provenance"}
            asked = cell.model_dump(mode="json", exclude={"coords", "seeds", "limits", "role", "task"})
            run = make_run(cell, seed, **{**rest, **fields, "code": code, "provenance": made})
            store.write(replace(run, cell=asked), {"loss": np.array([start, 0.0])} if run.steps else None)
    return folder


def scaled(**factors: float) -> Values:
    """The usual values with some metrics multiplied."""

    def values(cell: Cell, seed: int) -> dict[str, Any]:
        scalars = usual(cell, seed)["scalars"]
        return {"scalars": {label: value * factors.get(label, 1.0) for label, value in scalars.items()}}

    return values
