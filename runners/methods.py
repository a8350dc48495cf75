"""Training methods: each is a function from a learning rate and its options to an optax transformation.

A learning rate may be a number, a traced array or a schedule (step -> rate): methods of one family then share one
compiled program whatever their rate. Names and defaults are those of the cited papers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Rate = float | jax.Array | Callable[[Any], Any]


def gd(learning_rate: Rate) -> optax.GradientTransformation:
    """Gradient descent ``w <- w - eta * grad L(w)`` on the full training set."""
    return optax.sgd(learning_rate)


def sgd(learning_rate: Rate) -> optax.GradientTransformation:
    """The same update on mini-batches drawn without replacement, reshuffled every epoch."""
    return optax.sgd(learning_rate)


def momentum(learning_rate: Rate, *, momentum: float = 0.9) -> optax.GradientTransformation:
    """Heavy-ball momentum (Polyak 1964): ``v <- mu v + grad``, ``w <- w - eta v``."""
    return optax.sgd(learning_rate, momentum=momentum)


def nesterov(learning_rate: Rate, *, momentum: float = 0.9) -> optax.GradientTransformation:
    """Nesterov's accelerated gradient (Sutskever et al. 2013, eq. 3-4)."""
    return optax.sgd(learning_rate, momentum=momentum, nesterov=True)


def adam(learning_rate: Rate, *, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015, Algorithm 1)."""
    return optax.adam(learning_rate, b1=b1, b2=b2, eps=eps)


def adamw(
    learning_rate: Rate, *, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, weight_decay: float = 1e-4
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2)."""
    return optax.adamw(learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)


def nadam(
    learning_rate: Rate, *, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    """Adam with Nesterov's momentum (Dozat 2016): the step looks one update of the first moment ahead."""
    return optax.nadam(learning_rate, b1=b1, b2=b2, eps=eps)


def rmsprop(learning_rate: Rate, *, decay: float = 0.9, eps: float = 1e-8) -> optax.GradientTransformation:
    """RMSProp (Tieleman & Hinton 2012): gradient over a running root mean square."""
    return optax.rmsprop(learning_rate, decay=decay, eps=eps)


def adagrad(
    learning_rate: Rate, *, initial_accumulator_value: float = 0.1, eps: float = 1e-7
) -> optax.GradientTransformation:
    """AdaGrad (Duchi, Hazan & Singer 2011), diagonal form."""
    return optax.adagrad(learning_rate, initial_accumulator_value=initial_accumulator_value, eps=eps)


def lion(
    learning_rate: Rate, *, b1: float = 0.9, b2: float = 0.99, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Lion (Chen et al. 2023, Algorithm 2): the sign of an interpolated momentum."""
    return optax.lion(learning_rate, b1=b1, b2=b2, weight_decay=weight_decay)


class CatapultState(NamedTuple):
    """Steps taken, raises done, and the rate in force."""

    count: jax.Array
    raised: jax.Array
    rate: jax.Array


def catapult_gd(
    learning_rate: Rate, *, multiple: float | jax.Array = 1.5, period: int = 150, raises: int | jax.Array = 2
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent that induces catapults (Zhu et al. 2024, arXiv 2306.04815).

    It starts at ``learning_rate``; every ``period`` steps, ``raises`` times in all, the rate becomes ``multiple`` times
    the current critical rate ``2 / (s lambda_max(K_t))``, which the runner hands to ``update`` as ``critical_rate``.
    Between two raises the rate is constant.
    """
    if callable(learning_rate):
        raise ValueError("catapult_gd sets its own schedule: remove `schedule` from the method")

    def init(params: Any) -> CatapultState:
        dtype = jnp.result_type(*jax.tree.leaves(params))
        zero = jnp.zeros((), jnp.int32)
        return CatapultState(zero, zero, jnp.asarray(learning_rate, dtype))

    def update(
        updates: Any, state: CatapultState, params: Any = None, *, critical_rate: jax.Array, **_: Any
    ) -> tuple[Any, CatapultState]:
        due = (state.count > 0) & (state.count % period == 0) & (state.raised < raises)
        rate = jnp.where(due, jnp.asarray(multiple * critical_rate, state.rate.dtype), state.rate)
        state = CatapultState(state.count + 1, state.raised + due, rate)
        return jax.tree.map(lambda g: -rate * g, updates), state

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def schedule(spec: dict[str, Any] | None, steps: int) -> Callable[[Any], Any] | None:
    """Factor by which a rate is multiplied at each step, from optax; ``None`` for a constant rate.

    ``spec`` is ``{"name": cosine | linear | exponential | warmup_cosine, ...}``; horizons are the task's ``steps``.
    """
    if spec is None:
        return None
    options = dict(spec)
    name = options.pop("name")
    if name == "cosine":
        return optax.cosine_decay_schedule(1.0, steps, alpha=options.get("alpha", 0.0))
    if name == "linear":
        return optax.linear_schedule(1.0, options.get("end", 0.0), steps)
    if name == "exponential":
        return optax.exponential_decay(1.0, options["transition_steps"], options["decay_rate"])
    if name == "warmup_cosine":
        return optax.warmup_cosine_decay_schedule(0.0, 1.0, options["warmup_steps"], steps, options.get("alpha", 0.0))
    raise ValueError(f"unknown schedule {name!r}: choose cosine, linear, exponential or warmup_cosine")
