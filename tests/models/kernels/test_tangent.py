"""The tangent kernel against J Jᵀ, with gradients from back-propagation by hand and complex steps instead of JAX."""

import equinox as eqx
import jax
import numpy as np
import pytest

from tangentbench.models import expand
from tangentbench.models.kernels import tangent_kernel

ACTIVATIONS = {
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "swish": (lambda z: z / (1 + np.exp(-z)), lambda z: (1 + np.exp(-z) * (1 + z)) / (1 + np.exp(-z)) ** 2),
}


def arrays(model):
    """Per layer (weight, bias or None)."""
    layers = model.chain.layers
    return [(np.asarray(one.weight), None if one.bias is None else np.asarray(one.bias)) for one in layers]


def gradients(params, scales, activation, example):
    """∇f_k(x) by hand, one row per output k, a list over layers of (weight, bias) parts; safe for complex weights."""
    act, slope = ACTIVATIONS[activation]
    inputs, zs, h = [], [], example
    for (weight, bias), scale in zip(params, scales, strict=True):
        inputs.append(h)
        zs.append(scale * weight @ h + (0 if bias is None else bias))
        h = act(zs[-1])
    rows = []
    for k in range(zs[-1].size):
        b, parts = np.eye(zs[-1].size)[k], []
        for index in reversed(range(len(params))):
            weight, bias = params[index]
            parts.append((scales[index] * np.outer(b, inputs[index]), None if bias is None else b))
            b = slope(zs[index - 1]) * (scales[index] * weight.T @ b) if index else b
        rows.append(parts[::-1])
    return rows


def taylor_gradients(base, moved, expansion, activation, example):
    """Gradients of the network, or of its Taylor model at the weights of `moved`, as flat rows.

    ∇f(w₀) + ∂(∇f)(w₀)[D]: D = 0 for linear, Δ for quadratic, and for a block of a bilinear model Δ of the other block.
    The derivative along D is the imaginary part of the gradient at w₀ + ihD, exact for small h.
    """
    scales = [layer.scale for layer in base.chain.layers]
    origin, target = arrays(base), arrays(moved)
    if expansion is None:
        return flatten(gradients(target, scales, activation, np.asarray(example)), np.real)
    cut = base.at[0] if expansion == "multilinear" else 0

    def shifted(layers, h=1e-30):
        def add(old, new, chosen):
            return None if old is None else old + 1j * h * chosen * (new - old)

        pairs = enumerate(zip(origin, target, strict=True))
        params = [tuple(add(p, q, index in layers) for p, q in zip(o, t, strict=True)) for index, (o, t) in pairs]
        rows = gradients(params, scales, activation, np.asarray(example))
        return rows, lambda part: part.real + (0 if expansion == "linear" else part.imag / h)

    everything = range(len(scales))
    if expansion != "multilinear":
        return flatten(*shifted(everything))
    first, value = shifted(everything[cut:])
    second, _ = shifted(everything[:cut])
    return flatten([a[:cut] + b[cut:] for a, b in zip(first, second, strict=True)], value)


def flatten(rows, value):
    return np.stack(
        [np.concatenate([value(p).ravel() for layer in row for p in layer if p is not None]) for row in rows]
    )


def close(kernel, expected):
    return np.abs(np.asarray(kernel) - expected).max() <= 1e-10 * np.abs(expected).max()


def away(tools, base, expansion):
    """The moved network, and the model to measure: the network, or the Taylor model of `base` at its weights."""
    moved = tools.move(base, jax.random.PRNGKey(7), 1.5)
    return moved, moved if expansion is None else expand(base, expansion).at(moved)


@pytest.mark.parametrize(
    ("name", "expansion"),
    [("wide", e) for e in (None, "linear", "quadratic")]
    + [("bottleneck", e) for e in (None, "linear", "quadratic", "multilinear")],
)
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_kernel_is_the_gram_matrix_of_the_gradients(tools, name, parameterization, bias, outputs, expansion):
    activation = "tanh" if name == "wide" else "swish"
    options = {"parameterization": parameterization, "activation": activation, "depth": 2}
    options |= {"at": [1]} if name == "bottleneck" else {}
    base = tools.family(name, outputs, bias=bias, output_activation="identity", **options)
    moved, model = away(tools, base, expansion)
    x = tools.inputs(3, 4)
    rows = [taylor_gradients(base, moved, expansion, activation, example) for example in x]
    expected = np.concatenate(rows) @ np.concatenate(rows).T
    kernel = np.asarray(tangent_kernel(model, x))
    assert close(kernel, expected)
    if expansion is not None:  # the kernel of the moved network is another
        network = np.concatenate([taylor_gradients(base, moved, None, activation, example) for example in x])
        assert not close(kernel, network @ network.T)
    if expansion not in (None, "linear"):  # and so is the one at the origin
        linear = np.concatenate([taylor_gradients(base, moved, "linear", activation, example) for example in x])
        assert not close(kernel, linear @ linear.T)
    if bias:  # a kernel that forgets the last bias, whose gradient is the unit vector of the output, is rejected
        assert not close(kernel, expected - np.kron(np.ones((3, 3)), np.eye(outputs)))


def test_cross_kernel_and_output_activation(tools):
    base = tools.family("wide", 2, bias=True, activation="relu", output_activation="tanh")
    _, model = away(tools, base, "quadratic")
    x, z = tools.inputs(3, 4), tools.inputs(2, 4, seed=1)
    expected = tools.jacobian(model, x) @ tools.jacobian(model, z).T
    kernel = eqx.filter_jit(tangent_kernel)(model, x, z)
    assert kernel.shape == (6, 4)
    assert close(kernel, expected)
    output_major = np.asarray(kernel).reshape(3, 2, 2, 2).transpose(1, 0, 3, 2).reshape(6, 4)
    assert not close(output_major, expected)


@pytest.mark.parametrize("expansion", [None, "linear", "quadratic"])
def test_general_quadratic_kernel(tools, expansion):
    base = tools.family("quadratic")
    moved, model = away(tools, base, expansion)
    x = np.asarray(tools.inputs(3, 4))
    weight = np.asarray(base.weight if expansion == "linear" else moved.weight)
    rows = x / np.linalg.norm(x, axis=1, keepdims=True) + 0.3 * np.asarray(base.signature.value) * weight
    kernel = tangent_kernel(model, tools.inputs(3, 4))
    assert close(kernel, rows @ rows.T)
    other = rows + 0.3 * np.asarray(base.signature.value) * np.asarray(moved.weight - base.weight)
    assert not close(kernel, other @ other.T)
