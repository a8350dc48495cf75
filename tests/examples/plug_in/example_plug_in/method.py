"""The method `sign_mean`: from a learning rate (a number, an array or a schedule) to an optax transformation."""

import jax
import jax.numpy as jnp
import optax


def sign_mean(learning_rate: float, *, decay: float = 0.9) -> optax.GradientTransformation:
    """w <- w - rate * sign(m), m <- decay m + (1 - decay) grad."""

    def update(updates, state, params=None):
        mean = jax.tree.map(lambda m, g: decay * m + (1 - decay) * g, state, updates)
        return jax.tree.map(jnp.sign, mean), mean

    sign = optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params), update)
    return optax.chain(sign, optax.scale_by_learning_rate(learning_rate))
