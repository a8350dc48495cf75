"""How far a network is from its Taylor model in the worst direction of a given length.

The supremum over ‖Δ‖ = R of |f(w₀ + Δ) − f_Taylor(w₀ + Δ)| is approached from below by gradient ascent on the sphere:
u ← unit(u + ĝ), with ĝ the unit gradient of the signed error at Δ = R·u. For a quadratic error this is the power
method shifted by the size of the Hessian along u, so an eigenvalue of the other sign cannot make it oscillate. Starts
alternate in the sign of the error that they climb: the first two are along the gradient of f, the others at random.

Nothing bounds the supremum of such a search from above, so the search tells when it has stopped to find more: starts
are added, and the best ascent so far goes on, until twice as many raise the supremum by less than `SETTLED`. Where the
error is quadratic, as for small R, the value is ½R²‖∇²f‖, which Lanczos finds independently (`predictor_hessian_norm`).

Sources: arXiv 2205.11786, Corollary 3.7; arXiv 2206.15058 (multilinear).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..expansion import expand
from ..parameters import partition, predict
from .spectrum import Estimate, unit

SETTLED = 0.05
"""The share of the supremum by which the last doubling may have raised it."""


class _Search(NamedTuple):
    """Batches of starts so far; per example and output the largest error, and the last direction and the sign of the
    ascent that found it; the supremum when the number of starts was last doubled, and how far that raised it."""

    batches: Int[Array, ""]
    best: Float[Array, " jobs"]
    directions: Float[Array, "jobs p"]
    signs: Float[Array, " jobs"]
    supremum: Float[Array, ""]
    raised: Float[Array, ""]


def worst_direction_error(
    model: Any,
    x: Float[Array, "n d"],
    key: PRNGKeyArray,
    *,
    against: str,
    truncate: int | None = None,
    radius: float | Float[Array, ""] = 1.0,
    restarts: int = 4,
    most_restarts: int = 64,
    steps: int = 20,
) -> Estimate:
    """Largest |f − f_Taylor| found at distance `radius` from the current weights, over examples and outputs.

    A lower bound of the supremum; its residual is how far the last doubling of the starts raised it, 0 where that is
    less than the rounding of f, and the value itself where `most_restarts` leaves no doubling.
    against, truncate: the Taylor model, as for `expand`. Every example and output has its own ascents of `steps` steps:
    a batch is `restarts` new ones and one that goes on from the best direction; batches are doubled until they settle
    or `most_restarts` would be passed. The best value along the way counts. Memory (restarts + jobs)·parameters.
    Raises ValueError for fewer than one restart, or a most below the first.
    """
    if not 1 <= restarts <= most_restarts:
        raise ValueError(
            f"the search needs at least one restart, and most_restarts of at least that; got {restarts} and "
            f"{most_restarts}"
        )
    taylor = expand(model, against, truncate)
    params, rest = partition(model)
    origin, unravel = ravel_pytree(params)
    outputs = jax.eval_shape(model, x[0]).shape[0]
    most_batches = 2 ** ((most_restarts // restarts).bit_length() - 1)

    def moved(direction: Array) -> Any:
        return eqx.combine(unravel(origin + radius * direction), rest)

    def error(direction: Array, example: Array, output: Array) -> Array:
        network = moved(direction)
        return (network(example) - taylor.at(network)(example))[output]

    def ascend(start: Array, sign: Array, example: Array, output: Array) -> tuple[Array, Array]:
        def climb(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], None]:
            direction, best = carry[1:]
            value, slope = jax.value_and_grad(error)(direction, example, output)
            return (direction, unit(direction + sign * unit(slope)), jnp.maximum(best, jnp.abs(value))), None

        # one more than the steps, for the value at the last direction: a second place would compile the error twice
        carry = (start, start, jnp.zeros((), origin.dtype))
        (direction, _, best), _ = jax.lax.scan(climb, carry, None, length=steps + 1)
        return best, direction

    alternating = jnp.where(jnp.arange(restarts + 1) % 2 == 0, 1, -1).astype(origin.dtype)

    def search(job: tuple[Array, Array, Array, Array, Array, Array], batch: Array) -> tuple[Array, Array, Array]:
        example, output, job_key, best, direction, sign = job
        first, turn = batch == 0, jnp.where(batch % 2 == 0, 1, -1).astype(origin.dtype)
        along = unit(jax.grad(lambda w: eqx.combine(unravel(w), rest)(example)[output])(origin))
        starts = jax.vmap(unit)(jax.random.normal(job_key, (restarts + 1, *origin.shape), origin.dtype))
        starts = starts.at[0].set(jnp.where(first, along, direction))
        starts = starts.at[1].set(jnp.where(first, along, starts[1]))
        signs = (turn * alternating).at[0].set(jnp.where(first, 1, sign))
        found, ends = jax.vmap(ascend, in_axes=(0, 0, None, None))(starts, signs, example, output)
        winner = jnp.argmax(found)
        better = found[winner] > best
        kept = jnp.where(better, ends[winner], direction), jnp.where(better, signs[winner], sign)
        return jnp.maximum(best, found[winner]), *kept

    examples, which = jnp.repeat(x, outputs, axis=0), jnp.tile(jnp.arange(outputs), x.shape[0])
    rounding = jnp.finfo(origin.dtype).eps * jnp.max(jnp.abs(predict(model, x)))

    def unsettled(state: _Search) -> Array:
        return (state.batches < most_batches) & (state.raised > SETTLED * state.supremum)

    def add(state: _Search) -> _Search:
        keys = jax.random.split(jax.random.fold_in(key, state.batches), len(examples))
        jobs = (examples, which, keys, state.best, state.directions, state.signs)
        # one example and output at a time: restarts·parameters in memory
        best, directions, signs = jax.lax.map(lambda job: search(job, state.batches), jobs)
        batches, supremum = state.batches + 1, jnp.max(best)
        doubled = (batches & state.batches) == 0
        raised = supremum - state.supremum
        raised = jnp.where(raised > 10 * rounding, raised, 0)
        return _Search(
            batches,
            best,
            directions,
            signs,
            jnp.where(doubled, supremum, state.supremum),
            jnp.where(doubled, raised, state.raised),
        )

    zeros = jnp.zeros(len(examples), origin.dtype)
    start = _Search(
        jnp.zeros((), jnp.int32),
        zeros,
        jnp.zeros((len(examples), origin.size), origin.dtype),
        zeros,
        jnp.zeros((), origin.dtype),
        jnp.full((), jnp.inf, origin.dtype),
    )
    found = jax.lax.while_loop(unsettled, add, start)
    return Estimate(found.supremum, found.raised)
