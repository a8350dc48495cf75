"""Contract of a method: `(learning_rate, **options) -> optax.GradientTransformation`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from pydantic import ValidationError

from ...tasks.entry import METHOD_GRID_POINTS, MethodEntry
from .. import methods
from ..batches import batched_fields
from .common import (
    NotApplicable,
    entry_is_complete,
    example,
    need,
    need_close,
    options_are_documented,
    passed_on,
)

CURVATURES = np.array([1.0, 0.3, 0.1])  # of the least-squares problem: its critical rate is 2
CRITICAL = 2.0
STEPS = 12


def _start(dtype: Any = None) -> dict[str, Any]:
    """Weights as a model has them, with a hole where an array is not trained."""
    return {"a": jnp.asarray([1.0, -2.0, 3.0], dtype), "hole": None, "b": jnp.ones((2, 3), dtype)}


def _loss(weights: Any) -> jax.Array:
    """The convex problem: half of the sum of curvature times square."""
    return sum(0.5 * jnp.sum(jnp.asarray(CURVATURES, w.dtype) * w**2) for w in jax.tree.leaves(weights))  # pyright: ignore


@dataclass
class Subject:
    """A method at its example's options."""

    entry: MethodEntry

    @cached_property
    def options(self) -> dict[str, Any]:
        return passed_on(self.entry, example(self.entry))

    @property
    def small(self) -> float:
        """A tenth of the critical rate, or of the smallest rate that it is tuned over."""
        if self.entry.critical:
            return 0.1 * CRITICAL
        return 0.1 * min(point["learning_rate"]["value"] for point in self.entry.grid)

    def optimizer(self, rate: Any, **changes: Any) -> optax.GradientTransformationExtraArgs:
        return optax.with_extra_args_support(self.entry.load()(rate, **self.options | changes))

    def step(self, rate: Any, weights: Any, state: Any, critical: Any = CRITICAL, **changes: Any) -> tuple[Any, Any]:
        """One step as the runner makes it."""
        optimizer = self.optimizer(rate, **changes)
        extra = {"critical_rate": jnp.asarray(critical, weights["a"].dtype)} if self.entry.resets_rate else {}
        updates, state = optimizer.update(jax.grad(_loss)(weights), state, weights, **extra)
        return jax.tree.map(lambda w, u: w + jnp.asarray(u, w.dtype), weights, updates), state

    def path(
        self, rate: Any, steps: int = STEPS, critical: Any = CRITICAL, **changes: Any
    ) -> tuple[list[Any], list[Any]]:
        """Weights and states from the start on."""
        weights, state = [_start()], [self.optimizer(rate, **changes).init(_start())]
        step = jax.jit(partial(self.step, rate, **changes))
        for _ in range(steps):
            new, state_after = step(weights[-1], state[-1], critical)
            weights.append(new)
            state.append(state_after)
        return weights, state


def _flat(weights: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(weights)])


def entry(subject: Subject) -> None:
    entry_is_complete(subject.entry)


def options(subject: Subject) -> str | None:
    schema = subject.entry.schema()
    need(schema and "learning_rate" in schema.model_fields, "its options derive from MethodOptions")
    return options_are_documented(subject.entry)


def grid(subject: Subject) -> str:
    points = []
    for point in subject.entry.grid:
        try:
            points.append(subject.entry.schema()(**point).model_dump_json())
        except ValidationError as error:
            first = error.errors()[0]
            need(False, f"{point}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
        critical = "critical" in point["learning_rate"]
        need(critical == subject.entry.critical, f"{point}: a rate is critical exactly where the entry says so")
    need(len(points) == METHOD_GRID_POINTS, f"{len(points)} points: every method has {METHOD_GRID_POINTS}")
    need(len(set(points)) == len(points), "two points are equal")
    return f"{len(points)} points"


def descent(subject: Subject) -> str:
    weights, _ = subject.path(subject.small)
    losses = [float(_loss(w)) for w in weights]
    need(np.all(np.isfinite(losses)), "the loss is not finite")
    need(
        losses[-1] < losses[0],
        f"after {STEPS} steps at rate {subject.small:.3g} it is {losses[-1] / losses[0]:.3g} of it",
    )
    return f"{losses[-1] / losses[0]:.4g} of it after {STEPS} steps at rate {subject.small:.3g}"


def state(subject: Subject) -> None:
    for dtype in (jnp.float32, jnp.float64):
        weights = _start(dtype)
        rate = jnp.asarray(subject.small, dtype)
        before = subject.optimizer(rate).init(weights)
        after = jax.eval_shape(partial(subject.step, rate), weights, before)
        for what, old, new in (("weights", weights, after[0]), ("state", before, after[1])):
            need(jax.tree.structure(old) == jax.tree.structure(new), f"a step changes the structure of the {what}")
            shapes = [[(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in jax.tree.leaves(t)] for t in (old, new)]
            for one, other in zip(*shapes, strict=True):
                need(one == other, f"a step makes {other[1]}{list(other[0])} of {one[1]}{list(one[0])} in the {what}")


def rate(subject: Subject) -> str:
    plain = _flat(subject.path(subject.small)[0][-1])
    batched = {name: subject.options[name] for name in batched_fields(subject.entry)}

    @jax.jit
    def compiled(rate: jax.Array, given: dict[str, jax.Array]) -> Any:
        weights, state = _start(), subject.optimizer(rate, **given).init(_start())
        for _ in range(STEPS):
            weights, state = subject.step(rate, weights, state, **given)
        return weights

    found = compiled(jnp.asarray(subject.small), {name: jnp.asarray(v, float) for name, v in batched.items()})
    need_close(_flat(found), plain, "with its rate as an array")
    if not _takes_schedules(subject):
        return "it takes no schedule"
    factor = methods.schedule({"name": "linear", "end": 1.0}, STEPS)
    assert factor is not None
    scheduled = _flat(subject.path(lambda count: subject.small * factor(jnp.asarray(count, float)))[0][-1])
    need_close(scheduled, plain, "with a constant schedule")
    return "with schedules"


def _takes_schedules(subject: Subject) -> bool:
    try:
        subject.entry.schema()(**{**example(subject.entry), "schedule": {"name": "linear"}})
    except ValidationError:
        return False
    return True


def determinism(subject: Subject) -> None:
    once, again = (_flat(subject.path(subject.small)[0][-1]) for _ in range(2))
    need(np.array_equal(once, again), "two runs on the same gradients differ")


def resets(subject: Subject) -> str:
    entry = subject.entry
    if not entry.resets_rate:
        raise NotApplicable("its rate is what the task gives")
    period = 3
    need("period" in subject.options, "it has no option `period`")
    need(not entry.overhead or entry.overhead in subject.options, f"it has no option `{entry.overhead}` (overhead)")
    _, states = subject.path(subject.small, STEPS, period=period)
    need(all(hasattr(state, "rate") for state in states), "its state has no `rate`")
    rates = [float(state.rate) for state in states[1:]]
    inside = [k for k in range(1, STEPS) if k % period and rates[k] != rates[k - 1]]
    need(not inside, f"the rate changes at step {(inside or [0])[0]}, between multiples of period = {period}")
    return f"{len(set(rates))} rates in {STEPS} steps with period {period}"
