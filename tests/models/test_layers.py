"""Initialisation laws, the two parameterisations, activations, and the errors of the constructors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.models import Bottleneck, GeneralQuadratic, Init, Wide, partition, predict
from tangentbench.models.layers import ACTIVATIONS, Dense, Factors, sigma0

KEY = jax.random.PRNGKey(0)


def weights(model):
    return [np.asarray(layer.weight) for layer in model.chain.layers]


def z_of_variance(sample, variance):
    """Distance of the sample variance of a centred normal sample from `variance`, in its standard errors."""
    return abs(np.mean(sample**2) - variance) / (variance * math.sqrt(2 / sample.size))


def test_ntk_forward_is_the_written_formula(tools):
    model = tools.family("wide", outputs=3, bias=True)
    x = np.asarray(tools.inputs(1, 4)[0])
    h = x
    for layer in model.chain.layers[:-1]:
        h = np.tanh(np.asarray(layer.weight) @ h / np.sqrt(h.size) + np.asarray(layer.bias))
    last = model.chain.layers[-1]
    expected = np.asarray(last.weight) @ h / np.sqrt(h.size) + np.asarray(last.bias)
    np.testing.assert_allclose(model(jnp.asarray(x)), expected, rtol=1e-14)


def test_parameterisations_agree_at_init_and_move_differently(tools):
    ntk, standard = (tools.family("wide", parameterization=name) for name in ("ntk", "standard"))
    x = tools.inputs(3, 4)
    np.testing.assert_allclose(predict(ntk, x), predict(standard, x), rtol=1e-13)
    np.testing.assert_allclose(tools.jacobian(ntk, x)[:, -6:] * math.sqrt(6), tools.jacobian(standard, x)[:, -6:])


@pytest.mark.parametrize(
    ("law", "expected"),
    [("ntk", 1.0), (0.5, 0.5), ({"sigma1": 1.5}, 1.5 / (2 * (1 + math.sqrt(math.log(200)) / math.sqrt(400))))],
)
def test_hidden_weights_have_the_declared_deviation(law, expected):
    model = Wide(50, 1, key=KEY, depth=2, width=200, activation="relu", init={"weights": law})
    for hidden in weights(model)[:-1]:
        assert z_of_variance(hidden, expected**2) < 4
        assert z_of_variance(hidden, (1.1 * expected) ** 2) > 4  # the test can tell 10% apart


def test_sigma0_bounds_the_spectral_norm():
    width, sigma1 = 300, 1.5
    weight = Init(weights={"sigma1": sigma1}).hidden(jax.random.normal(KEY, (width, width)))
    norm = float(jnp.linalg.norm(weight, 2))
    assert norm <= sigma1 * math.sqrt(width)
    assert norm > 0.8 * sigma1 * math.sqrt(width)
    assert sigma0(1.0, 1) == 0.5


def test_standard_weights_are_divided_by_root_fan_in():
    model = Wide(50, 1, key=KEY, depth=2, width=200, activation="relu", parameterization="standard")
    first, second, _ = weights(model)
    assert z_of_variance(first, 1 / 50) < 4
    assert z_of_variance(second, 1 / 200) < 4
    assert z_of_variance(second, 1) > 4


def test_output_laws():
    def last(law):
        return weights(Wide(3, 2, key=KEY, depth=1, width=500, activation="relu", init={"output": law}))[-1]

    assert set(np.unique(last("rademacher"))) == {-1.0, 1.0}
    assert abs(last("rademacher").mean()) < 4 / math.sqrt(1000)
    np.testing.assert_allclose(np.linalg.norm(last("unit_sphere"), axis=1), 1, rtol=1e-14)
    assert not last("zero").any()
    assert z_of_variance(last("normal"), 1) < 4


def test_biases_have_their_deviation_and_do_not_change_the_weights():
    options = {"key": KEY, "depth": 1, "width": 2000, "activation": "relu"}
    with_bias = Wide(3, 1, bias=True, init={"bias_std": 0.3}, **options)
    without = Wide(3, 1, bias=False, **options)
    assert z_of_variance(np.asarray(with_bias.chain.layers[0].bias), 0.09) < 4
    assert without.chain.layers[0].bias is None
    for one, other in zip(weights(with_bias), weights(without), strict=True):
        np.testing.assert_array_equal(one, other)


def test_output_variance_of_a_linear_network_is_one():
    """NTK parameterisation, identity activation: Var f(x) = ‖x‖²/d over initialisations, whatever depth and width."""
    x = jnp.ones(5)
    keys = jax.random.split(KEY, 4000)
    outputs = jax.vmap(lambda key: Wide(5, 1, key=key, depth=1, width=64, activation="identity")(x))(keys)
    squares = np.asarray(outputs[:, 0]) ** 2
    error = squares.std() / math.sqrt(squares.size)
    assert abs(squares.mean() - 1) < 4 * error
    assert abs(squares.mean() - 1.5) > 4 * error


def test_activations_have_their_second_derivatives():
    def second(name, at):
        def slope(z):
            return jax.jvp(ACTIVATIONS[name], (z,), (jnp.ones(()),))[1]

        return float(jax.jvp(slope, (jnp.asarray(at),), (jnp.ones(()),))[1])

    for at in (-0.7, 0.0, 0.7):
        assert second("relu", at) == 0
        assert second("identity", at) == 0
    density = math.exp(-0.25 / 2) / math.sqrt(2 * math.pi)
    assert second("gelu", 0.5) == pytest.approx((2 - 0.25) * density, rel=1e-12)  # of z·Φ(z); the tanh form differs
    tanh = math.tanh(0.5)
    assert second("tanh", 0.5) == pytest.approx(-2 * tanh * (1 - tanh**2), rel=1e-12)
    s = 1 / (1 + math.exp(-0.5))
    assert second("swish", 0.5) == pytest.approx(s * (1 - s) * (2 + 0.5 * (1 - 2 * s)), rel=1e-12)


def test_partition_leaves_frozen_arrays_out(tools):
    model = tools.family("quadratic")
    params, rest = partition(model)
    assert [leaf.shape for leaf in jax.tree.leaves(params)] == [(4,)]
    assert sorted(leaf.shape for leaf in jax.tree.leaves(rest)) == [(), (4,)]


def test_general_quadratic_is_its_formula(tools):
    model = tools.family("quadratic")
    x = np.array([1.0, -2.0, 0.5, 3.0])
    w, signs = np.asarray(model.weight), np.asarray(model.signature.value)
    expected = w @ x / np.linalg.norm(x) + 0.15 * w @ np.diag(signs) @ w
    np.testing.assert_allclose(model(jnp.asarray(x)), [expected], rtol=1e-14)
    pure = GeneralQuadratic(4, 1, key=KEY, gamma=0.3, signature="positive", linear=False)
    np.testing.assert_allclose(pure(jnp.asarray(x)), [0.15 * np.sum(np.asarray(pure.weight) ** 2)], rtol=1e-14)
    signs = np.asarray(GeneralQuadratic(400, 1, key=KEY).signature.value)
    assert set(signs) == {-1.0, 1.0} and abs(signs.mean()) < 4 / 20


def test_gamma_can_be_batched(tools):
    gammas, x = jnp.array([0.1, 0.2]), tools.inputs(1, 4)[0]
    batch = jax.vmap(lambda gamma: GeneralQuadratic(4, 1, key=KEY, gamma=gamma))(gammas)
    for index, gamma in enumerate(gammas):
        single = GeneralQuadratic(4, 1, key=KEY, gamma=float(gamma))(x)
        np.testing.assert_allclose(jax.vmap(lambda m: m(x))(batch)[index], single, rtol=1e-14)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Wide(2, 1, key=KEY, depth=1, width=3, activation="rleu"), "did you mean 'relu'"),
        (lambda: Wide(2, 1, key=KEY, depth=2, width=[3], activation="relu"), "one width per layer"),
        (lambda: Wide(2, 1, key=KEY, depth=1, width=0, activation="relu"), "at least 1"),
        (lambda: Wide(2, 1, key=KEY, depth=1, width=3, activation="relu", parameterization="mup"), "'standard'"),
        (lambda: Wide(2, 1, key=KEY, depth=1, width=3, activation="relu", init={"weight": 1.0}), "'weights'"),
        (lambda: Wide(2, 1, key=KEY, depth=1, width=3, activation="relu", init={"weights": "he"}), "'ntk'"),
        (lambda: Wide(2, 1, key=KEY, depth=1, width=3, activation="relu", init={"weights": {"s": 1.0}}), "sigma1"),
        (lambda: Wide(2, 1, key=KEY, depth=1, width=3, activation="relu", init={"output": "one"}), "'rademacher'"),
        (lambda: Bottleneck(2, 1, key=KEY, depth=2, width=3, bottleneck_width=1, at=[3]), "depth=2"),
        (lambda: Bottleneck(2, 1, key=KEY, depth=2, width=3, bottleneck_width=1, at=[2, 1]), "increasing"),
        (lambda: GeneralQuadratic(2, 3, key=KEY), "one output"),
        (lambda: GeneralQuadratic(2, 1, key=KEY, signature="negative"), "'positive'"),
    ],
)
def test_errors_say_what_to_type(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_bottleneck_blocks_cover_every_parameter_once(tools):
    model = tools.family("bottleneck", bias=True, depth=4, at=[1, 3])
    widths = [layer.weight.shape[0] for layer in model.chain.layers]
    assert widths == [2, 6, 2, 6, 1]
    blocks = model.blocks()
    owners = [[layer.weight for layer in block.chain.layers].index(True) for block in blocks]
    assert owners == [0, 1, 3]
    counts = jax.tree.map(lambda *flags: sum(flags), *blocks)
    assert set(jax.tree.leaves(counts)) == {1}


@pytest.mark.parametrize("bias", [False, True])
def test_gram_of_a_dense_layer_is_that_of_its_gradients(bias):
    """Between others, and among themselves, where half of the crossed pairs are transposes of the other half."""
    rng = np.random.default_rng(4)
    layer = Dense(jnp.asarray(rng.normal(size=(4, 5))), jnp.zeros(4) if bias else None)

    def factors(n):
        return Factors(jnp.asarray(rng.normal(size=(2, n, 5))), jnp.asarray(rng.normal(size=(2, n, 3, 4))))

    left, right = factors(3), factors(2)
    flat = {}
    for name, side in (("left", left), ("right", right)):
        weights = np.einsum("rncw,rnf->ncwf", side.cotangents, side.inputs) / np.sqrt(5)
        parts = [weights.reshape(*weights.shape[:2], -1), np.asarray(side.cotangents[0])]
        flat[name] = np.concatenate(parts[: 1 + bias], axis=2)
    crossed = np.einsum("ncp,mdp->ncmd", flat["left"], flat["right"])
    np.testing.assert_allclose(layer.gram(left, right), crossed, rtol=1e-12, atol=1e-12)
    own = np.einsum("ncp,mdp->ncmd", flat["left"], flat["left"])
    np.testing.assert_allclose(layer.gram(left, left), own, rtol=1e-12, atol=1e-12)
    one_sided = (left.inputs[0] @ left.inputs[1].T)[:, None, :, None] / 5
    one_sided = one_sided * np.einsum("ncw,mdw->ncmd", left.cotangents[0], left.cotangents[1])
    untransposed = own + one_sided - one_sided.transpose(2, 3, 0, 1)
    assert np.abs(untransposed - own).max() > 1e-3 * np.abs(own).max()
