"""What holds for a network on any graph, on graphs that are made up; and that each property can be missed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from tangentbench.models import dag, expand, partition, predict, sparse
from tangentbench.models.kernels import tangent_kernel
from tangentbench.models.sparse import Gathered, Masked

from . import generated

X = np.random.default_rng(3).standard_normal((3, 2))


@pytest.fixture(scope="module", params=["masked", "gathered"])
def layers(request):
    """All layers are of this kind, whatever edges they have."""
    kind = {"masked": sparse.masked, "gathered": sparse.gathered}[request.param]

    def places(mask, shape):
        return (shape[0], int(mask.sum(1).max())) if mask is not None and request.param == "gathered" else shape

    def layer(mask, noise, draw):
        del draw
        return kind(np.ones(noise.shape, bool) if mask is None else mask, jnp.zeros_like(noise))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dag, "places", places)
        patch.setattr(dag, "layer", layer)
        yield Gathered if request.param == "gathered" else Masked


def flat(model):
    params, rest = partition(model)
    vector, unravel = ravel_pytree(params)
    return vector, lambda w, x: eqx.combine(unravel(w), rest)(x)[0]


def less(model, x):
    return {
        "outputs": predict(model, x)[:, 0],
        "kernel": tangent_kernel(model, x),
    }


measure_less = eqx.filter_jit(less)


@eqx.filter_jit
def measure(model, moved, x):
    """And the dense Hessian of the output, and kernels of Taylor models at other weights."""
    w, f = flat(model)
    return {
        **less(model, x),
        "hessian": jax.jacfwd(jax.jacrev(f))(w, x[0]),
        "linear": tangent_kernel(expand(model, "linear").at(moved), x),
        "quadratic": tangent_kernel(expand(model, "quadratic").at(moved), x),
    }


def close(found, expected, tolerance=1e-10):
    scale = np.abs(np.asarray(expected)).max()
    return bool(np.abs(np.asarray(found) - expected).max() <= tolerance * scale + 1e-14)


def symmetric(matrix):
    return close(matrix, np.asarray(matrix).T, 1e-11)


def semi_definite(kernel):
    values = np.linalg.eigvalsh(kernel)
    return symmetric(kernel) and values[0] >= -1e-12 * values[-1]


# every graph is a program of its own: few of them, and no search for the smallest that fails
@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(edges=generated.edge_lists(), order=st.randoms(use_true_random=False), seed=st.integers(0, 99))
def test_of_any_graph(layers, edges, order, seed):
    weights, other = generated.drawn(edges, seed), generated.drawn(edges, seed + 100)
    model = generated.network(edges, weights)
    assert {type(one) for one in model.layers} == {layers}
    found = measure(model, generated.network(edges, other), jnp.asarray(X))
    rows = np.array([generated.gradient(edges, weights, x) for x in X])
    assert close(found["outputs"], [generated.interpret(edges, weights, x) for x in X])
    assert close(found["kernel"], rows @ rows.T)
    assert semi_definite(found["kernel"])
    assert semi_definite(found["quadratic"])

    dense = generated.hessian(edges, weights, X[0])
    where = generated.chosen(model, edges)
    elsewhere = np.setdiff1d(np.arange(len(found["hessian"])), where)
    assert symmetric(found["hessian"])
    assert close(found["hessian"][np.ix_(where, where)], dense, 1e-6)
    assert not found["hessian"][elsewhere].any()  # what is no edge has no weight

    assert close(found["linear"], found["kernel"])  # at any weights

    # other names and another order: each level's nodes change places, and their weights with them
    hidden = sorted({node for pair in generated.named(edges) for node in pair if node[0] not in "xy"})
    names = dict(zip(hidden, order.sample(hidden, len(hidden)), strict=True))
    shuffled = order.sample(generated.named(edges), len(edges))
    renamed = [[names.get(tail, tail), names.get(head, head)] for tail, head in shuffled]
    along = {(names.get(tail, tail), names.get(head, head)): weight for (tail, head), weight in weights.items()}
    again = measure_less(generated.network(renamed, along), jnp.asarray(X))
    for label, value in again.items():
        assert close(value, found[label], 1e-9), label


EDGES = [["x0", 0], ["x1", 1], ["x0", 1], ["x1", 2], [0, 3], [1, 3], [1, "y0"], [2, "y0"], [3, "y0"]]


def test_each_property_can_be_missed(layers):
    weights, other = generated.drawn(EDGES, 1), generated.drawn(EDGES, 2)
    model, moved = generated.network(EDGES, weights), generated.network(EDGES, other)
    x = jnp.asarray(X)
    found = measure(model, moved, x)
    own = measure(moved, model, x)
    # a quadratic model's kernel moves, and so does the network's
    assert not close(found["quadratic"], found["kernel"], 1e-2) and not close(own["kernel"], found["kernel"], 1e-2)
    # the gradients of two states make no kernel, nor does one layer's share less that of the others
    rows, others = (np.array([generated.gradient(EDGES, w, e) for e in X]) for w in (weights, other))
    assert semi_definite(rows @ rows.T) and not symmetric(rows @ others.T)
    last = np.array([head == "y0" for _, head in sorted(weights)])
    less_last = rows[:, ~last] @ rows[:, ~last].T - rows[:, last] @ rows[:, last].T
    assert symmetric(less_last) and not (semi_definite(less_last) and semi_definite(-less_last))
    # nodes that change places without their weights
    names = {"0": "1", "1": "0"}
    renamed = [[names.get(str(tail), tail), names.get(str(head), head)] for tail, head in EDGES]
    forgotten = {(names.get(tail, tail), names.get(head, head)): 0.0 for tail, head in weights}
    forgotten = dict(zip(sorted(forgotten), [weights[edge] for edge in sorted(weights)], strict=True))
    assert not close(predict(generated.network(renamed, forgotten), x)[:, 0], found["outputs"], 1e-2)
    # a gradient whose backward pass goes over other edges than its forward pass is no gradient
    if layers is Gathered:
        back = model.layers[1].edges.back
        crossed = eqx.tree_at(lambda m: m.layers[1].edges.back, model, back[::-1])
        assert not symmetric(measure(crossed, moved, x)["hessian"])
