"""Reference models: what stands in for the true function of real data, which nobody knows (arXiv 2306.04815, G*).

A reference is the mean of a few wide networks, each trained by Adam on every example outside the test split. They start
from small weights and output 0: a network whose output starts at order 1 keeps much of its random function (two of them
align to 0.2 or 0.3 on digits). Two references from different seeds tell how much of one is chance. They do not tell
whether the recipe is good: for that there are the errors on the test split.
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
        agop_again: that of the second; NaN where a network of either ended above its `train_loss`.
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


def fit(
    key: PRNGKeyArray, x: Float[Array, "n d"], y: Float[Array, "n c"], recipe: Mapping[str, Any]
) -> tuple[Mean, Float[Array, " members"]]:
    """A reference model of these examples, and the training losses, (1/n) sum_i |f(x_i) - y_i|^2, of its networks.

    `recipe` holds the fields of `tasks.dataset_options.ReferenceOptions`. Each network stops at its first loss of at
    most `train_loss`.
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
    return Mean(eqx.combine(params, rest)), jax.vmap(loss)(params)


def measured(
    key: PRNGKeyArray,
    pool: tuple[Float[Array, "n d"], Float[Array, "n c"]],
    x_train: Float[Array, "n d"],
    x_test: Float[Array, "n d"] | None,
    recipe: Mapping[str, Any],
) -> Reference:
    """Two references trained on the examples `pool`, and what is kept of them."""
    (first, losses), (second, others) = (fit(each, *pool, recipe) for each in jax.random.split(key))
    trained = jnp.all(losses <= recipe["train_loss"]) & jnp.all(others <= recipe["train_loss"])
    again = jnp.where(trained, kernels.agop(second, x_train), jnp.nan)
    outputs = None if x_test is None else models.predict(first, x_test)
    return Reference(kernels.agop(first, x_train), again, outputs)
