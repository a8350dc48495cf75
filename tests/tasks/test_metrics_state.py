"""Metrics of a state against dense matrices, loops and closed forms, in float64."""

import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from tangentbench import models
from tangentbench.models.kernels import Estimate
from tangentbench.tasks import registry
from tangentbench.tasks.losses import LOSSES
from tangentbench.tasks.metrics import Context, state

DIM, N = 3, 6
DENSE = 1e-9  # relative; full-length Lanczos against LAPACK
OUTPUTS = pytest.mark.parametrize("c", [1, 3])


@pytest.fixture(autouse=True, scope="module")
def compile_quickly():
    """Tiny models: all the time goes into compiling them."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@functools.cache
def network(c: int, seed: int = 0, kind: str = "wide"):
    options = {"width": 3, "activation": "tanh", "bias": True}
    with jax.enable_x64(True):
        if kind == "wide":
            return models.Wide(DIM, c, key=jax.random.key(seed), depth=1, **options)
        return models.Bottleneck(DIM, c, key=jax.random.key(seed), depth=2, bottleneck_width=1, at=[1], **options)


def moved(model, size: float = 0.3, seed: int = 9):
    """The same model with all trained weights moved."""
    params, rest = models.partition(model)
    flat, unravel = ravel_pytree(params)
    return eqx.combine(unravel(flat + size * jnp.asarray(np.random.default_rng(seed).standard_normal(flat.size))), rest)


def labels(rng: np.random.Generator, n: int, c: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], (n, 1)) if c == 1 else np.eye(c)[rng.integers(c, size=n)]


def context(c: int, origin=None, loss: str = "mse", test: bool = True, **changes) -> Context:
    rng = np.random.default_rng(4)
    x = [jnp.asarray(rng.standard_normal((n, DIM))) for n in (N, 4, 5)]
    y = [jnp.asarray(labels(rng, n, c)) for n in (N, 4, 5)]
    origin = network(c) if origin is None else origin
    values = {
        "x_train": x[0],
        "y_train": y[0],
        "x_validation": x[1] if test else None,
        "y_validation": y[1] if test else None,
        "x_test": x[2] if test else None,
        "y_test": y[2] if test else None,
        "agop": jnp.asarray(np.diag(np.arange(1.0, DIM + 1))),
        "agop_again": jnp.eye(DIM),
        "reference_outputs": y[2] + 1.5,
        "origin": origin,
        "network": origin,
        "kernel0": None,
        "key": jax.random.PRNGKey(3),
        "loss": LOSSES[loss],
        "classification": True,
    }
    return Context(**{**values, **changes})


def flat_predictor(model, x):
    """All outputs on x as a function of the flat weights, and the weights."""
    params, rest = models.partition(model)
    flat, unravel = ravel_pytree(params)
    return lambda w: jax.vmap(eqx.combine(unravel(w), rest))(x), flat


@eqx.filter_jit
def dense_kernel(model, x):
    predict, w = flat_predictor(model, x)
    jacobian = jax.jacfwd(predict)(w).reshape(-1, w.size)
    return jacobian @ jacobian.T


@eqx.filter_jit
def dense_hessian(model, loss, x, y):
    predict, w = flat_predictor(model, x)
    return jax.hessian(lambda w: loss.value(predict(w), y))(w)


def dense_sharpness(model, ctx: Context) -> float:
    return float(np.linalg.eigvalsh(dense_hessian(model, ctx.loss, ctx.x_train, ctx.y_train))[-1])


CHEAP = ["train_loss", "train_error", "validation_loss", "validation_error", "test_loss", "test_error", "output"]
CHEAP += ["reference_agreement", "reference_error", "reference_loss"]
CHEAP += ["kernel_change", "agop_alignment", "feature_alignment", "parameter_distance", "relative_parameter_distance"]
ITERATED = {
    "tangent_kernel_norm": {},
    "kernel_critical_rate": {},
    "sharpness": {"products": 200},
    "critical_rate": {"products": 200},
}
ITERATED["hessian_norm"] = {"steps": 200, "examples": 2}


def measured(ctx: Context, model) -> dict[str, Any]:
    iterated = ITERATED if ctx.y_train.shape[1] == 3 else {}
    cheap = {name: getattr(state, name)(ctx, model) for name in CHEAP}
    return cheap | {name: getattr(state, name)(ctx, model, **options) for name, options in iterated.items()}


@functools.cache
def case(c: int) -> tuple[Context, Any, dict[str, Any]]:
    """A context, a model with other weights, and its metrics (those by Lanczos for c = 3), compiled as one program."""
    with jax.enable_x64(True):
        ctx, model = context(c), moved(network(c), size=1.0)
        ctx = eqx.tree_at(
            lambda ctx: ctx.kernel0, ctx, dense_kernel(ctx.origin, ctx.x_train), is_leaf=lambda a: a is None
        )
        return ctx, model, eqx.filter_jit(measured)(ctx, model)


# -- losses and errors ------------------------------------------------------------------------------------------------


@OUTPUTS
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_losses_and_errors(c, split):
    ctx, model, values = case(c)
    x, y = np.asarray(getattr(ctx, f"x_{split}")), np.asarray(getattr(ctx, f"y_{split}"))
    hidden, last = model.chain.layers
    rows = np.tanh(x @ hidden.weight.T / np.sqrt(DIM) + hidden.bias) @ last.weight.T / np.sqrt(3) + last.bias
    loss = sum(float(((row - target) ** 2).sum()) for row, target in zip(rows, y, strict=True)) / len(x)
    assert float(values[f"{split}_loss"]) == pytest.approx(loss, rel=1e-12)
    if c == 1:
        wrong = [np.sign(row[0]) != target[0] for row, target in zip(rows, y, strict=True)]
    else:
        wrong = [row.argmax() != target.argmax() for row, target in zip(rows, y, strict=True)]
    assert float(values[f"{split}_error"]) == pytest.approx(np.mean(wrong), abs=1e-15)
    if split == "train":
        assert float(values["output"]) == pytest.approx(float(rows[0][0]), rel=1e-12)


class Fixed(eqx.Module):
    """Says the same of every input."""

    answer: jax.Array

    def __call__(self, x):
        return self.answer


@pytest.mark.parametrize("answer", [[0.0], [np.nan], [np.nan, 0.0, 0.0]])
def test_saying_nothing_is_an_error(answer):
    ctx = context(len(answer))
    if len(answer) == 3:
        ctx = eqx.tree_at(lambda ctx: ctx.y_train, ctx, jnp.tile(jnp.eye(3)[:1], (N, 1)))
    assert float(state.train_error(ctx, Fixed(jnp.array(answer)))) == 1.0
    right = jnp.where(jnp.arange(len(answer)) == 0, 1.0, -1.0)
    ctx = eqx.tree_at(lambda ctx: ctx.y_train, ctx, jnp.tile(right[None], (N, 1)))
    assert float(state.train_error(ctx, Fixed(right))) == 0.0


# -- kernels and curvature --------------------------------------------------------------------------------------------


def test_tangent_kernel_norm():
    ctx, model, values = case(3)
    top = np.linalg.eigvalsh(dense_kernel(model, ctx.x_train))[-1]
    estimate = values["tangent_kernel_norm"]
    assert float(estimate.value) == pytest.approx(top, rel=DENSE)
    assert float(estimate.residual) < DENSE * top


@pytest.mark.parametrize("c", [1, 3])
def test_side_kernel_norm(c):
    """The kernel's block of the inputs of one sign, for several outputs too; not the other sign's, nor all of K."""
    with jax.enable_x64(True):
        ctx, model = context(c), moved(network(c), size=1.0)
        full = np.asarray(dense_kernel(model, ctx.x_train))
        positive = np.repeat(np.asarray(ctx.x_train[:, 0]) >= 0, c)
        tops = {name: np.linalg.eigvalsh(full[np.ix_(side, side)])[-1]
                for name, side in (("positive", positive), ("negative", ~positive))}  # fmt: skip
        assert 0 < positive.sum() < len(positive)
        assert len({round(top, 6) for top in (*tops.values(), np.linalg.eigvalsh(full)[-1])}) == 3
        for sign, top in tops.items():
            estimate = eqx.filter_jit(functools.partial(state.side_kernel_norm, sign=sign))(ctx, model)
            assert float(estimate.value) == pytest.approx(top, rel=DENSE)
            assert float(estimate.residual) < DENSE * top


def test_the_sides_of_a_relu_network_on_scalars_are_its_two_eigenvalues():
    """Theorem 3 of arXiv 2205.11787: inputs of opposite sign share no active unit, so that K has rank 2; with tanh in
    its place the rank is larger and the sides are no eigenvalues."""
    x = jnp.array([[-2.0], [-0.5], [1.0], [3.0]])
    for activation, same in (("relu", True), ("tanh", False)):
        with jax.enable_x64(True):
            model = models.Wide(1, 1, key=jax.random.key(0), depth=1, width=50, activation=activation)
            ctx = eqx.tree_at(lambda ctx: ctx.x_train, context(1), x.astype(float))
            sides = [float(state.side_kernel_norm(ctx, model, sign=sign).value) for sign in ("positive", "negative")]
            values = np.linalg.eigvalsh(np.asarray(dense_kernel(model, ctx.x_train)))[::-1]
        assert (np.allclose(sorted(sides, reverse=True), values[:2], rtol=1e-9)) is same
        assert bool(values[2] < 1e-12 * values[0]) is same


@OUTPUTS
def test_kernel_change(c):
    ctx, model, values = case(c)
    before, after = (np.asarray(dense_kernel(m, ctx.x_train)) for m in (ctx.origin, model))
    change = float(values["kernel_change"])
    assert change == pytest.approx(np.sqrt(((after - before) ** 2).sum() / (before**2).sum()), rel=1e-10)
    spectral = np.linalg.norm(after - before, 2) / np.linalg.norm(before, 2)
    assert abs(change - spectral) > 1e-3 * change  # Frobenius, not spectral
    assert abs(change - np.linalg.norm(after - before) / np.linalg.norm(after)) > 1e-3 * change  # of K_0, not K_t


@OUTPUTS
@pytest.mark.parametrize("loss", LOSSES)
def test_kernel_critical_rate(monkeypatch, c, loss):
    """That each loss has the scale of its Gauss-Newton Hessian is tested with the losses; here that it is used."""
    ctx, model, values = case(c)
    top = np.linalg.eigvalsh(dense_kernel(model, ctx.x_train))[-1]
    expected = 2 / (LOSSES[loss].per_kernel(N, c) * top)
    if loss == "mse" and c == 3:
        assert float(values["kernel_critical_rate"].value) == pytest.approx(expected, rel=DENSE)
    exact = Estimate(jnp.asarray(top), jnp.asarray(0.0))
    monkeypatch.setattr(state, "tangent_kernel_norm", lambda *_, **__: exact)
    assert float(state.kernel_critical_rate(context(c, loss=loss), model).value) == pytest.approx(expected, rel=1e-12)


def test_sharpness_and_critical_rate():
    ctx, model, values = case(3)
    here, start = dense_sharpness(model, ctx), dense_sharpness(ctx.network, ctx)
    assert abs(here / start - 1) > 0.01
    assert float(values["sharpness"].value) == pytest.approx(here, rel=DENSE)
    assert float(values["critical_rate"].value) == pytest.approx(2 / start, rel=DENSE)  # at w0, whatever the weights
    # the whole Hessian, not its Gauss-Newton part
    gauss_newton = LOSSES["mse"].per_kernel(N, 3) * np.linalg.eigvalsh(dense_kernel(model, ctx.x_train))[-1]
    assert abs(gauss_newton / here - 1) > 1e-3


def test_critical_rate_of_an_expansion_is_that_of_its_network():
    base = network(1)
    ctx = context(1, origin=models.expand(base, "linear"), network=base)
    expected = 2 / dense_sharpness(base, ctx)
    rate = eqx.filter_jit(state.critical_rate)(ctx, ctx.origin, products=200)
    assert float(rate.value) == pytest.approx(expected, rel=DENSE)
    assert abs(2 / dense_sharpness(ctx.origin, ctx) / expected - 1) > 1e-3


@pytest.mark.parametrize("residual", [0.0, 0.01])
def test_residual_of_a_rate(monkeypatch, residual):
    """A rate's residual bounds its error when the eigenvalue's residual bounds the eigenvalue's."""
    exact = Estimate(jnp.asarray(4.0), jnp.asarray(residual))
    monkeypatch.setattr(state.kernels, "loss_hessian_top", lambda *_: exact)
    rate = state.critical_rate(context(1), network(1))
    assert float(rate.value) == 0.5
    shift = abs(2 / (4.0 + residual) - 0.5)
    assert shift <= float(rate.residual) <= 1.01 * shift


