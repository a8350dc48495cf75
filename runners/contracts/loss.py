"""Contract of a loss: `Loss(name, value, per_kernel)`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...tasks.entry import Entry
from ...tasks.losses import Loss
from .common import DIFFERENCE, Failed, entry_is_complete, need, need_close

N, C = 3, 2


@dataclass
class Subject:
    """A loss with predictions and targets."""

    entry: Entry

    @cached_property
    def loss(self) -> Loss:
        return self.entry.load()

    @cached_property
    def predictions(self) -> jax.Array:
        return jnp.asarray(np.random.default_rng(0).normal(size=(N, C)))

    @cached_property
    def targets(self) -> jax.Array:
        return jnp.asarray(np.random.default_rng(1).normal(size=(N, C)))


def entry(subject: Subject) -> None:
    entry_is_complete(subject.entry)
    need(isinstance(subject.loss, Loss), f"{subject.entry.build} is {type(subject.loss).__name__}, not a Loss")
    need(subject.loss.name == subject.entry.name, f"the loss calls itself '{subject.loss.name}'")


def value(subject: Subject) -> None:
    found = subject.loss.value(subject.predictions, subject.targets)
    need(jnp.shape(found) == () and np.isfinite(found), "the value is no finite scalar")
    need(found > 0, f"the value is {float(found):.3g} where predictions are not the targets")
    need(subject.loss.value(subject.targets, subject.targets) == 0, "the value is not zero at the targets")


def gradient(subject: Subject) -> None:
    def f(p: Any) -> Any:
        return subject.loss.value(p, subject.targets)

    p, step = subject.predictions, 1e-5
    basis = np.eye(p.size).reshape(-1, *p.shape)
    differences = [(f(p + step * e) - f(p - step * e)) / (2 * step) for e in basis]
    need_close(jax.grad(f)(p).reshape(-1), differences, "the gradient", DIFFERENCE)


def scale(subject: Subject) -> str:
    flat = subject.predictions.reshape(-1)
    hessian = jax.hessian(lambda p: subject.loss.value(p.reshape(N, C), subject.targets))(flat)
    found = subject.loss.per_kernel(N, C)
    need_close(hessian, found * np.eye(N * C), f"the Hessian and per_kernel({N}, {C}) = {found:.3g}")
    return f"s({N}, {C}) = {found:.3g}"


def shapes(subject: Subject) -> None:
    try:
        subject.loss.value(jnp.ones(N), jnp.ones((N, 1)))
    except (ValueError, TypeError):
        return
    raise Failed("predictions [n] against targets [n 1] are broadcast to [n n]: raise a ValueError")


def static(subject: Subject) -> None:
    again = subject.entry.load()
    need(hash(again) == hash(subject.loss) and again == subject.loss, "two loads give losses that are not equal")
