"""The split of the training loss against dense eigendecompositions, in float64, for all losses and several outputs."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from tangentbench import models
from tangentbench.tasks import registry
from tangentbench.tasks.losses import LOSSES
from tangentbench.tasks.metrics import Context, bulk_loss, feature_alignment, top_loss

DIM, N, TOP = 3, 8, 2


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def network(c: int, seed: int = 0):
    return models.Wide(DIM, c, key=jax.random.key(seed), depth=1, width=5, activation="tanh")


def context(c: int, loss: str) -> Context:
    rng = np.random.default_rng(4)
    nothing = dict.fromkeys(("x_validation", "y_validation", "x_test", "y_test", "agop", "kernel0"))
    return Context(
        x_train=jnp.asarray(rng.standard_normal((N, DIM))),
        y_train=jnp.asarray(rng.standard_normal((N, c))),
        origin=network(c),
        network=network(c),
        key=jax.random.PRNGKey(3),
        loss=LOSSES[loss],
        classification=False,
        **nothing,
    )


@eqx.filter_jit
def _dense(model, x):
    params, rest = models.partition(model)
    flat, unravel = ravel_pytree(params)

    def outputs(w):
        return jnp.concatenate([eqx.combine(unravel(w), rest)(example) for example in x])  # example-major

    return outputs(flat), jax.jacfwd(outputs)(flat)


@functools.cache
def dense(c: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """All outputs and their tangent kernel."""
    with jax.enable_x64(True):
        outputs, jacobian = map(np.asarray, _dense(network(c, seed), context(c, "mse").x_train))
    return outputs, jacobian @ jacobian.T


FACTORS = {
    "mse": lambda c: 1 / N,
    "mse_mean": lambda c: 1 / (N * c),
    "half_mse": lambda c: 0.5 / N,
    "half_sse": lambda c: 0.5,
}


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_splits_along_the_current_eigenvectors(c, loss):
    ctx, model = context(c, loss), network(c, seed=1)
    parts = eqx.filter_jit(lambda ctx, model: (top_loss(ctx, model, top=TOP), bulk_loss(ctx, model, top=TOP)))
    top, bulk = parts(ctx, model)
    outputs, kernel = dense(c, 1)
    errors = outputs - np.asarray(ctx.y_train).reshape(-1)
    factor = FACTORS[loss](c)

    def inside(matrix, vector):
        return factor * np.sum((np.linalg.eigh(matrix)[1][:, -TOP:].T @ vector) ** 2)

    expected = inside(kernel, errors)
    assert float(top.value) == pytest.approx(expected, rel=1e-10)
    assert float(bulk.value) == pytest.approx(factor * np.sum(errors**2) - expected, rel=1e-10)
    whole = float(LOSSES[loss].value(jax.vmap(model)(ctx.x_train), ctx.y_train))
    assert float(top.value + bulk.value) == pytest.approx(whole, rel=1e-12)
    assert 0 <= float(top.residual) == float(bulk.residual) < 1e-9 * whole
    wrong = {
        "eigenvectors of the kernel at the start": inside(dense(c, 0)[1], errors),
        "rows shuffled": inside(kernel, np.roll(errors, 1)),
        "the smallest": inside(-kernel, errors),
        "outputs instead of errors": inside(kernel, outputs),
    }
    if c == 3:
        wrong["outputs first"] = inside(kernel, errors.reshape(N, c).T.reshape(-1))
    for found in wrong.values():
        assert abs(found / expected - 1) > 1e-2


def test_the_top_may_be_everything():
    ctx, model = context(1, "mse"), network(1, seed=1)
    parts = eqx.filter_jit(lambda ctx, model: (top_loss(ctx, model, top=N), bulk_loss(ctx, model, top=N)))
    top, bulk = parts(ctx, model)
    errors = dense(1, 1)[0] - np.asarray(ctx.y_train)[:, 0]
    assert float(top.value) == pytest.approx(np.mean(errors**2), rel=1e-12)
    assert float(bulk.value) == 0


@pytest.mark.parametrize("c", [1, 3])
def test_feature_alignment(c):
    ctx, model = context(c, "mse"), network(c, seed=1)
    first, last = eqx.filter_jit(lambda ctx, model: [feature_alignment(ctx, model, layer=k) for k in (1, 2)])(
        ctx, model
    )
    hidden, out = (np.asarray(layer.weight) for layer in model.chain.layers)
    gradients = []
    for x in np.asarray(ctx.x_train):
        slope = 1 - np.tanh(hidden @ x / np.sqrt(DIM)) ** 2
        gradients += [hidden.T @ (slope * row) / np.sqrt(5 * DIM) for row in out]
    average = sum(np.outer(g, g) for g in gradients) / N

    def cosine(left, right):
        return np.sum(left * right) / np.sqrt(np.sum(left**2) * np.sum(right**2))

    expected = cosine(average, hidden.T @ hidden)
    assert float(first) == pytest.approx(expected, rel=1e-10)
    assert float(last) == pytest.approx(1, rel=1e-10)  # its input's gradients are its own rows
    assert abs(cosine(average, np.eye(DIM)) / expected - 1) > 1e-3
    other = np.asarray(network(c).chain.layers[0].weight)
    assert abs(cosine(average, other.T @ other) / expected - 1) > 1e-3  # the current weights, not the first


def test_feature_alignment_needs_a_chain():
    model = models.GeneralQuadratic(DIM, 1, key=jax.random.key(0), gamma=0.1)
    with pytest.raises(ValueError, match="needs a chain of dense layers, which GeneralQuadratic is not"):
        feature_alignment(context(1, "mse"), model)
    with pytest.raises(ValueError, match="counted from 1 to 2, the output layer included; got 3"):
        feature_alignment(context(1, "mse"), network(1), layer=3)


def test_the_next_eigenvalue_needs_a_step_of_its_own():
    schema = registry.METRICS["top_loss"].schema()
    assert schema(top=5, steps=6).steps == 6
    with pytest.raises(ValueError, match="steps must be above top = 5"):
        schema(top=5, steps=5)
