"""Task files of every kind that a report draws, and a store filled with runs that were never computed."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from tangentbench.runners import suite
from tangentbench.runners.results import Run, Store
from tangentbench.tasks import load

CODE = "c0de"
SCRIPT = "<script>alert('title')</script>"
HEAD = """version: 1
stream: 920
dataset: {name: sphere, dim: 3, train: 6, validation: 4, test: 4}
model: {name: wide, depth: 1, width: 5, activation: tanh}
loss: mse
"""
FILES = {
    "show/scaling.yaml": f'title: "{SCRIPT} & $x$"\n'
    + HEAD
    + """paper: {arxiv: "2010.01092", where: "<b>Theorem</b>", note: "a </script> in a note"}
method: {name: gd, learning_rate: {critical: 0.5}}
sweep:
  model:
    - {label: wide <i>one</i>}
    - {label: other, activation: relu}
  model.width: [4, 8, 16]
stop: {steps: 6}
seeds: 6
metrics: [kernel_change, train_loss]
claims:
  - id: falls
    says: "It falls <img src=x onerror=alert(1)>"
    where: {model: wide <i>one</i>}
    exponent: {metric: kernel_change, along: model.width, within: [-1.2, -0.4]}
  - id: stays
    says: It stays
    control: falls
    where: {model: other}
""",
    "show/rates.yaml": "title: Outcomes over the rate\n"
    + HEAD
    + """paper: {arxiv: "2205.11787"}
method: {name: gd, learning_rate: {critical: 0.5}}
sweep:
  model: [{label: network}, {label: linear model, expansion: linear}]
  method.learning_rate.critical: [0.5, 0.9, 1.5, 2.5]
stop: {steps: 40}
record: {every: 4}
seeds: 6
metrics: [train_loss, test_loss, {name: tangent_kernel_norm, at: schedule}]
claims:
  - id: catapults
    says: It catapults
    where: {model: network, method.learning_rate.critical: 1.5}
    outcome: {is: [catapult], at_least: 0.5}
  - id: rises
    says: The test loss rises with the rate
    where: {model: network, method.learning_rate.critical: [0.5, 0.9, 1.5]}
    monotone: {metric: test_loss, along: method.learning_rate.critical, direction: increasing, at_least: 0.5}
""",
    "show/search.yaml": "title: Boundaries by bisection\n"
    + HEAD
    + """method: {name: gd, learning_rate: {critical: 1.0}}
sweep:
  bisect:
    - {label: lower, along: method.learning_rate.critical, between: [0.5, 1.5], tolerance: 0.1, leaves: [monotone]}
    - label: upper
      along: method.learning_rate.critical
      between: [0.5, 2.8]
      tolerance: 0.1
      leaves: [monotone, catapult]
stop: {steps: 40}
seeds: 6
metrics: [boundary]
claims:
  - id: starts
    says: It starts at critical
    where: {bisect: lower}
    boundary: {within: [0.9, 1.1]}
""",
    "show/split.yaml": "title: The loss in two parts\n"
    + HEAD
    + """method: {name: gd, learning_rate: {critical: 0.5}}
stop: {steps: 300}
record: {every: 3}
seeds: 6
metrics: [{name: top_loss, at: schedule}, {name: bulk_loss, at: schedule}, train_loss]
claims:
  - id: small
    says: The loss is small
    threshold: {metric: train_loss, at_most: 5}
""",
    "show/arena.yaml": "title: An arena\n"
    + HEAD.replace("{name: sphere, dim: 3,", "{name: monomial, dim: 3, factors: [0, 1],")
    + """record: {every: 3}
metrics: [validation_loss, test_loss, agop_alignment]
seeds: 6
leaderboard:
  metric: test_loss
  validation_metric: validation_loss
  target: 0.5
  reference: {method: gd, score: 0.5}
  budget: 36
  tune_seeds: 1
  methods: [gd, adam, momentum]
""",
}
FILES["show/arena_2.yaml"] = FILES["show/arena.yaml"].replace("An arena", "Another arena")
PROVENANCE = {
    "package": {"version": "0.1.0", "commit": "0123456789abcdef", "dirty": True, "diff": "feed"},
    "versions": {"jax": "0.10.2", "numpy": "2.4.6"},
    "python": "3.11.7",
    "device": "cpu",
    "xla_flags": "",
    "argv": ["tangentbench", "run", "<path>"],
    "plug_ins": [],
}


def write_tasks(folder: Path) -> Path:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def draw(*parts: Any) -> float:
    """A number between 0 and 1 that depends on its arguments only."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 16**8


def made_run(cell: Any, seed: int) -> tuple[Run, dict[str, np.ndarray]]:
    """What a run could have measured; it depends on the cell and the seed."""
    rate = cell.coords.get("method.learning_rate.critical", 0.5)
    linear = cell.model.get("expansion") == "linear"
    outcome = "monotone" if rate < 1 else "divergent" if linear or rate > 2 else "catapult"
    width = cell.coords.get("model.width", 4)
    noise = {m["label"]: 0.5 + draw(cell.digest, seed, m["label"]) for m in cell.metrics}
    scalars: dict[str, Any] = dict(noise)
    if "kernel_change" in scalars:
        scalars["kernel_change"] = (2 + 0.1 * draw(seed, width)) * (
            width**-0.7 if cell.model["activation"] == "tanh" else 1
        )
    if cell.bisect is not None:
        scalars["boundary"] = len(cell.bisect["leaves"]) + 0.02 * draw(seed)
    if outcome == "divergent":
        scalars = {label: None for label in scalars}
    steps = cell.stop["steps"] or 12
    loss = np.exp(-np.arange(steps + 1) / steps * 5) * (1 + draw(seed))
    if outcome == "divergent":
        loss = np.exp(np.minimum(np.arange(steps + 1) * 3.0, 600))
        loss[-1] = np.inf
    records = np.unique(np.r_[np.arange(0, steps, cell.record["every"]), steps])
    curves = {m["label"]: loss[records] / 2 for m in cell.metrics if m["at"] == "schedule"}
    arrays = {"loss": loss, "loss_steps": np.arange(steps + 1), "record_steps": records, **curves}
    run = Run(
        task=cell.task, cell=cell.model_dump(mode="json"), coords=dict(cell.coords), digest=cell.digest, code=CODE,
        seed=seed, tier="laptop", role=cell.role, status="ok", outcome=outcome, scalars=scalars, steps=steps,
        certificates={f"{label}.residual": 0.0 for label in (*scalars, "learning_rate.critical")},
        work=3 * steps, seconds={"run": 0.1 + draw(seed), "compile": 1.0}, provenance=PROVENANCE,
    )  # fmt: skip
    return run, arrays


def fill(store: Store, planned: suite.Plan) -> None:
    """A run for every cell and seed of both waves."""
    for wave in (lambda: planned.first_wave, lambda: suite.second_wave(planned, suite.lookup(store, CODE))):
        for cell in wave():
            for seed in cell.seeds:
                run, arrays = made_run(cell, seed)
                store.write(run, arrays)


def planned(folder: Path, names: list[str] | None = None) -> suite.Plan:
    return suite.plan(load.find(names or ["show"], tier="laptop", folder=folder), "laptop")


def unpacked(table: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of a table as the page keeps it."""
    columns = [
        column if isinstance(column, list) else [value for value, times in column["runs"] for _ in range(times)]
        for column in table["columns"].values()
    ]
    assert all(len(column) == table["size"] for column in columns)
    return list(table["columns"]), [list(row) for row in zip(*columns, strict=True)]
