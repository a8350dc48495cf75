"""Models are tested in float64 and in JAX's strict modes; the oracles below are dense and slow on purpose."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from tangentbench.models import Bottleneck, GeneralQuadratic, Wide, partition


@pytest.fixture(scope="package", autouse=True)
def fast_compilation():
    """These programs run once on tiny arrays: compiling them is all that takes time."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(autouse=True)
def strict_double():
    """float64, no implicit dtype promotion, no implicit rank promotion."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def flat_predictor(model):
    """The outputs as a function of one flat parameter vector, and that vector."""
    params, rest = partition(model)
    flat, unravel = ravel_pytree(params)
    return (lambda w, x: eqx.combine(unravel(w), rest)(x)), flat


def move(model, key, length):
    """The model after a random step of the given length in parameter space."""
    params, rest = partition(model)
    flat, unravel = ravel_pytree(params)
    step = jax.random.normal(key, flat.shape, flat.dtype)
    return eqx.combine(unravel(flat + length * step / jnp.linalg.norm(step)), rest)


@pytest.fixture(scope="session")
def tools():
    """Shared functions by name: pytest's importlib mode cannot import a module that lies beside the tests."""

    class Tools:
        pass

    @eqx.filter_jit
    def dense_jacobian(model, x):
        f, flat = flat_predictor(model)
        return jax.jacfwd(lambda w: jnp.concatenate([f(w, example) for example in x]))(flat)

    @eqx.filter_jit
    def dense_hessians(model, x):
        f, flat = flat_predictor(model)
        return jax.jacfwd(jax.jacrev(f))(flat, x)

    def jacobian(model, x):
        return np.asarray(dense_jacobian(model, x))

    def hessians(model, x):
        return np.asarray(dense_hessians(model, x))

    def inputs(n, d, seed=0):
        return jnp.asarray(np.random.default_rng(seed).normal(size=(n, d)))

    def family(name, outputs=1, **options):
        key = jax.random.PRNGKey(options.pop("seed", 3))
        if name == "wide":
            return Wide(4, outputs, key=key, **{"depth": 2, "width": 6, "activation": "tanh"} | options)
        if name == "bottleneck":
            common = {"depth": 3, "width": 6, "bottleneck_width": 2, "at": [2]}
            return Bottleneck(4, outputs, key=key, **common | options)
        return GeneralQuadratic(4, outputs, key=key, **{"gamma": 0.3} | options)

    for function in (flat_predictor, move, jacobian, hessians, inputs, family):
        setattr(Tools, function.__name__, staticmethod(function))
    return Tools
