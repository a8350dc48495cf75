"""Convolutional networks against loops over positions, with gradients by complex steps instead of JAX."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.models import Conv, expand, predict
from tangentbench.models.kernels import hessian, predictor_hessian_norm, tangent_kernel

KEY = jax.random.PRNGKey(4)
CASES = {
    "sequence": {"in_size": 4, "dims": 1, "depth": 2, "channels": 22},
    "square": {
        "in_size": 18, "dims": 2, "depth": 3, "channels": 2, "input_channels": 2,
        "padding": "zero", "readout": "flatten", "residual": True,
    },
}  # fmt: skip


def build(in_size, **options):
    return eqx.filter_jit(lambda key: Conv(in_size, 2, key=key, activation="tanh", **options))(KEY)


def loops(
    weights, x, *, dims, channels, depth, input_channels=1, padding="circular", readout="average", residual=False
):
    """Outputs of a network with kernels of side 3, position by position; complex weights are fine."""
    side = round((x.size / input_channels) ** (1 / dims))
    grid = x.reshape(input_channels, *(side,) * dims)
    offsets = list(np.ndindex(*(3,) * dims))
    for index in range(depth):
        kernel = weights[index].reshape(channels, grid.shape[0], *(3,) * dims)
        out = np.zeros((channels, *(side,) * dims), complex)
        for place in np.ndindex(*(side,) * dims):
            for offset in offsets:
                at = tuple(p + o - 1 for p, o in zip(place, offset, strict=True))
                if padding == "zero" and not all(0 <= a < side for a in at):
                    continue
                out[:, *place] += kernel[:, :, *offset] @ grid[:, *(a % side for a in at)]
        out = np.tanh(out / np.sqrt(grid.shape[0] * len(offsets)))
        grid = out + grid if residual and index else out
    last = grid.reshape(channels, -1).mean(1) if readout == "average" else grid.reshape(-1)
    return weights[depth] @ last / np.sqrt(last.size)


def jacobian(weights, x, options):
    """[outputs, weights] by complex steps."""
    columns = []
    for index, weight in enumerate(weights):
        for place in np.ndindex(*weight.shape):
            moved = [w.astype(complex) for w in weights]
            moved[index][place] += 1e-30j
            columns.append(loops(moved, x, **options).imag / 1e-30)
    return np.stack(columns, axis=1)


def close(found, expected):
    return np.abs(np.asarray(found) - expected).max() <= 1e-10 * np.abs(expected).max()


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_kernel_are_those_of_the_loops(tools, name):
    options = dict(CASES[name])
    model = build(**options)
    x = np.asarray(tools.inputs(2, options.pop("in_size")))
    weights = [np.asarray(layer.weight) for layer in model.layers]
    found, kernel = eqx.filter_jit(lambda m, x: (predict(m, x), tangent_kernel(m, x)))(model, jnp.asarray(x))
    assert close(found, np.stack([loops(weights, example, **options).real for example in x]))
    rows = np.concatenate([jacobian(weights, example, options) for example in x])
    assert close(kernel, rows @ rows.T)
    wrong = options | {"padding": "zero" if name == "sequence" else "circular"}
    assert not close(found, np.stack([loops(weights, example, **wrong).real for example in x]))
    wrong_rows = np.concatenate([jacobian(weights, example, wrong) for example in x])
    assert not close(kernel, wrong_rows @ wrong_rows.T)


def test_a_shifted_example_has_the_same_average(tools):
    options = {"in_size": 9, "dims": 2, "depth": 2, "channels": 3, "residual": True}
    x = tools.inputs(1, 9)[0]
    shifted = jnp.roll(x.reshape(3, 3), (1, 2), (0, 1)).reshape(-1)
    evaluate = eqx.filter_jit(lambda model, x: model(x))
    circular, zero = build(**options), build(padding="zero", **options)
    np.testing.assert_allclose(evaluate(circular, shifted), evaluate(circular, x), rtol=1e-12)
    assert not np.allclose(evaluate(zero, shifted), evaluate(zero, x), rtol=1e-3)


def test_quadratic_expansion_and_its_kernel(tools):
    base = build(in_size=9, dims=2, depth=2, channels=2, residual=True)
    moved = tools.move(base, KEY, 1.0)
    model, x = expand(base, "quadratic").at(moved), tools.inputs(2, 9)
    rows = tools.jacobian(model, x)
    kernel = eqx.filter_jit(tangent_kernel)(model, x)
    assert close(kernel, rows @ rows.T)
    network = tools.jacobian(moved, x)
    assert not close(kernel, network @ network.T)


@pytest.mark.parametrize("few", [10**9, 0], ids=["in weights", "in factors"])
def test_hessian_norm_is_that_of_the_dense_hessian(tools, monkeypatch, few):
    monkeypatch.setattr(hessian, "FEW", few)
    model = build(in_size=9, dims=2, depth=2, channels=2, residual=True)
    x = tools.inputs(1, 9)[0]
    norms = np.abs(np.linalg.eigvalsh(tools.hessians(model, x))).max(1)
    estimate = eqx.filter_jit(predictor_hessian_norm)(model, x, KEY, 40)
    assert float(estimate.value) == pytest.approx(norms.max(), rel=1e-8)
    assert float(estimate.residual) < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_size": 8, "dims": 2}, "the examples have 8 numbers, which is not a square"),
        ({"in_size": 9, "dims": 1, "input_channels": 2}, "which is not 2 sequences of one length"),
        ({"in_size": 9, "kernel": 2}, "kernel must be odd and at most 3, the side of the examples; got 2"),
        ({"in_size": 9, "kernel": 5}, "got 5"),
        ({"in_size": 9, "padding": "circle"}, "did you mean 'circular'"),
        ({"in_size": 9, "readout": "mean"}, "'average', 'flatten'"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        build(**{"depth": 1, "channels": 2} | options)
