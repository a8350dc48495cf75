"""The metric `output_norm`: a pure function of a run's context and the model at one step."""

import jax
import jax.numpy as jnp

from tangentbench import models
from tangentbench.tasks.metrics import Context


def output_norm(ctx: Context, model, *, power: float = 2.0) -> jax.Array:
    """(mean |f|^p)^(1/p) on the training inputs; `Context` has the data, the initial model, the loss and a key."""
    outputs = models.predict(model, ctx.x_train)
    return jnp.mean(jnp.abs(outputs) ** power) ** (1 / power)
