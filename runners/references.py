"""Reference models: what stands in for the true function of real data, which nobody knows (arXiv 2306.04815, G*).

A reference is the mean of a few wide networks, each trained by Adam on every example outside the test split. They start
from small weights and output 0: networks of the usual size keep much of their random start, and the gradients of two
such references agree in nothing but their size. Two references from different seeds tell how far one can be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from .. import models
from ..models import kernels


class Reference(NamedTuple):
    """What is kept of two reference models of one data set.

    Attributes:
        agop: average gradient outer product of the first on the training inputs.
        agop_again: that of the second.
        outputs: of the first on the test inputs; `None` without a test split.
    """

    agop: Float[Array, "d d"]
    agop_again: Float[Array, "d d"]
    outputs: Float[Array, "n c"] | None


class Mean(eqx.Module):
    """The mean output of networks of one shape, for one example; their arrays are stacked along a first axis."""

    networks: Any

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " c"]:
        return jnp.mean(eqx.filter_vmap(lambda network: network(x))(self.networks), axis=0)


def fit(key: PRNGKeyArray, x: Float[Array, "n d"], y: Float[Array, "n c"], recipe: Mapping[str, Any]) -> Mean:
    """A reference model of these examples; `recipe` holds the fields of `tasks.dataset_options.ReferenceOptions`.

    Each network stops at its first training loss, (1/n) sum_i |f(x_i) - y_i|^2, of at most `train_loss`.
    """

    def draw(key: PRNGKeyArray) -> models.Wide:
        init = {"weights": recipe["weights"], "output": "zero"}
        sizes = {"depth": recipe["depth"], "width": recipe["width"]}
        return models.Wide(x.shape[1], y.shape[1], key=key, activation="relu", init=init, **sizes)

    params, rest = models.partition(eqx.filter_vmap(draw)(jax.random.split(key, recipe["members"])))
    optimizer = optax.adam(recipe["learning_rate"])

    def loss(member: Any) -> Float[Array, ""]:
        return jnp.mean(jnp.sum(jnp.square(models.predict(eqx.combine(member, rest), x) - y), axis=1))

    def step(state: tuple[Any, Any, Array, Array]) -> tuple[Any, Any, Array, Array]:
        params, moments, taken, _ = state
        values, gradients = jax.vmap(jax.value_and_grad(loss))(params)
        updates, moments = jax.vmap(optimizer.update)(gradients, moments)
        going = values > recipe["train_loss"]

        def moved(weight: Array, update: Array) -> Array:
            return jnp.where(jnp.expand_dims(going, range(1, weight.ndim)), weight + update, weight)

        return jax.tree.map(moved, params, updates), moments, taken + 1, going

    start = (params, jax.vmap(optimizer.init)(params), jnp.zeros((), jnp.int32), jnp.ones(recipe["members"], bool))
    params, *_ = jax.lax.while_loop(lambda state: (state[2] < recipe["steps"]) & jnp.any(state[3]), step, start)
    return Mean(eqx.combine(params, rest))


def measured(
    key: PRNGKeyArray,
    pool: tuple[Float[Array, "n d"], Float[Array, "n c"]],
    x_train: Float[Array, "n d"],
    x_test: Float[Array, "n d"] | None,
    recipe: Mapping[str, Any],
) -> Reference:
    """Two references trained on the examples `pool`, and what is kept of them."""
    first, second = (fit(each, *pool, recipe) for each in jax.random.split(key))
    outputs = None if x_test is None else models.predict(first, x_test)
    return Reference(kernels.agop(first, x_train), kernels.agop(second, x_train), outputs)