class Bowl(eqx.Module):
    """f(x) = w^2/2: at w = 0 the loss Hessian is -2 mean(y) times the loss's factor, and the kernel is 0."""

    w: jax.Array

    def __call__(self, x):
        return 0.5 * jnp.sum(self.w**2)[None] + 0 * x[:1]


def test_no_rate_is_critical_without_positive_curvature():
    ctx = context(1, origin=Bowl(jnp.zeros(2)), y_train=jnp.ones((N, 1)))
    metrics = (state.sharpness, state.critical_rate, state.kernel_critical_rate)
    run = eqx.filter_jit(lambda *args: [f(*args) for f in metrics])
    sharpness, *rates = run(ctx, ctx.origin)
    assert float(sharpness.value) == pytest.approx(-2.0, rel=1e-12)
    assert all(np.isnan(float(number)) for rate in rates for number in rate)


@eqx.filter_jit
def dense_predictor_hessians(model, x):
    predict, w = flat_predictor(model, x)
    return jax.hessian(predict)(w)


@pytest.mark.parametrize(("c", "test"), [(1, False), (3, True)])
def test_hessian_norm(c, test):
    if test:
        ctx, model, values = case(c)
        x, estimate = ctx.x_test, values["hessian_norm"]
    else:
        ctx, model = context(c, test=False), moved(network(c), size=1.0)
        x, estimate = ctx.x_train, eqx.filter_jit(state.hessian_norm)(ctx, model, **ITERATED["hessian_norm"])
    assert x is not None
    spectra = np.abs(np.linalg.eigvalsh(dense_predictor_hessians(model, x[:2])))  # [examples c p]
    expected = spectra.max(axis=(1, 2)).mean()
    assert float(estimate.value) == pytest.approx(expected, rel=DENSE)
    assert float(estimate.residual) < DENSE
    assert abs(spectra.max() / expected - 1) > 1e-3  # a mean over examples
    assert c == 1 or abs(spectra.max(axis=2).mean() / expected - 1) > 1e-3  # a maximum over outputs


