"""Every derivative kernel and estimator against the truth: `python -m benchmarks.instruments [--width M]`.

The truth comes from dense matrices in float64: the Jacobian and the Hessians of all weights. What is measured runs in
float32. Printed are the error relative to the truth, matrix–vector products, seconds and temporary bytes.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from tangentbench import models
from tangentbench.models import kernels

from .clock import compiled, interleaved, timed
from .foreign import arrays

DIM = 6
KEY = 7  # of random starts


class Reading(NamedTuple):
    """One instrument: its error relative to the truth and what that may be, its products, seconds and bytes."""

    instrument: str
    error: float
    tolerance: float
    products: int
    seconds: float
    bytes: int


def mse(f: Any, y: Any) -> Any:
    return jnp.mean((f - y) ** 2)


def truth(model: Any, x: Any, y: Any) -> dict[str, np.ndarray]:
    """Jacobian, Hessians of the outputs, Hessian of the loss and input gradients, dense and in float64."""
    with jax.enable_x64(True):
        double = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64) if eqx.is_inexact_array(a) else a, model)
        params, rest = models.partition(double)
        flat, unravel = ravel_pytree(params)
        x, y = jnp.asarray(x, jnp.float64), jnp.asarray(y, jnp.float64)

        def outputs(w: Any) -> Any:
            return models.predict(eqx.combine(unravel(w), rest), x)

        found = {
            "jacobian": jax.jit(jax.jacrev(lambda w: outputs(w)[:, 0]))(flat),
            "hessians": jax.jit(jax.jacfwd(jax.jacrev(lambda w: outputs(w)[:, 0])))(flat),
            "loss": jax.jit(jax.jacfwd(jax.jacrev(lambda w: mse(outputs(w), y))))(flat),
            "inputs": jax.jit(jax.vmap(jax.grad(lambda e: double(e)[0])))(x),
        }
        return {name: np.asarray(value) for name, value in found.items()}


def readings(width: int, examples: int) -> Iterator[Reading]:
    """All instruments on a network with one hidden layer."""
    model = models.Wide(DIM, 1, key=jax.random.PRNGKey(0), depth=1, width=width, activation="tanh")
    x, y = jnp.asarray(arrays.examples(examples, DIM)), jnp.asarray(arrays.targets(examples))
    exact = truth(model, x, y)
    kernel = exact["jacobian"] @ exact["jacobian"].T
    norms = np.abs(np.linalg.eigvalsh(exact["hessians"])).max(axis=1)
    spectrum = np.linalg.eigvalsh(exact["loss"])
    size = len(spectrum)
    grid = np.linspace(spectrum[0] - 0.2, spectrum[-1] + 0.2, 64)
    bumps = np.exp(-0.5 * ((grid[:, None] - spectrum) / 0.1) ** 2) / (0.1 * np.sqrt(2 * np.pi))
    key = jax.random.PRNGKey(KEY)
    vector = np.cos(np.arange(examples))
    trace_products = min(60, size)

    def loss_product(model: Any) -> Any:
        return kernels.hessian_product(model, mse, x, y)

    measured: list[tuple[str, Callable[[Any], Any], Any, float, int]] = [
        ("tangent kernel", lambda m: kernels.tangent_kernel(m, x), kernel, 1e-5, 0),
        ("kernel–vector product", lambda m: kernels.free_product(m, x)(jnp.asarray(vector, x.dtype)), kernel @ vector,
         1e-5, 1),
        ("λmax of the kernel", lambda m: kernels.kernel_norm(kernels.tangent_kernel(m, x), key).value,
         np.linalg.eigvalsh(kernel)[-1], 1e-5, 25),
        ("norms of the predictor's Hessian", lambda m: kernels.predictor_hessian_norms(m, x, key, 40)[0], norms, 1e-3,
         41),
        ("sharpness", lambda m: kernels.loss_hessian_top(m, mse, x, y, key).value, spectrum[-1], 1e-4, 200),
        ("three leading eigenvalues of the loss Hessian",
         lambda m: kernels.top_of(*loss_product(m), count=3, key=key).values,
         spectrum[::-1][:3], 1e-3, 52),
        ("trace of the loss Hessian",
         lambda m: kernels.trace_of(*loss_product(m), key=key, products=trace_products).value,
         spectrum.sum(), 0.3, trace_products),
        ("density of the loss Hessian",
         lambda m: kernels.density_of(*loss_product(m), key=key, grid=jnp.asarray(grid, x.dtype), width=0.1).value,
         bumps.mean(axis=1), 0.3, 8 * 49),
        ("AGOP", lambda m: kernels.agop(m, x), exact["inputs"].T @ exact["inputs"] / examples, 1e-5, 0),
    ]  # fmt: skip
    for name, function, expected, tolerance, products in measured:
        call, program = compiled(function, model)
        error = np.linalg.norm(np.asarray(call(), np.float64) - expected) / np.linalg.norm(expected)
        (seconds,) = interleaved([timed(call)], 3)
        account = program.memory_analysis()
        used = account.temp_size_in_bytes + account.output_size_in_bytes
        yield Reading(name, float(error), tolerance, products, seconds, used)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the derivative kernels.", allow_abbrev=False)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--examples", type=int, default=32)
    options = parser.parse_args()
    print("| instrument | error | products (at most) | seconds | bytes |\n|---|--:|--:|--:|--:|", flush=True)
    for one in readings(options.width, options.examples):
        cells = (one.instrument, f"{one.error:.1e}", str(one.products), f"{one.seconds:.2g}", str(one.bytes))
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
