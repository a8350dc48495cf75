"""Metrics of restricted strong convexity against dense derivatives, in float64, for every loss."""

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
from tangentbench.tasks.metrics import Context, convexity

DIM, N, KAPPA, RADIUS = 3, 5, 0.5, 1e-3
STEPS = 40  # more than the networks have weights
NAMES = sorted(
    name for name, entry in registry.METRICS.items() if entry.build.startswith("tangentbench.tasks.metrics.convexity:")
)
OPTIONS = {
    "hessian_norm_max": {"steps": STEPS},
    "convexity_constant": {"kappa": KAPPA, "steps": STEPS},
    "restricted_curvature": {"kappa": KAPPA, "radius": RADIUS, "directions": 2, "steps": STEPS},
    "orthogonal_curvature": {"kappa": KAPPA, "radius": RADIUS, "steps": STEPS},
    "restricted_pl_ratio": {"kappa": KAPPA, "steps": STEPS, "descents": 4},
    "restricted_curvature_margin": {"kappa": KAPPA, "radius": RADIUS, "directions": 2, "steps": STEPS},
}


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


def context(c: int, loss: str) -> tuple[Context, models.Wide]:
    rng = np.random.default_rng(4)
    model = models.Wide(DIM, c, key=jax.random.key(0), depth=1, width=3, activation="tanh", bias=True)
    x, y = jnp.asarray(rng.standard_normal((N, DIM))), jnp.asarray(rng.standard_normal((N, c)))
    key = jax.random.PRNGKey(3)
    return Context(x, y, None, None, None, None, None, model, model, None, key, LOSSES[loss], False), model


def every_metric(ctx, model):
    return {name: getattr(convexity, name)(ctx, model, **OPTIONS.get(name, {})) for name in NAMES}


@functools.cache
def case(c: int):
    """A context, its metrics, and dense derivatives: outputs [n c], Jacobian [n c p], Hessians [n c p p]."""
    with jax.enable_x64(True):
        ctx, model = context(c, "mse")
        params, rest = models.partition(model)
        flat, unravel = ravel_pytree(params)

        def predict(w):
            return jax.vmap(eqx.combine(unravel(w), rest))(ctx.x_train)

        dense = jax.jit(lambda w: (predict(w), jax.jacrev(predict)(w), jax.hessian(predict)(w)))(flat)
        return ctx, jax.device_get(eqx.filter_jit(every_metric)(ctx, model)), *map(np.asarray, dense)


def value(loss: str, f, y) -> float:
    return float(LOSSES[loss].value(jnp.asarray(f), jnp.asarray(y)))


@pytest.mark.parametrize("c", [1, 3])
def test_of_one_state(c):
    ctx, found, f, jacobian, hessians = case(c)
    y = np.asarray(ctx.y_train)
    gradient = jacobian.mean(axis=(0, 1))
    assert float(found["average_gradient_norm"]) == pytest.approx(np.linalg.norm(gradient), rel=1e-12)
    assert np.linalg.norm(jacobian, axis=2).mean() > 1.05 * np.linalg.norm(gradient)  # of the mean, not a mean of norms
    loss = ((f - y) ** 2).sum() / N
    slope = 2 / N * np.einsum("nc,ncp->p", f - y, jacobian)
    assert float(found["pl_constant"]) == pytest.approx(slope @ slope / (2 * loss), rel=1e-12)
    norms = np.abs(np.linalg.eigvalsh(hessians)).max(axis=2)
    assert float(found["hessian_norm_max"].value) == pytest.approx(norms.max(), rel=1e-9)
    assert norms.max(axis=1).mean() < 0.99 * norms.max()


@pytest.mark.parametrize("c", [1, 3])
def test_curvatures(c):
    """Both are in units of nu kappa^2 |g|^2, and the margin is the same curvature less its bound."""
    ctx, found, f, jacobian, hessians = case(c)
    y, nu = np.asarray(ctx.y_train), 2 * c
    g = jacobian.mean(axis=(0, 1))
    hessian = 2 / N * (np.einsum("ncp,ncq->pq", jacobian, jacobian) + np.einsum("nc,ncpq->pq", f - y, hessians))
    unit = nu * KAPPA**2 * g @ g
    complement = np.linalg.svd(g[None])[2][1:].T
    across = np.linalg.eigvalsh(complement.T @ hessian @ complement)[0]
    assert float(found["orthogonal_curvature"].value) == pytest.approx(across / unit, abs=0.01)  # the radius
    restricted = float(found["restricted_curvature"].value)
    # the dual of the minimum over the cone: max over mu >= 0 of lambda_min(H - mu g g^T/|g|^2) + mu kappa^2
    axis = np.outer(g, g) / (g @ g)
    dual = max(np.linalg.eigvalsh(hessian - mu * axis)[0] + mu * KAPPA**2 for mu in np.linspace(0, 30, 3001))
    assert restricted == pytest.approx(dual / unit, abs=0.01)
    assert restricted > float(found["orthogonal_curvature"].value)
    norm = np.abs(np.linalg.eigvalsh(hessians)).max()
    bound = unit - np.sqrt(2 * nu * ((f - y) ** 2).sum() / N) * norm
    assert float(found["convexity_constant"].value) == pytest.approx(bound, rel=1e-9)
    for name, scale in {
        "restricted_curvature": 1, "orthogonal_curvature": 1, "convexity_constant": unit,
        "restricted_curvature_margin": unit,
    }.items():  # fmt: skip
        assert float(found[name].scale) == pytest.approx(scale, rel=1e-12)
        assert float(found[name].residual) < 1e-4 * scale
    margin = float(found["restricted_curvature_margin"].value)
    assert margin == pytest.approx(restricted * unit - bound, abs=0.01 * abs(bound))
    assert margin > 0  # a theorem
    if c == 1:  # claims for the paper's square loss: 2 kappa^2 |g|^2 - 2 sqrt(L) h
        paper = 2 * KAPPA**2 * g @ g - 2 * np.sqrt(value("mse", f, y)) * norm
        assert bound == pytest.approx(paper, rel=1e-12)