# -- distance from Taylor models --------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [0.5, 1.0])
def test_errors_of_a_quadratic_model(radius):
    """f - f_lin = (gamma/2) dw^T Sigma dw, whose supremum on the sphere is gamma R^2/2 whatever the signs."""
    model = models.GeneralQuadratic(DIM, 1, key=jax.random.key(2), gamma=0.4, signature="random")
    ctx = context(1, origin=model)
    options = {"radius": radius, "examples": 2, "restarts": 6, "steps": 60}
    run = eqx.filter_jit(
        lambda *args: (state.linearization_error(*args, **options), state.quadratic_error(*args, **options))
    )
    linear, quadratic = run(ctx, model)
    assert float(linear.value) == pytest.approx(0.5 * 0.4 * radius**2, rel=1e-6)
    assert float(linear.residual) < 0.05 * float(linear.value)
    assert float(quadratic.value) < 1e-12 and float(quadratic.residual) == 0


def test_errors_beat_random_directions():
    model = network(1, kind="bottleneck")
    ctx = context(1, origin=model)
    options = {"examples": 2, "restarts": 2, "steps": 20}

    @eqx.filter_jit
    def run(ctx, model):
        found = {
            "linear": state.linearization_error(ctx, model, **options),
            "quadratic": state.quadratic_error(ctx, model, **options),
            "multilinear": state.multilinear_error(ctx, model, **options),
            "degree 1": state.multilinear_error(ctx, model, degree=1, **options),
        }
        found = {name: estimate.value for name, estimate in found.items()}
        predict, w = flat_predictor(model, ctx.x_test[:2])
        directions = jax.random.normal(jax.random.key(0), (50, w.size))
        directions = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
        chance = {}
        for order in ("quadratic", "multilinear"):
            taylor, _ = flat_predictor(models.expand(model, order), ctx.x_test[:2])
            gap = jax.vmap(lambda u, t=taylor: jnp.max(jnp.abs(predict(w + u) - t(w + u))))(directions)
            chance[order] = jnp.max(gap)
        return found, chance

    found, chance = run(ctx, model)
    assert all(float(found[order]) > float(chance[order]) > 0 for order in chance)
    # truncated at degree 1 the multilinear expansion is the linear one
    assert float(found["degree 1"]) == pytest.approx(float(found["linear"]), rel=1e-9)
    assert abs(float(found["multilinear"]) / float(found["linear"]) - 1) > 1e-3


