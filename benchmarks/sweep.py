"""The compiled runner against the loop that one would write: `python -m benchmarks.sweep [--tier …] [--repeats N]`.

The sweep of `learning_rates.yaml`: 16 learning rates by 8 seeds, 200 full-batch steps, the loss at every step. Three
ways, which must agree on every loss:

- *loop*: for each network a Python loop over a jitted step, one call per step;
- *vmap*: one compiled program, all 128 networks side by side;
- *runner*: the suite's own, which chooses how many run side by side.

All are compiled beforehand and timed in turns, so that a busy machine slows all three alike; the table has medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tangentbench import models
from tangentbench.runners import train
from tangentbench.tasks import load

TASK = str(Path(__file__).resolve().parent / "learning_rates.yaml")
TOLERANCE = 1e-3  # relative; 200 float32 steps in another order of summation


class Sweep:
    """Networks, data and compiled functions of the sweep at one tier; each method trains all and returns all losses."""

    def __init__(self, tier: str, rates: int = 16):
        self.cells = load.cells(load.load_task(TASK, tier=tier))[:rates]
        members = [(cell, seed) for cell in self.cells for seed in cell.seeds]
        self.trainer = train.Trainer(*members[0])
        self.lanes = []
        for cell, seed in members:
            lane, _ = self.trainer.begin(cell, seed)
            rate = jnp.asarray(cell.method["learning_rate"]["value"], self.trainer.program.dtype)
            self.lanes.append(lane._replace(learning_rate=rate))
        self._step = jax.jit(self._one_step)

    def _train(self, width: int) -> np.ndarray:
        groups = [self.lanes[low : low + width] for low in range(0, len(self.lanes), width)]
        trained = [one for group in groups for one in self.trainer.train(group, width, lambda fraction: None)]
        return np.stack([one.loss for one in trained])

    def runner(self) -> np.ndarray:
        """Losses `[lanes steps]` by the suite's runner."""
        return self._train(train.lane_width(self.trainer.program, self.lanes[0], len(self.lanes)))

    def vmap(self) -> np.ndarray:
        """The same with all lanes side by side."""
        return self._train(len(self.lanes))

    def _one_step(self, params: Any, rate: Array, x: Array, y: Array) -> tuple[Any, Array]:
        def loss(params: Any) -> Array:
            prediction = models.predict(self.trainer.program.model(self.lanes[0], params), x)
            return jnp.mean((prediction - y) ** 2)

        value, gradient = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - rate * g, params, gradient), value

    def loop(self) -> np.ndarray:
        """The same by a loop over a jitted step; losses stay on the device until the end."""
        curves = []
        for lane in self.lanes:
            params, losses = lane.origin, []
            x, y = lane.data["x_train"], lane.data["y_train"]
            for _ in range(self.trainer.program.steps):
                params, value = self._step(params, lane.learning_rate, x, y)
                losses.append(value)
            curves.append(losses)
        return np.array(jax.device_get(curves))


def seconds(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def compare(tier: str, repeats: int) -> str:
    """One row of the table. ValueError if the three ways disagree."""
    sweep = Sweep(tier)
    ways = {"loop": sweep.loop, "vmap": sweep.vmap, "runner": sweep.runner}
    losses = {name: way() for name, way in ways.items()}
    for name, found in losses.items():
        if not np.allclose(found, losses["loop"], rtol=TOLERANCE, atol=0):
            raise ValueError(f"{name} and loop disagree: {np.max(np.abs(found / losses['loop'] - 1)):.2g}")
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            times[name].append(seconds(way))
    loop, vmap, runner = (statistics.median(times[name]) for name in ways)
    n, d = sweep.lanes[0].data["x_train"].shape
    shape = f"n={n} m={sweep.cells[0].model['width']} d={d}"
    return f"| {shape} | {loop:.2f} | {vmap:.2f} | {runner:.2f} | {loop / runner:.1f} | {vmap / runner:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a learning-rate sweep three ways.", allow_abbrev=False)
    parser.add_argument("--tier", choices=["smoke", "laptop"], help="smoke: the small network; default: both")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print("| size | loop (s) | vmap (s) | runner (s) | loop / runner | vmap / runner |\n|---|--:|--:|--:|--:|--:|")
    for tier in [options.tier] if options.tier else ["smoke", "laptop"]:
        print(compare(tier, options.repeats), flush=True)


if __name__ == "__main__":
    main()
