"""Hessian norms against dense Hessians."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.models import expand, predict
from tangentbench.models.kernels import (
    Estimate,
    hessian,
    lanczos_extreme,
    loss_hessian_top,
    loss_on,
    predictor_hessian_norm,
    predictor_hessian_norms,
)

KEY = jax.random.PRNGKey(11)


def norms(hessians):
    return np.abs(np.linalg.eigvalsh(hessians)).max(axis=1)


@eqx.filter_jit
def norm_of(model, x, output=None):
    return predictor_hessian_norm(model, x, KEY, 60, output)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "wide", "activation": "tanh", "output_activation": "tanh", "outputs": 3},
        {"name": "wide", "activation": "relu", "bias": True},
        {"name": "bottleneck", "activation": "swish", "parameterization": "standard", "depth": 2, "at": [1]},
        {"name": "quadratic"},
    ],
    ids=str,
)
def test_predictor_hessian_norm(tools, options):
    model = tools.family(**options)
    x = tools.inputs(1, 4)[0]
    expected = norms(tools.hessians(model, x))
    estimate = norm_of(model, x)
    assert float(estimate.value) == pytest.approx(expected.max(), rel=1e-9)
    assert float(estimate.residual) < 1e-9


def test_both_ends_of_the_spectrum_count(tools):
    """The negative of a network has the norm of the network, though its upper end is another number."""
    model = tools.family("wide", 3, activation="tanh", output_activation="tanh")
    negative = eqx.tree_at(lambda m: m.chain.layers[-1].weight, model, replace_fn=jnp.negative)
    x = tools.inputs(1, 4)[0]
    upper = [np.linalg.eigvalsh(tools.hessians(m, x)).max() for m in (model, negative)]
    assert upper[0] != pytest.approx(upper[1], rel=1e-3)
    for m in (model, negative):
        assert float(norm_of(m, x).value) == pytest.approx(max(upper), rel=1e-9)


def test_predictor_hessian_of_one_output_and_of_a_quadratic_model(tools):
    model = tools.family("wide", outputs=3, depth=1)
    x = tools.inputs(1, 4)[0]
    moved = tools.move(model, KEY, 4.0)
    expected = norms(tools.hessians(model, x))
    second = norm_of(expand(model, "quadratic").at(moved), x, 1)
    assert float(second.value) == pytest.approx(expected[1], rel=1e-9)
    assert expected.max() != pytest.approx(expected[1], rel=1e-3)
    assert norms(tools.hessians(moved, x))[1] != pytest.approx(expected[1], rel=1e-3)


def test_predictor_hessian_of_a_multilinear_model_has_no_blocks_on_its_diagonal(tools):
    base = tools.family("bottleneck", depth=2, at=[1])
    taylor = expand(base, "multilinear").at(tools.move(base, KEY, 1.0))
    x = tools.inputs(1, 4)[0]
    expected = norms(tools.hessians(taylor, x)).max()
    assert float(norm_of(taylor, x).value) == pytest.approx(expected, rel=1e-9)
    assert norms(tools.hessians(taylor.model, x)).max() != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("dead", ["input", "all gates"])
def test_predictor_hessian_of_dead_units(tools, dead):
    """Vanishing layer inputs and sensitivities must not turn into NaN."""
    model = tools.family("wide", activation="relu", bias=True)
    x = jnp.zeros(4) if dead == "input" else jnp.ones(4)
    first = lambda m: m.chain.layers[0].weight  # noqa: E731
    model = eqx.tree_at(lambda m: m.chain.layers[0].bias, model, replace_fn=jnp.zeros_like)
    if dead == "all gates":
        model = eqx.tree_at(first, model, -jnp.ones((6, 4)))
    estimate = norm_of(model, x)
    expected = norms(tools.hessians(model, x)).max()
    np.testing.assert_allclose([estimate.value, estimate.residual], [expected, 0], atol=1e-12)


def test_examples_side_by_side_and_one_after_the_other(tools, monkeypatch):
    model, x = tools.family("wide", depth=1), tools.inputs(2, 4)
    expected = [norms(tools.hessians(model, example))[0] for example in x]
    for bases, loops in ((hessian.BASES, 1), (0, 2)):  # Lanczos itself is a loop; the second one is over examples
        monkeypatch.setattr(hessian, "BASES", bases)
        values, residuals = eqx.filter_jit(lambda m, x: predictor_hessian_norms(m, x, KEY, 60))(model, x)
        np.testing.assert_allclose(values, expected, rtol=1e-9)
        assert np.all(np.asarray(residuals) < 1e-9)
        jaxpr = str(jax.make_jaxpr(lambda x: predictor_hessian_norms(model, x, KEY, 60))(x))
        assert jaxpr.count("scan[") + jaxpr.count("while[") == loops


@pytest.mark.parametrize(("outputs", "expansion"), [(1, None), (3, "quadratic")])
def test_loss_hessian_top(tools, outputs, expansion):
    base = tools.family("wide", outputs, bias=True, depth=1)
    moved = tools.move(base, KEY, 1.0)
    model = moved if expansion is None else expand(base, expansion).at(moved)
    x, y = tools.inputs(5, 4), tools.inputs(5, outputs, seed=2)

    def mse(pred, y):
        return jnp.sum((pred - y) ** 2) / pred.shape[0]

    f, flat = tools.flat_predictor(model)
    loss = lambda w: mse(jax.vmap(lambda example: f(w, example))(x), y)  # noqa: E731
    expected = np.linalg.eigvalsh(jax.jit(jax.jacfwd(jax.jacrev(loss)))(flat))[-1]
    estimate = eqx.filter_jit(loss_hessian_top)(model, mse, x, y, KEY, tolerance=1e-7)
    assert float(estimate.value) == pytest.approx(expected, rel=1e-9)
    rows = tools.jacobian(model, x)
    gauss_newton = 2 / 5 * np.linalg.eigvalsh(rows @ rows.T)[-1]
    assert gauss_newton != pytest.approx(expected, rel=1e-4)  # 2/n · λmax(K) is not the Hessian away from a minimum


def test_convergence_in_float32(tools):
    """Half a million weights: an inner product is off by more than a restart of Lanczos still has to remove."""
    model = tools.family("wide", depth=3, width=512)
    x, y = tools.inputs(40, 4), tools.inputs(40, 1, seed=2)

    def mse(pred, y):
        return jnp.sum((pred - y) ** 2) / pred.shape[0]

    @eqx.filter_jit
    def top(model, x, y):
        objective, origin, _ = loss_on(model, mse, x, y)

        def round_of_lanczos(_, state):
            return lanczos_extreme(lambda v: jax.jvp(jax.grad(objective), (origin,), (v,))[1], state[1], 12)

        unknown = Estimate(jnp.zeros((), x.dtype), jnp.zeros((), x.dtype))
        noise = jax.random.normal(KEY, origin.shape, origin.dtype)
        restarted, _ = jax.lax.fori_loop(0, 4, round_of_lanczos, (unknown, noise))
        return restarted, loss_hessian_top(model, mse, x, y, KEY, tolerance=4e-6)

    truth, found = top(model, x, y)
    assert float(truth.residual) < 1e-6 * float(truth.value)
    assert float(found.value) == pytest.approx(float(truth.value), rel=1e-9)
    single = jax.tree.map(lambda a: a.astype(jnp.float32) if eqx.is_array(a) else a, (model, x, y))
    with jax.enable_x64(False):
        estimates = top(*single)
    for estimate, most in zip(estimates, (2e-6, 4e-6), strict=True):
        assert estimate.value.dtype == jnp.float32
        assert float(estimate.value) == pytest.approx(float(truth.value), rel=1e-6)
        assert float(estimate.residual) < most * float(truth.value)  # 2e-5 where beta is the length that is left over


def test_loss_hessian_top_is_the_algebraic_end(tools):
    """Targets far above a purely quadratic model: ∇²L = −100 γ I + γ² w wᵀ, with its largest eigenvalue along w."""
    model = tools.family("quadratic", linear=False, signature="positive")
    x = tools.inputs(1, 4)
    y = predict(model, x) + 100.0

    def half_sse(pred, y):
        return 0.5 * jnp.sum((pred - y) ** 2)

    estimate = eqx.filter_jit(loss_hessian_top)(model, half_sse, x, y, KEY)
    top = -100 * 0.3 + 0.09 * float(jnp.sum(model.weight**2))
    assert float(estimate.value) == pytest.approx(top, rel=1e-9)
    assert top != pytest.approx(-30, rel=1e-3)  # the end of largest magnitude