def test_multilinear_error_needs_blocks():
    with pytest.raises(ValueError, match="blocks"):
        state.multilinear_error(context(1), network(1))


# -- features and distances -------------------------------------------------------------------------------------------


@OUTPUTS
def test_agop_alignment(c):
    ctx, model, values = case(c)
    step, predict = 1e-5, jax.jit(jax.vmap(model))
    moves = [(predict(ctx.x_train + step * e) - predict(ctx.x_train - step * e)) / (2 * step) for e in jnp.eye(DIM)]
    jacobians = np.stack([np.asarray(move) for move in moves], axis=1)  # [n d c]
    average = np.mean([jacobian @ jacobian.T for jacobian in jacobians], axis=0)
    truth = np.diag(np.arange(1.0, DIM + 1))
    expected = np.sum(average * truth) / np.sqrt(np.sum(average**2) * np.sum(truth**2))
    assert float(values["agop_alignment"].value) == pytest.approx(expected, rel=1e-7)
    agreement = np.trace(truth) / np.sqrt(np.sum(truth**2) * DIM)  # with a second reference of the unit matrix
    moved = abs(expected - np.trace(average) / np.sqrt(np.sum(average**2) * DIM))  # to the alignment with the second
    assert float(values["agop_alignment"].residual) == pytest.approx(max(1 - agreement, moved), rel=1e-6)
    near = truth + 1e-3 * np.outer(np.arange(DIM), np.ones(DIM))  # they agree, and the value moves
    close = state.agop_alignment(dataclasses.replace(ctx, agop_again=jnp.asarray(near)), model)
    apart = abs(expected - np.sum(average * near) / np.sqrt(np.sum(average**2) * np.sum(near**2)))
    assert float(close.residual) == pytest.approx(apart, rel=1e-4)
    assert apart > 2 * (1 - np.sum(truth * near) / np.sqrt(np.sum(truth**2) * np.sum(near**2)))
    assert float(values["reference_agreement"]) == pytest.approx(agreement, rel=1e-9)
    known = state.agop_alignment(dataclasses.replace(ctx, agop_again=None), model)
    assert (float(known.residual), float(known.scale)) == (0, 1)
    assert abs(np.trace(average @ truth) / (np.trace(average) * np.trace(truth)) / expected - 1) > 1e-3  # not by traces


