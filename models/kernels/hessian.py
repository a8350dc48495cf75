"""Extreme eigenvalues of second derivatives with respect to the weights: of the predictor and of the loss.

Predictor Hessian of dense layers. With a, b the input and the sensitivity of a layer (see `layered`), H maps every
direction V to s(ḃ aᵀ + b ȧᵀ), so its range lies in the span of the matrices E(p, q) = p âᵀ + b̂ qᵀ with unit vectors
â, b̂. With q ⊥ â this E is an isometry, hence EᵀHE has the non-zero eigenvalues of H. And EᵀHE is the Hessian at 0 of

    (p, q) ↦ f(W + E(p, q)),

whose layers apply W and an update of rank two. Lanczos on it works on vectors of Σ(fan-in + fan-out) numbers
instead of Σ fan-in·fan-out, and no array of the size of the parameters is formed. Biases stay as they are.

Other layers. Let F(p, q) be the layer's gradient with the terms (a, p) and (q, b); H maps every direction into the
range of F, and F(p, q) to F(ḃ, ȧ). So H acts on the coordinates as (p, q) ↦ (ḃ, ȧ), from one JVP of the sensitivities,
symmetric in the inner product ⟨F(p, q), F(p', q')⟩, which the layers know. It is singular, as F(b, −a) = 0.
Where factors are hardly fewer than weights, and for models without layers: Hessian–vector products in the weights.

Sources: arXiv 2205.11786, Theorem 3.6 and arXiv 2010.01092 (predictor); arXiv 2306.04815 (loss).
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ..expansion import QuadraticExpansion
from ..layered import Addition, Layered, layered
from ..layers import Dense
from ..parameters import partition, predict
from .recurrence import recurrence_extreme
from .spectrum import Estimate, Metric, lanczos_extreme, largest_eigenpair, unit

BASES = 256 * 2**20  # bytes
ALONG = 1e-4  # residual of the loss Hessian's largest eigenvalue along a run, relative to it
LEAST_PRODUCTS = 8  # before a small residual of the loss Hessian is believed
SHORT = 4  # times as many numbers as steps, up to which nothing is gained by leaving the basis alone
FEW = 4  # times fewer numbers, from which on products in factors are cheaper than in weights


class _Operator(NamedTuple):
    """The Hessian of one output on one example, in some coordinates with their inner product; and zero coordinates."""

    product: Callable[[Array], Array]
    metric: Metric | None
    zero: Float[Array, " p"]


def predictor_hessian_norm(
    model: Any, x: Float[Array, " d"], key: PRNGKeyArray, steps: int = 32, output: int | None = None
) -> Estimate:
    """Spectral norm of ∇²_w f_k(x) for one example: the largest |eigenvalue| at either end of the spectrum.

    output: the output k; None takes the largest norm over all outputs. steps: Lanczos steps.
    The residual is that of the eigenvalue which gives the norm.
    """
    operator = _operator(model, x)
    outputs = jax.eval_shape(model, x).shape[0]

    def norm(selector: Float[Array, " c"]) -> Estimate:
        product, metric, zero = operator(selector)
        start = jax.random.normal(key, zero.shape, zero.dtype)
        if metric is None and zero.size > SHORT * steps:
            estimate, _ = recurrence_extreme(product, start, steps)
        else:
            estimate, _ = lanczos_extreme(product, start, steps, "magnitude", metric)
        return Estimate(jnp.abs(estimate.value), estimate.residual)

    selectors = jnp.eye(outputs, dtype=x.dtype)
    if output is not None or outputs == 1:
        return norm(selectors[output or 0])
    norms = jax.vmap(norm)(selectors)
    largest = jnp.argmax(norms.value)
    return Estimate(norms.value[largest], norms.residual[largest])


def predictor_hessian_norms(
    model: Any, x: Float[Array, "n d"], key: PRNGKeyArray, steps: int = 32
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """`predictor_hessian_norm` of n examples, and the residuals: side by side, or one after the other where their
    Krylov bases would take more than `BASES` bytes together."""

    def norm(example: Float[Array, " d"], key: PRNGKeyArray) -> tuple[Array, Array]:
        estimate = predictor_hessian_norm(model, example, key, steps)
        return estimate.value, estimate.residual

    output = jnp.ones(jax.eval_shape(model, x[0]).shape, x.dtype)
    keys = jax.random.split(key, len(x))
    vector = jax.eval_shape(lambda example: _operator(model, example)(output).zero, x[0])
    if len(x) * steps * vector.size * vector.dtype.itemsize > BASES:
        return jax.lax.map(lambda one: norm(*one), (x, keys))
    return jax.vmap(norm)(x, keys)


def loss_hessian_top(
    model: Any,
    loss: Callable[[Float[Array, "n c"], Float[Array, "n c"]], Float[Array, ""]],
    x: Float[Array, "n d"],
    y: Float[Array, "n c"],
    key: PRNGKeyArray,
    products: int = 200,
    tolerance: float = 1e-5,
) -> Estimate:
    """The algebraically largest eigenvalue of ∇²_w loss(f(x), y): the sharpness, whose critical rate is 2/θ.

    loss: (predictions, targets) ↦ number. LOBPCG in parameter space from a random vector (`largest_eigenpair`) until
    the residual is below tolerance·|θ|, after `LEAST_PRODUCTS` Hessian–vector products at least and `products` at most;
    memory about 11·parameters.
    """
    objective, origin, _ = loss_on(model, loss, x, y)
    start = jax.random.normal(key, origin.shape, origin.dtype)
    least = min(LEAST_PRODUCTS, products)
    return largest_eigenpair(_curvature(objective, origin), start, tolerance, products, least)[0]


def loss_hessian_top_from(
    model: Any,
    loss: Callable[[Float[Array, "n c"], Float[Array, "n c"]], Float[Array, ""]],
    x: Float[Array, "n d"],
    y: Float[Array, "n c"],
    start: Float[Array, "2 p"],
    products: int = 200,
    tolerance: float = ALONG,
    fresh: bool | Bool[Array, ""] = False,
) -> tuple[Estimate, Float[Array, "2 p"]]:
    """`loss_hessian_top` from two vectors of one's own, and the two for the next time.

    start: the first leads; the second looks for another eigenvector, one step of a power method each time, and leads as
        soon as its Rayleigh quotient is the larger. So an eigenvalue that overtakes is seen when it does, if it is the
        second one before; any other is seen at the next fresh start.

    fresh: whether that vector knows nothing; then `LEAST_PRODUCTS` are made before a small residual is believed.
    tolerance: of the residual, relative to θ. The error of θ is of the order of its square, hence below the rounding of
        float32 where the eigenvalue is not nearly a double one; a tenth of it takes thrice the products.

    Along a training run the eigenvector of the step before makes a handful of products enough. The residual says that
    an eigenvalue is near, not that none is larger: so start afresh from a random vector now and then.
    """
    objective, origin, _ = loss_on(model, loss, x, y)
    product = _curvature(objective, origin)
    first = unit(start[0])
    second = _beside(first, start[1])
    pair = jnp.stack([first, second])
    images = jax.lax.map(product, pair)
    quotients = jnp.sum(pair * images, axis=1)
    lead = jnp.where((quotients[1] > quotients[0]) & ~jnp.asarray(fresh), 1, 0)
    least = jnp.where(fresh, min(LEAST_PRODUCTS, products), 2)
    estimate, found, _ = largest_eigenpair(product, pair[lead], tolerance, products, least, images[lead])
    ascended = images[1] + jnp.abs(quotients[0]) * second  # shifted: the lower end of the spectrum does not attract
    return estimate, jnp.stack([found, _beside(found, jnp.where(lead == 1, first, ascended))])


def _beside(first: Float[Array, " p"], vector: Float[Array, " p"]) -> Float[Array, " p"]:
    """The unit vector of what is orthogonal to a unit vector."""
    return unit(vector - jnp.dot(first, vector) * first)


def loss_on(
    model: Any,
    loss: Callable[[Float[Array, "n c"], Float[Array, "n c"]], Float[Array, ""]],
    x: Float[Array, "n d"],
    y: Float[Array, "n c"],
) -> tuple[Callable[[Array], Array], Float[Array, " p"], Callable[[Array], Any]]:
    """The loss as a function of one vector of all trained weights, the current weights, and vector ↦ model."""
    params, rest = partition(model)
    origin, unravel = ravel_pytree(params)

    def moved(flat: Array) -> Any:
        return eqx.combine(unravel(flat), rest)

    return lambda flat: loss(predict(moved(flat), x), y), origin, moved


def _operator(model: Any, x: Float[Array, " d"]) -> Callable[[Float[Array, " c"]], _Operator]:
    """For each output (a selector [c]) its Hessian, in the coordinates with the cheapest products."""
    if isinstance(model, QuadraticExpansion):  # its Hessian is the network's at the origin, wherever its weights are
        model = model.at_origin()
    network = layered(model)
    if network is None:
        return _in_weights(model, x)
    if all(isinstance(layer, Dense) for layer in network.layers):
        return _in_isometric_factors(network, x)
    inputs, _ = jax.eval_shape(network.sensitivities, x)
    factors = sum(a.size + math.prod(layer.z_shape) for layer, a in zip(network.layers, inputs, strict=True))
    weights = sum(leaf.size for leaf in jax.tree.leaves(partition(network)[0]))
    return _in_factors(network, x) if FEW * factors < weights else _in_weights(network, x)


def _curvature(f: Callable[[Array], Array], origin: Float[Array, " p"]) -> Callable[[Array], Array]:
    return jax.linearize(jax.grad(f), origin)[1]  # what does not depend on v is computed once, outside of any loop


def _in_weights(model: Any, x: Float[Array, " d"]) -> Callable[[Float[Array, " c"]], _Operator]:
    params, rest = partition(model)
    origin, unravel = ravel_pytree(params)

    def operator(selector: Float[Array, " c"]) -> _Operator:
        def f(flat: Array) -> Array:
            return jnp.dot(selector, eqx.combine(unravel(flat), rest)(x))

        return _Operator(_curvature(f, origin), None, jnp.zeros_like(origin))

    return operator


def _in_isometric_factors(network: Layered, x: Float[Array, " d"]) -> Callable[[Float[Array, " c"]], _Operator]:
    """For dense layers: the predictor on the affine space W + E(p, q), whose coordinates are 0 at W."""
    inputs, cotangents = network.sensitivities(x)
    units = tuple(unit(a) for a in inputs)
    zeros = [
        (jnp.zeros_like(b[0]), jnp.zeros_like(a), None if layer.bias is None else jnp.zeros_like(layer.bias))
        for layer, a, b in zip(network.layers, inputs, cotangents, strict=True)
    ]
    origin, unravel = ravel_pytree(zeros)

    def operator(selector: Float[Array, " c"]) -> _Operator:
        directions = tuple(unit(selector @ b) for b in cotangents)

        def f(flat: Array) -> Array:
            parts = zip(network.layers, units, directions, unravel(flat), strict=True)
            additions = [_update(layer.scale, a, b, *part) for layer, a, b, part in parts]
            return jnp.dot(selector, network.through(x, additions)[0])

        return _Operator(_curvature(f, origin), None, origin)

    return operator


def _update(scale: float, a: Array, b: Array, p: Array, q: Array, offset: Array | None) -> Addition:
    """What E(p, q) and a change of the bias add to a layer, for unit vectors a and b."""
    q = q - jnp.dot(q, a) * a

    def addition(h: Float[Array, " in"]) -> Float[Array, " out"]:
        z = scale * (p * jnp.dot(a, h) + b * jnp.dot(q, h))
        return z if offset is None else z + offset

    return addition


def _in_factors(network: Layered, x: Float[Array, " d"]) -> Callable[[Float[Array, " c"]], _Operator]:
    """For any layers: directions F(p, q), the gradients with the terms (a, p) and (q, b)."""
    inputs, cotangents = network.sensitivities(x)

    def operator(selector: Float[Array, " c"]) -> _Operator:
        ours = [jnp.tensordot(selector, b, 1) for b in cotangents]
        zero, unravel = ravel_pytree(
            [(jnp.zeros_like(b), jnp.zeros_like(a)) for a, b in zip(inputs, ours, strict=True)]
        )

        def directions(flat: Array) -> list[Addition]:
            """Per layer what F(p, q) adds to the pre-activation."""
            return [
                functools.partial(layer.along, jnp.stack([a, q]), jnp.stack([p, b]))
                for layer, a, b, (p, q) in zip(network.layers, inputs, ours, unravel(flat), strict=True)
            ]

        def sensitivities(flat: Array) -> list[tuple[Array, Array]]:
            moved = zip(*network.sensitivities(x, directions(flat)), strict=True)
            return [(jnp.tensordot(selector, b, 1), a) for a, b in moved]

        def product(flat: Array) -> Array:
            return ravel_pytree(jax.jvp(sensitivities, (zero,), (flat,))[1])[0]

        def metric(flat: Array) -> Array:
            # ⟨F(p, q), F(p', q')⟩ = ⟨p', z(a)⟩ + ⟨b, z(q')⟩, with z(h) what F(p, q) adds where the layer's input is h
            pulled = [jax.vjp(along, a) for along, a in zip(directions(flat), inputs, strict=True)]
            return ravel_pytree([(z, pull(b)[0]) for (z, pull), b in zip(pulled, ours, strict=True)])[0]

        return _Operator(product, metric, zero)

    return operator