@pytest.mark.parametrize("restricted", [True, False])
def test_restricted_pl_ratio(monkeypatch, restricted):
    """From its parts: the gradient by the dense Jacobian, the constant and the smallest loss with their residuals."""
    ctx, found, f, jacobian, _ = case(1)
    assert float(found["convexity_constant"].value) < 0 and np.isnan(found["restricted_pl_ratio"].value)  # vacuous
    y = np.asarray(ctx.y_train)
    loss = ((f - y) ** 2).sum() / N
    slope = 2 / N * np.einsum("nc,ncp->p", f - y, jacobian)
    alpha = convexity.Difference(*map(jnp.asarray, (0.3, 0.03, 1.0)))
    inf = convexity.Estimate(jnp.asarray(0.8 * loss), jnp.asarray(0.01 * loss))
    asked = {}
    monkeypatch.setattr(convexity, "convexity_constant", lambda *_, **options: asked.update(alpha=options) or alpha)
    monkeypatch.setattr(convexity.kernels, "least_in_cone", lambda *_, **options: asked.update(inf=options) or inf)
    options = {"kappa": 0.4, "steps": 7, "descents": 11, "restricted": restricted}
    got = convexity.restricted_pl_ratio(ctx, ctx.network, **options)
    assert asked["alpha"] == {"kappa": 0.4, "steps": 7}
    assert asked.get("inf") == ({"kappa": 0.4, "steps": 11} if restricted else None)
    reach, unsure = (0.2, 0.05) if restricted else (1.0, 0.0)
    assert float(got.value) == pytest.approx(slope @ slope / (2 * 0.3 * reach * loss), rel=1e-12)
    assert float(got.residual) == pytest.approx(float(got.value) * (0.1 + unsure), rel=1e-12)


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_bound_has_the_scale_of_the_loss(monkeypatch, c, loss):
    """Every direction of the cone obeys the bound, for every normalisation."""
    ctx, found, f, jacobian, hessians = case(c)
    ctx = context(c, loss)[0]
    y, s = np.asarray(ctx.y_train), LOSSES[loss].per_kernel(N, c)
    monkeypatch.setattr(convexity.kernels, "largest_hessian_norm", lambda *_: found["hessian_norm_max"])
    got = float(convexity.convexity_constant(ctx, ctx.network, kappa=KAPPA).value)
    nu, g = s * N * c, jacobian.mean(axis=(0, 1))
    norm = np.abs(np.linalg.eigvalsh(hessians)).max()
    assert got == pytest.approx(nu * KAPPA**2 * g @ g - np.sqrt(2 * nu * value(loss, f, y)) * norm, rel=1e-9)
    rng = np.random.default_rng(0)
    across = rng.standard_normal((200, g.size))
    across -= np.outer(across @ g, g) / (g @ g)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    u = KAPPA * g / np.linalg.norm(g) + np.sqrt(1 - KAPPA**2) * across
    residual_part = s * np.einsum("nc,ncpq,kp,kq->k", f - y, hessians, u, u)
    gradient_part = s * (np.einsum("ncp,kp->nck", jacobian, u) ** 2).sum(axis=(0, 1))
    assert np.all(gradient_part >= nu * KAPPA**2 * g @ g - 1e-12)
    assert np.all(np.abs(residual_part) <= np.sqrt(2 * nu * value(loss, f, y)) * norm)


@pytest.mark.parametrize("name", ["convexity_constant", "orthogonal_curvature"])
def test_too_few_steps_are_no_evidence(name):
    """The residual of two Lanczos steps is far above what the registry admits, on the scale of the terms."""
    ctx, model = context(1, "mse")
    short = {**OPTIONS[name], "steps": 2}
    found = jax.device_get(eqx.filter_jit(lambda: getattr(convexity, name)(ctx, model, **short))())
    tolerance = registry.METRICS[name].tolerance
    assert tolerance is not None and found.residual > tolerance * max(abs(found.value), found.scale)


def test_jensen_is_tight():
    """A model whose gradients are all equal attains the gradient term: a larger factor would be no bound."""

    class Constant(eqx.Module):
        w: jax.Array

        def __call__(self, x):
            return jnp.sum(self.w)[None] + 0 * x[:1]

    ctx, _ = context(1, "mse")
    model = Constant(jnp.zeros(4))
    options = {"kappa": KAPPA, "radius": 0.5, "directions": 1, "steps": 4}
    found = eqx.filter_jit(convexity.restricted_curvature)(ctx, model, **options)
    assert float(found.value) == pytest.approx(1, abs=1e-9)


def test_single_precision_stays_single():
    double, model = context(3, "mse")
    single, model = jax.tree.map(lambda a: a.astype("float32") if eqx.is_inexact_array(a) else a, (double, model))
    shapes = jax.eval_shape(lambda: every_metric(single, model))
    assert all(leaf.dtype == np.float32 and leaf.shape == () for leaf in jax.tree.leaves(shapes))