@pytest.mark.parametrize("expansion", [None, "quadratic"])
def test_parameter_distances(expansion):
    base = network(1)
    origin = base if expansion is None else models.expand(base, expansion)
    ctx, model = context(1, origin=origin, network=base), moved(origin)
    here, start = (np.asarray(ravel_pytree(models.partition(m)[0])[0]) for m in (model, origin))
    assert len(start) == ravel_pytree(models.partition(base)[0])[0].size
    distance = np.sqrt(((here - start) ** 2).sum())
    assert float(state.parameter_distance(ctx, model)) == pytest.approx(distance, rel=1e-12)
    relative = distance / np.sqrt((start**2).sum())
    assert float(state.relative_parameter_distance(ctx, model)) == pytest.approx(relative, rel=1e-12)
    assert float(state.parameter_distance(ctx, origin)) == 0.0


# -- all of them ------------------------------------------------------------------------------------------------------

BEYOND = ("linearization_error", "quadratic_error", "multilinear_error")
STATE_METRICS = [name for name, entry in registry.METRICS.items() if entry.build.startswith(f"{state.__name__}:")]


def numbers(result) -> np.ndarray:
    return np.asarray(jax.tree.leaves(result), float)


def every_metric(ctx, model) -> dict[str, Any]:
    small = {"restarts": 2, "steps": 5, "examples": 2}
    options: dict[str, dict[str, Any]] = {name: small for name in BEYOND}
    options["side_kernel_norm"] = {"sign": "positive"}
    return {name: registry.METRICS[name].load()(ctx, model, **options.get(name, {})) for name in STATE_METRICS}


