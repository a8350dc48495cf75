"""How far a network is from its Taylor model in the worst direction of a given length.

The supremum over ‖Δ‖ = R of |f(w₀ + Δ) − f_Taylor(w₀ + Δ)| is approached from below by gradient ascent on the sphere:
u ← unit(u + ĝ), with ĝ the unit gradient of the signed error at Δ = R·u. For a quadratic error this is the power
method shifted by the size of the Hessian along u, so an eigenvalue of the other sign cannot make it oscillate. Starts
alternate in the sign of the error that they climb: the first two start along the gradient of f, the others at random.

Sources: arXiv 2205.11786, Corollary 3.7; arXiv 2206.15058 (multilinear).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from ..expansion import expand
from ..parameters import partition
from .spectrum import unit


def worst_direction_error(
    model: Any,
    x: Float[Array, "n d"],
    key: PRNGKeyArray,
    *,
    against: str,
    truncate: int | None = None,
    radius: float | Float[Array, ""] = 1.0,
    restarts: int = 4,
    steps: int = 20,
) -> Float[Array, ""]:
    """Largest |f − f_Taylor| found at distance `radius` from the current weights, over examples and outputs.

    A lower bound of the supremum. against, truncate: the Taylor model, as for `expand`. Every example and output
    has its own `restarts` ascents of `steps` steps; the best value along the way counts.
    Raises ValueError for fewer than one restart.
    """
    if restarts < 1:
        raise ValueError(f"the search needs at least one restart, got {restarts}")
    taylor = expand(model, against, truncate)
    params, rest = partition(model)
    origin, unravel = ravel_pytree(params)
    outputs = jax.eval_shape(model, x[0]).shape[0]

    def moved(direction: Array) -> Any:
        return eqx.combine(unravel(origin + radius * direction), rest)

    def error(direction: Array, example: Array, output: Array) -> Array:
        network = moved(direction)
        return (network(example) - taylor.at(network)(example))[output]

    def ascend(start: Array, sign: Array, example: Array, output: Array) -> Array:
        def climb(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
            direction, best = carry
            value, slope = jax.value_and_grad(error)(direction, example, output)
            return (unit(direction + sign * unit(slope)), jnp.maximum(best, jnp.abs(value))), None

        (direction, best), _ = jax.lax.scan(climb, (start, jnp.zeros((), origin.dtype)), None, length=steps)
        return jnp.maximum(best, jnp.abs(error(direction, example, output)))

    index = jnp.arange(restarts)
    signs = jnp.where(index % 2 == 0, 1, -1).astype(origin.dtype)

    def search(job: tuple[Array, Array, Array]) -> Array:
        example, output, job_key = job
        along = unit(jax.grad(lambda w: eqx.combine(unravel(w), rest)(example)[output])(origin))
        random = jax.random.normal(job_key, (restarts, *origin.shape), origin.dtype)
        starts = jnp.where((index < 2)[:, None], along[None], jax.vmap(unit)(random))
        return jnp.max(jax.vmap(ascend, in_axes=(0, 0, None, None))(starts, signs, example, output))

    examples = jnp.repeat(x, outputs, axis=0)
    jobs = (examples, jnp.tile(jnp.arange(outputs), x.shape[0]), jax.random.split(key, len(examples)))
    return jnp.max(jax.lax.map(search, jobs))  # one example and output at a time: restarts·parameters in memory
