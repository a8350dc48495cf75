"""The Hessian of the loss, seen through products: its parts, its top, its trace and the density of its spectrum.

With residuals r and L = ℓ(f(w), y),

    ∇²L = Jᵀ ∇²ℓ J  +  Σ_k (∂ℓ/∂f_k) ∇²f_k      (Gauss–Newton part + residual part),

each of them symmetric; the first is positive semidefinite for a convex ℓ. A product with the first takes one JVP and
one VJP, with the whole one a JVP of the gradient; what does not depend on the vector is computed once.

Estimates from random vectors carry a standard error over the vectors, eigenvalues a residual.

Sources: arXiv 2010.09649 (Hutch++, Algorithm 1, with a random sign per entry); arXiv 1901.10159 (stochastic Lanczos
quadrature of a loss Hessian).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from ..layers import check_choice
from ..parameters import partition, predict
from .eigenspace import Eigenpairs
from .spectrum import tridiagonal, unit

Loss = Callable[[Float[Array, "n c"], Float[Array, "n c"]], Float[Array, ""]]
Product = Callable[[Float[Array, " p"]], Float[Array, " p"]]
PARTS = ("whole", "gauss_newton", "residual")


class Sampled(NamedTuple):
    """A mean over random vectors with its standard error, 0 where it is no estimate."""

    value: Float[Array, "*_"]
    error: Float[Array, "*_"]


class Density(NamedTuple):
    """Share of eigenvalues per unit of the eigenvalue, smoothed, on a grid; and its standard error."""

    grid: Float[Array, " g"]
    value: Float[Array, " g"]
    error: Float[Array, " g"]


def hessian_product(
    model: Any,
    loss: Loss,
    x: Float[Array, "n d"],
    y: Float[Array, "n c"],
    part: str = "whole",
) -> tuple[Product, Float[Array, " p"]]:
    """v ↦ Hv with H = ∇²_w loss(f(x), y), or a part of it; and the weights, all as one vector.

    part: "whole", "gauss_newton" or "residual". ValueError for another.
    """
    check_choice("part", part, PARTS)
    params, rest = partition(model)
    origin, unravel = ravel_pytree(params)

    def outputs(flat: Array) -> Array:
        return predict(eqx.combine(unravel(flat), rest), x)

    def slope(f: Array) -> Array:
        return jax.grad(loss)(f, y)

    if part == "whole":
        return jax.linearize(jax.grad(lambda flat: loss(outputs(flat), y)), origin)[1], origin
    if part == "residual":
        slopes = slope(outputs(origin))
        return jax.linearize(jax.grad(lambda flat: jnp.vdot(slopes, outputs(flat))), origin)[1], origin
    values, push = jax.linearize(outputs, origin)
    pull = jax.linear_transpose(push, origin)
    curvature = jax.linearize(slope, values)[1]
    return lambda v: pull(curvature(push(v)))[0], origin


def top_of(
    product: Product, like: Float[Array, " p"], count: int, key: PRNGKeyArray, steps: int = 48
) -> Eigenpairs:  # fmt: skip
    """The `count` algebraically largest eigenvalues of a symmetric operator with their vectors and residuals.

    like: any vector of its size and precision. Rayleigh–Ritz on a Krylov space of `steps` dimensions, fully
    orthogonalised: memory steps·p, and `steps` + `count` + 1 products. An eigenvalue that is repeated shows once until
    the space is exhausted. ValueError unless 1 ≤ count ≤ min(steps, p).
    """
    if not 1 <= count <= min(steps, like.size):
        raise ValueError(
            f"{count} eigenpairs need at least as many steps and rows; got {steps} steps, {like.size} rows"
        )
    basis, matrix = tridiagonal(product, jax.random.normal(key, like.shape, like.dtype), steps)
    vectors = jnp.linalg.eigh(matrix)[1][:, ::-1][:, :count].T @ basis
    vectors = jax.vmap(unit)(vectors)
    images = jax.lax.map(product, vectors)
    values = jnp.sum(vectors * images, axis=1)
    return Eigenpairs(values, vectors, jnp.linalg.norm(images - values[:, None] * vectors, axis=1))


def trace_of(product: Product, like: Float[Array, " p"], key: PRNGKeyArray, products: int = 60) -> Sampled:
    """The trace of a symmetric operator by at most so many products (Hutch++), with its standard error.

    like: any vector of its size and precision. A third of the products finds the range of the largest eigenvalues, in
    which another third gives the exact trace; the rest is estimated from the last third. Exact, with error 0, where
    `products` reaches the size. ValueError for fewer than 6 products.
    """
    size, dtype = like.size, like.dtype
    if products < min(6, size):
        raise ValueError(f"a trace takes at least 6 products, got {products}")
    if products >= size:
        total = jnp.trace(jax.lax.map(product, jnp.eye(size, dtype=dtype)))
        return Sampled(total, jnp.zeros_like(total))
    third = products // 3
    first, second = jax.random.split(key)
    basis = jnp.linalg.qr(jax.lax.map(product, jax.random.rademacher(first, (third, size), dtype)).T)[0].T
    inside = jnp.sum(basis * jax.lax.map(product, basis))
    signs = jax.random.rademacher(second, (third, size), dtype)
    outside = signs - (signs @ basis.T) @ basis
    samples = jnp.sum(outside * jax.lax.map(product, outside), axis=1)
    return Sampled(inside + jnp.mean(samples), _standard_error(samples))


def density_of(
    product: Product,
    like: Float[Array, " p"],
    key: PRNGKeyArray,
    *,
    grid: Float[Array, " g"],
    width: float,
    starts: int = 8,
    steps: int = 48,
) -> Density:
    """The density of a spectrum, smoothed by a normal one of standard deviation `width`: stochastic Lanczos quadrature.

    like: any vector of its size and precision; grid: where the density is asked for. Each of `starts` vectors of random
    signs gives by `steps` + 1 products a quadrature of the spectrum as it sees it. Their mean is the estimate, and its
    standard error comes from their spread. ValueError for fewer than two starts, or a width that is not positive.
    """
    if starts < 2 or width <= 0:
        raise ValueError(f"a density takes at least 2 starts and a positive width; got {starts} and {width}")

    def sample(key: PRNGKeyArray) -> Float[Array, " g"]:
        _, matrix = tridiagonal(product, jax.random.rademacher(key, like.shape, like.dtype), steps)
        nodes, vectors = jnp.linalg.eigh(matrix)
        bumps = jnp.exp(-jnp.square((grid[:, None] - nodes[None]) / width) / 2) / (width * math.sqrt(2 * math.pi))
        return bumps @ jnp.square(vectors[0])

    samples = jax.lax.map(sample, jax.random.split(key, starts))
    return Density(grid, jnp.mean(samples, axis=0), _standard_error(samples))


def _standard_error(samples: Float[Array, "k *_"]) -> Float[Array, "*_"]:
    return jnp.std(samples, axis=0, ddof=1) / math.sqrt(samples.shape[0])