def test_batched_as_compiled():
    """vmap over weights = one call after the other."""
    ctx, model, values = case(3)
    params = [models.partition(m)[0] for m in (ctx.origin, model)]
    stacked, rest = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params), models.partition(model)[1]
    batch = jax.jit(jax.vmap(lambda p: measured(ctx, eqx.combine(p, rest))))(stacked)
    for name, value in values.items():
        for together, alone in zip(*map(jax.tree.leaves, (batch[name], value)), strict=True):
            np.testing.assert_allclose(together[1], alone, rtol=1e-9, atol=1e-11, err_msg=name)
    assert float(batch["kernel_change"][0]) < 1e-12
    assert float(batch["parameter_distance"][0]) == 0.0
    assert {*CHEAP, *ITERATED, *BEYOND, "side_kernel_norm"} == {*STATE_METRICS}


def test_single_precision_stays_single():
    """Tracing alone shows it: every leaf would be float64 if a constant or a metric promoted it."""
    origin = network(1, kind="bottleneck")
    double = context(1, origin=origin, kernel0=jnp.eye(N))
    single = jax.tree.map(lambda a: a.astype("float32") if eqx.is_inexact_array(a) else a, double)
    shapes = jax.eval_shape(lambda: every_metric(single, single.origin))
    assert all(leaf.dtype == np.float32 and leaf.shape == () for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("validation_loss", {"x_validation": None}, "validation_loss needs validation data: set dataset.validation"),
        ("test_loss", {"x_test": None}, "test_loss needs test data: set dataset.test above 0"),
        ("test_error", {"x_test": None}, "test_error needs test data"),
        ("train_error", {"classification": False}, "train_error needs a classification data set: use train_loss"),
        ("kernel_change", {"kernel0": None}, "needs the kernel at initialisation"),
        ("agop_alignment", {"agop": None}, "needs a known true function, as monomial has, or dataset.reference"),
        ("reference_agreement", {"agop_again": None}, "needs a reference model: set dataset.reference"),
        ("reference_loss", {"reference_outputs": None}, "needs a reference model and test data"),
        ("reference_error", {"reference_outputs": None}, "needs a reference model and class labels"),
    ],
)
def test_what_is_missing_is_said(name, changes, message):
    with pytest.raises(ValueError, match=message):
        getattr(state, name)(context(1, **changes), network(1))


def test_context_is_a_pytree_with_static_loss():
    leaves = jax.tree.leaves(context(1))
    assert all(eqx.is_array(leaf) for leaf in leaves)
