"""Taylor models against closed forms, dense derivatives and their order of convergence."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.models import Wide, expand, partition, predict
from tangentbench.models.kernels import tangent_kernel


@eqx.filter_jit
def evaluate(model, x):
    return predict(model, x)


def test_params_have_the_tree_of_the_network_and_start_at_the_origin(tools):
    model = tools.family("bottleneck", bias=True)
    x = tools.inputs(3, 4)
    for order in ("linear", "quadratic", "multilinear"):
        taylor = expand(model, order)
        params, rest = partition(taylor)
        assert jax.tree.structure(params.model) == jax.tree.structure(partition(model)[0])
        assert len(jax.tree.leaves(params)) == len(jax.tree.leaves(rest)) == 8
        np.testing.assert_allclose(evaluate(eqx.combine(params, rest), x), predict(model, x), rtol=1e-14)


def test_quadratic_expansion_of_two_layer_relu_is_the_closed_form(tools):
    """arXiv 2205.11787, Section 2: g = f0 + (1/√(md)) Σ [v0 Δuᵀx a + Δv relu(u0ᵀx) + Δv Δuᵀx a]."""
    m, d = 40, 4
    base = tools.family("wide", depth=1, width=m, activation="relu", init={"output": "rademacher"})
    moved = tools.move(base, jax.random.PRNGKey(5), 3.0)
    x = tools.inputs(6, d)
    u0, v0 = (np.asarray(layer.weight) for layer in base.chain.layers)
    u, v = (np.asarray(layer.weight) for layer in moved.chain.layers)
    du, dv, z = u - u0, (v - v0)[0], u0 @ np.asarray(x).T
    gate, cross = z >= 0, du @ np.asarray(x).T
    linear = v0[0] @ (gate * np.maximum(z, 0)) + v0[0] @ (cross * gate) + dv @ np.maximum(z, 0)
    closed = (linear + dv @ (cross * gate)) / np.sqrt(m * d)
    np.testing.assert_allclose(evaluate(expand(base, "quadratic").at(moved), x)[:, 0], closed, rtol=1e-12)
    np.testing.assert_allclose(evaluate(expand(base, "linear").at(moved), x)[:, 0], linear / np.sqrt(m * d), rtol=1e-12)
    assert np.abs(linear / np.sqrt(m * d) - closed).max() > 1e-3  # without the cross term it is another model


@pytest.mark.parametrize("name", ["bottleneck", "quadratic"])
def test_expansions_are_the_dense_taylor_polynomials(tools, name):
    base = tools.family(
        name,
        **({} if name == "quadratic" else {"outputs": 3, "bias": True, "activation": "swish", "depth": 2, "at": [1]}),
    )
    moved = tools.move(base, jax.random.PRNGKey(5), 0.7)
    x = tools.inputs(2, 4)[0]
    delta = np.asarray(tools.flat_predictor(moved)[1] - tools.flat_predictor(base)[1])
    linear = np.asarray(base(x)) + tools.jacobian(base, x[None]) @ delta
    quadratic = linear + 0.5 * tools.hessians(base, x) @ delta @ delta
    for order, expected in (("linear", linear), ("quadratic", quadratic)):
        np.testing.assert_allclose(evaluate(expand(base, order).at(moved), x[None])[0], expected, rtol=1e-11)
    assert not np.allclose(2 * quadratic - linear, quadratic, rtol=1e-6)  # a forgotten ½ would be seen


def test_error_falls_with_the_declared_order(tools):
    """‖Δ‖ ↦ error has slope 2 (linear) and 3 (quadratic); a bilinear model misses the curvature within blocks: 2."""
    base = tools.family("bottleneck", activation="tanh")
    x = tools.inputs(1, 4)[0]

    @jax.jit
    def errors(length):
        moved = tools.move(base, jax.random.PRNGKey(9), length)
        return jnp.stack([jnp.abs(moved(x) - expand(base, order).at(moved)(x))[0] for order in
                          ("linear", "quadratic", "multilinear")])  # fmt: skip

    coarse, fine = errors(0.02), errors(0.01)
    slopes = np.log2(np.asarray(coarse / fine))
    np.testing.assert_allclose(slopes, [2, 3, 2], atol=0.1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
def test_multilinear_expansion_of_a_linear_bottleneck_is_the_product_of_linearised_blocks(tools, bias, outputs):
    base = tools.family("bottleneck", outputs=outputs, depth=5, at=[2, 4], bias=bias)
    moved = tools.move(base, jax.random.PRNGKey(1), 4.0)
    x = tools.inputs(3, 4)

    def affine(layers, weights, offsets, h):
        for layer, weight, offset in zip(layers, weights, offsets, strict=True):
            h = layer.scale * weight @ h + offset
        return h

    def block(start, stop, h):
        """First-order Taylor polynomial of a block by numpy-side central differences, exact up to degree 2."""
        old, new = base.chain.layers[start:stop], moved.chain.layers[start:stop]
        none = [np.zeros(layer.weight.shape[0]) for layer in old]
        b0 = [np.asarray(layer.bias) if bias else zero for layer, zero in zip(old, none, strict=True)]
        b1 = [np.asarray(layer.bias) if bias else zero for layer, zero in zip(new, none, strict=True)]
        w0, w1 = ([np.asarray(layer.weight) for layer in layers] for layers in (old, new))

        def at(t):
            mix = [[(1 - t) * p + t * q for p, q in zip(*pair, strict=True)] for pair in ((w0, w1), (b0, b1))]
            return affine(old, *mix, h)

        return at(0.0) + (at(0.5) - at(-0.5))  # a block of two layers has degree 2 in t

    expected = np.stack([block(4, 6, block(2, 4, block(0, 2, np.asarray(example)))) for example in x])
    multilinear = evaluate(expand(base, "multilinear").at(moved), x)
    np.testing.assert_allclose(multilinear, expected, rtol=1e-10, atol=1e-12)
    linear = evaluate(expand(base, "linear").at(moved), x)
    assert np.abs(linear - expected).max() > 0.1


def test_one_block_equals_linear(tools):
    base = tools.family("bottleneck", at=[], activation="tanh", bias=True)
    moved = tools.move(base, jax.random.PRNGKey(2), 2.0)
    x = tools.inputs(3, 4)
    linear = evaluate(expand(base, "linear").at(moved), x)
    np.testing.assert_allclose(evaluate(expand(base, "multilinear").at(moved), x), linear, rtol=1e-12)
    cut = tools.family("bottleneck", at=[2], width=6, bottleneck_width=6, activation="tanh", bias=True)
    np.testing.assert_allclose(predict(cut, x), predict(base, x), rtol=1e-14)
    two = evaluate(expand(cut, "multilinear").at(eqx.tree_at(lambda m: m.chain, cut, moved.chain)), x)  # another model
    assert np.abs(two - linear).max() > 1e-3


def test_truncation_drops_exactly_the_higher_degrees(tools):
    """P(s) = model at Δ = s·Δ₁ is a polynomial; its coefficients come from a fit at B + 1 points."""
    base = tools.family("bottleneck", depth=5, at=[2, 4], activation="tanh")
    x = tools.inputs(1, 4)[0]
    origin, rest = partition(base)
    target = partition(tools.move(base, jax.random.PRNGKey(4), 3.0))[0]

    @jax.jit
    def at(scale):
        params = jax.tree.map(lambda p, q: p + scale * (q - p), origin, target)
        moved = eqx.combine(params, rest)
        cuts = [expand(base, "multilinear", truncate=k).at(moved)(x) for k in range(5)]
        return expand(base, "multilinear").at(moved)(x), jnp.stack(cuts)

    points = np.array([-1.0, -0.5, 0.5, 1.0])
    coefficients = np.linalg.solve(np.vander(points, 4, increasing=True), np.stack([at(s)[0] for s in points]))
    full, cuts = at(1.0)
    for k in range(4):
        np.testing.assert_allclose(cuts[k], coefficients[: k + 1].sum(0), rtol=1e-10, atol=1e-12)
    for k in (3, 4):
        np.testing.assert_allclose(cuts[k], full, rtol=1e-13)
    np.testing.assert_allclose(cuts[0], base(x), rtol=1e-13)
    assert np.abs(np.diff(cuts[:4], axis=0)).min() > 1e-6  # every degree up to B is there


@eqx.filter_jit
def descend(taylor, x, target, rate):
    """80 steps of gradient descent at rate/λ₀ on ½(g − y)²: the rate, and g and λ before each step."""
    params, rest = partition(taylor)

    def measure(params):
        model = eqx.combine(params, rest)
        return model(x[0])[0], tangent_kernel(model, x)[0, 0]

    eta = rate / tangent_kernel(taylor, x)[0, 0]

    def step(params, _):
        slope = jax.grad(lambda p: 0.5 * (eqx.combine(p, rest)(x[0])[0] - target) ** 2)(params)
        return jax.tree.map(lambda w, g: w - eta * g, params, slope), measure(params)

    return eta, jax.lax.scan(step, params, length=80)[1]


@pytest.mark.parametrize("rate", [1.5, 2.5, 3.5])
def test_gradient_descent_on_the_quadratic_model_follows_the_exact_recursion(tools, rate):
    """arXiv 2205.11787, Section 3: one example, ½-loss, two-layer ReLU with ±1 outputs; relative 1e-8."""
    m, d, target = 600, 5, 1.0
    base = Wide(d, 1, key=jax.random.PRNGKey(0), depth=1, width=m, activation="relu", init={"output": "rademacher"})
    x = tools.inputs(1, d)
    taylor = expand(base, "quadratic")
    eta, (outputs, kernels) = descend(taylor, x, target, jnp.asarray(rate))
    k, eta = float(jnp.sum(x**2)) / (m * d), float(eta)

    def recursion(power):
        g, lam, path = float(outputs[0]), float(kernels[0]), []
        for _ in range(80):
            path.append((g - target, lam))
            r = g - target
            lam_next = lam - eta * k * (4 * g * r - eta * lam * r * r)
            g = target + (1 - eta * lam + k * eta**power * r * g) * r
            lam = lam_next
        return np.array(path).T

    residuals, lams = recursion(2)
    scale = np.abs(residuals).max()
    np.testing.assert_allclose(np.asarray(outputs) - target, residuals, rtol=0, atol=1e-8 * scale)
    np.testing.assert_allclose(kernels, lams, rtol=1e-8)
    wrong, _ = recursion(1)  # the η² of the second term printed as η
    assert not np.allclose(np.asarray(outputs) - target, wrong, rtol=0, atol=1e-6 * scale)


def test_general_quadratic_model_is_its_own_quadratic_expansion(tools):
    base = tools.family("quadratic")
    moved = tools.move(base, jax.random.PRNGKey(4), 4.0)
    x = tools.inputs(3, 4)
    np.testing.assert_allclose(evaluate(expand(base, "quadratic").at(moved), x), predict(moved, x), rtol=1e-13)
    assert np.abs(evaluate(expand(base, "linear").at(moved), x) - predict(moved, x)).max() > 1e-2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cubic",), "'quadratic'"),
        (("multilinear",), "Wide has none"),
        (("linear", 2), "belongs to the multilinear"),
    ],
)
def test_expand_errors(tools, arguments, message):
    with pytest.raises(ValueError, match=message):
        expand(tools.family("wide"), *arguments)


def test_expand_refuses_taylor_models_and_negative_degrees(tools):
    model = tools.family("bottleneck")
    with pytest.raises(ValueError, match="already a LinearExpansion"):
        expand(expand(model, "linear"), "quadratic")
    with pytest.raises(ValueError, match="at least 0"):
        expand(model, "multilinear", truncate=-1)
