"""Every model and kernel under jit and under vmap over a batch of models, in both precisions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench import models
from tangentbench.models import kernels

KEY = jax.random.PRNGKey(5)


def half_sse(pred, y):
    return 0.5 * jnp.sum((pred - y) ** 2)


def values(model, x, y):
    return {
        "predict": models.predict(model, x),
        "kernel": kernels.tangent_kernel(model, x),
        "agop": kernels.agop(model, x),
    }


def hessians(model, x, y):
    return {
        "hessian": kernels.predictor_hessian_norm(model, x[0], KEY, 40).value,
        "loss_hessian": kernels.loss_hessian_top(model, half_sse, x, y, KEY).value,
    }


def worst(model, x, y):
    return {"worst": kernels.worst_direction_error(model, x[:1], KEY, against="linear", restarts=2, steps=3).value}


SMALL = {"wide": {"depth": 1}, "bottleneck": {"depth": 2, "at": [1]}}
CASES = [
    (values, "wide", "quadratic"),
    (values, "bottleneck", "multilinear"),
    (values, "quadratic", "linear"),
    (hessians, "wide", None),
    (worst, "wide", None),
]
single = eqx.filter_jit(lambda measure, model, x, y: measure(model, x, y))


@eqx.filter_jit
def batched(measure, params, rest, x, y):
    return jax.vmap(lambda p, r: measure(eqx.combine(p, r), x, y))(params, rest)


def build(tools, name, expansion, seed=0):
    model = tools.family(name, seed=seed, **SMALL.get(name, {}))
    return model if expansion is None else models.expand(model, expansion).at(tools.move(model, KEY, 1.0))


@pytest.mark.parametrize(("measure", "name", "expansion"), CASES)
def test_batched_over_seeds_equals_the_loop(tools, measure, name, expansion):
    """params and rest are batched together: the origin of a Taylor model is a leaf of rest."""
    x, y = tools.inputs(3, 4), tools.inputs(3, 1, seed=4)
    members = [build(tools, name, expansion, seed) for seed in (0, 1)]
    split = [models.partition(member) for member in members]
    params, rest = (jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in zip(*split, strict=True))
    found = batched(measure, params, rest, x, y)
    for index, member in enumerate(members):
        for label, value in single(measure, member, x, y).items():
            np.testing.assert_allclose(found[label][index], value, rtol=1e-8, atol=1e-10, err_msg=label)
    assert not np.allclose(found[label][0], found[label][1], rtol=1e-3)  # the members do differ


@pytest.mark.parametrize(("measure", "name", "expansion"), CASES[:-1])
def test_float32_stays_float32_and_is_close_to_float64(tools, measure, name, expansion):
    model = build(tools, name, expansion)
    x, y = tools.inputs(3, 4), tools.inputs(3, 1, seed=4)

    def low(tree):
        return jax.tree.map(lambda leaf: leaf.astype("float32") if eqx.is_inexact_array(leaf) else leaf, tree)

    double = single(measure, model, x, y)
    for label, value in single(measure, *low((model, x, y))).items():
        assert value.dtype == jnp.float32, label
        scale = float(jnp.max(jnp.abs(double[label])))
        assert float(jnp.max(jnp.abs(value.astype(float) - double[label]))) < 2e-5 * scale, label


def test_weights_are_float32_without_x64():
    def build():
        options = {"depth": 1, "width": 3, "activation": "relu", "init": {"output": "rademacher"}}
        return models.partition((models.Wide(2, 1, key=KEY, **options), models.GeneralQuadratic(2, 1, key=KEY)))[0]

    with jax.enable_x64(False):
        assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(build))} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(build))} == {jnp.dtype("float64")}
