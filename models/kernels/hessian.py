"""Extreme eigenvalues of second derivatives with respect to the weights: of the predictor and of the loss.

Predictor Hessian of a chain. With a, b the input and the sensitivity of a layer (see `chain`), H maps every direction V
to s(ḃ aᵀ + b ȧᵀ), so its range lies in the span of the matrices E(p, q) = p âᵀ + b̂ qᵀ with unit vectors â, b̂. With
q ⊥ â this E is an isometry, hence EᵀHE has the non-zero eigenvalues of H. And EᵀHE is the Hessian at 0 of

    (p, q) ↦ f(W + E(p, q)),

whose layers apply W and an update of rank two. Lanczos on it works on vectors of Σ(fan-in + fan-out) numbers
instead of Σ fan-in·fan-out, and no array of the size of the parameters is formed. Biases stay as they are.
Other models go through Hessian–vector products in parameter space.

Sources: arXiv 2205.11786, Theorem 3.6 and arXiv 2010.01092 (predictor); arXiv 2306.04815 (loss).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from ..chain import Chain
from ..expansion import QuadraticExpansion
from ..layers import ACTIVATIONS
from ..parameters import partition, predict
from .spectrum import Estimate, lanczos_extreme, unit
from .tangent import chain_of


def predictor_hessian_norm(
    model: Any, x: Float[Array, " d"], key: PRNGKeyArray, steps: int = 32, output: int | None = None
) -> Estimate:
    """Spectral norm of ∇²_w f_k(x) for one example: the largest |eigenvalue| at either end of the spectrum.

    output: the output k; None takes the largest norm over all outputs. steps: Lanczos steps.
    The residual is that of the eigenvalue which gives the norm.
    """
    if isinstance(model, QuadraticExpansion):  # its Hessian is the network's at the origin, wherever its weights are
        model = model.at_origin()
    chain = chain_of(model)
    restriction = _weights(model, x) if chain is None else _compressed(chain, x)
    outputs = jax.eval_shape(model, x).shape[0]

    def norm(selector: Float[Array, " c"]) -> Estimate:
        f, origin = restriction(selector)

        def product(v: Array) -> Array:
            return jax.jvp(jax.grad(f), (origin,), (v,))[1]

        start = jax.random.normal(key, origin.shape, origin.dtype)
        estimate, _ = lanczos_extreme(product, start, steps, "magnitude")
        return Estimate(jnp.abs(estimate.value), estimate.residual)

    selectors = jnp.eye(outputs, dtype=x.dtype)
    if output is not None or outputs == 1:
        return norm(selectors[output or 0])
    norms = jax.vmap(norm)(selectors)
    largest = jnp.argmax(norms.value)
    return Estimate(norms.value[largest], norms.residual[largest])


def loss_hessian_top(
    model: Any,
    loss: Callable[[Float[Array, "n c"], Float[Array, "n c"]], Float[Array, ""]],
    x: Float[Array, "n d"],
    y: Float[Array, "n c"],
    key: PRNGKeyArray,
    steps: int = 20,
    restarts: int = 10,
    tolerance: float = 1e-5,
) -> Estimate:
    """The algebraically largest eigenvalue of ∇²_w loss(f(x), y): the sharpness, whose critical rate is 2/θ.

    loss: (predictions, targets) ↦ number. Lanczos in parameter space, restarted from its Ritz vector until the residual
    is below tolerance·|θ| (the error of θ is of the order of its square) or after `restarts` rounds of `steps`
    products; memory steps·parameters.
    """
    params, rest = partition(model)
    origin, unravel = ravel_pytree(params)

    def objective(flat: Array) -> Array:
        return loss(predict(eqx.combine(unravel(flat), rest), x), y)

    def product(v: Array) -> Array:
        return jax.jvp(jax.grad(objective), (origin,), (v,))[1]

    def unfinished(state: tuple[Array, Estimate, Array]) -> Array:
        count, (value, residual), _ = state
        return (count < restarts) & ~(residual <= tolerance * jnp.abs(value))

    def improve(state: tuple[Array, Estimate, Array]) -> tuple[Array, Estimate, Array]:
        count, _, vector = state
        return (count + 1, *lanczos_extreme(product, vector, steps, "largest"))

    start = jax.random.normal(key, origin.shape, origin.dtype)
    unknown = Estimate(jnp.zeros((), origin.dtype), jnp.full((), jnp.inf, origin.dtype))
    return jax.lax.while_loop(unfinished, improve, (jnp.zeros((), int), unknown, start))[1]


def _weights(model: Any, x: Float[Array, " d"]) -> Callable[[Array], tuple[Callable[[Array], Array], Array]]:
    """For each output the predictor as a function of all weights, and the current weights."""
    params, rest = partition(model)
    origin, unravel = ravel_pytree(params)
    return lambda selector: (lambda flat: jnp.dot(selector, eqx.combine(unravel(flat), rest)(x)), origin)


def _compressed(chain: Chain, x: Float[Array, " d"]) -> Callable[[Array], tuple[Callable[[Array], Array], Array]]:
    """For each output the predictor on the affine space W + E(p, q), and the coordinates of W, which are 0."""
    inputs, cotangents = chain.sensitivities(x)
    units = tuple(unit(a) for a in inputs)
    zeros = [
        (jnp.zeros_like(b[0]), jnp.zeros_like(a), None if layer.bias is None else jnp.zeros_like(layer.bias))
        for layer, a, b in zip(chain.layers, inputs, cotangents, strict=True)
    ]
    origin, unravel = ravel_pytree(zeros)

    def restriction(selector: Float[Array, " c"]) -> tuple[Callable[[Array], Array], Array]:
        directions = tuple(unit(selector @ b) for b in cotangents)

        def f(flat: Array) -> Array:
            h = x
            parts = zip(chain.layers, chain.activations, units, directions, unravel(flat), strict=True)
            for layer, activation, a, b, (p, q, offset) in parts:
                q = q - jnp.dot(q, a) * a
                z = layer(h) + layer.scale * (p * jnp.dot(a, h) + b * jnp.dot(q, h))
                h = ACTIVATIONS[activation](z if offset is None else z + offset)
            return jnp.dot(selector, h)

        return f, origin

    return restriction
