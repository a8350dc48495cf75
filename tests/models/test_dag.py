"""DAG networks against a node-by-node interpreter, with gradients by complex steps instead of JAX."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.models import Dag, Wide, expand, partition, predict
from tangentbench.models.graphs import graph
from tangentbench.models.kernels import predictor_hessian_norm, tangent_kernel
from tangentbench.models.sparse import Gathered, Masked

KEY = jax.random.PRNGKey(2)
GRAPHS = {
    "by hand": {
        "edges": [
            *(["x0", "a"], ["x1", "a"], ["x2", "b"], ["a", "b"], ["a", 7], ["x3", 7]),
            *(["b", "y0"], [7, "y0"], ["x0", "y1"], [7, "y1"], ["a", "y1"]),
        ]
    },
    "densenet": {"generator": {"name": "densenet", "depth": 2, "width": 3}},
    "fully connected": {"generator": {"name": "fully_connected", "depth": 3, "width": 4, "at": [2], "width_at": 3}},
    "lone": {"generator": {"name": "fully_connected", "depth": 3, "width": 4, "lone": True}},
    "residual": {"generator": {"name": "residual", "depth": 3, "width": 3}},
    "dropout": {"generator": {"name": "dropout", "depth": 3, "width": 6}},
    "random": {"generator": {"name": "random_in_degree", "depth": 3, "width": 3}},
    "sparse": {
        "generator": {
            "name": "random_in_degree",
            "depth": 2,
            "width": 2,
            "power": 1.0,
            "nodes": 100,
            "output_reads": "all",
        }
    },  # noqa: E501
}


@eqx.filter_jit
def measure(model, x):
    return predict(model, x), tangent_kernel(model, x)


def build(name, outputs=2, **options):
    return eqx.filter_jit(lambda key: Dag(4, outputs, key=key, **{"activation": "tanh"} | GRAPHS[name] | options))(KEY)


def edges_of(model, name, outputs=2, readout=None):
    """The graph, and per edge its two nodes and its place in the weights: [(from, to, layer, row, column)]."""
    shape = graph(4, outputs, GRAPHS[name].get("edges"), GRAPHS[name].get("generator"))
    shape = shape if readout is None else shape.read_at(readout, 1)
    edges = []
    for index, (level, first, layer) in enumerate(zip(shape.levels, shape.starts, model.layers, strict=True)):
        for row in range(level.size):
            mask = np.ones(level.stop - level.start, bool) if level.mask is None else level.mask[row]
            for place, column in enumerate(np.flatnonzero(mask)):
                at = place if isinstance(layer, Gathered) else column
                edges.append((level.start + int(column), first + row, index, row, at))
    return shape, edges


def interpret(shape, edges, weights, x, degree="own"):
    """Outputs node by node. Complex weights are fine."""
    return preactivations(shape, edges, weights, x, degree)[shape.starts[-1] - shape.inputs :]


def preactivations(shape, edges, weights, x, degree="own"):
    """Σ w f_u / √in(v) of every node above the inputs; f_v is its tanh, plus what a residual node adds."""
    incoming = {}
    for (tail, head, *_), weight in zip(edges, weights, strict=True):
        incoming.setdefault(head, []).append((tail, weight))
    largest = max(map(len, incoming.values()))
    values, found = [*x, *[None] * len(incoming)], []
    for level, first in zip(shape.levels, shape.starts, strict=True):
        for row in range(level.size):
            read = incoming[first + row]
            z = sum(weight * values[tail] for tail, weight in read) / np.sqrt(len(read) if degree == "own" else largest)
            found.append(z)
            values[first + row] = np.tanh(z) if level.skip is None else np.tanh(z) + values[level.skip + row]
    return np.array(found)


def weights_of(model, edges):
    return [np.asarray(model.layers[layer].weight)[row, column] for _, _, layer, row, column in edges]


def jacobian(shape, edges, weights, x, degree="own"):
    """[outputs, edges] by complex steps."""
    columns = []
    for index in range(len(weights)):
        moved = [w + 1e-30j * (k == index) for k, w in enumerate(weights)]
        columns.append(interpret(shape, edges, moved, x, degree).imag / 1e-30)
    return np.stack(columns, axis=1)


def close(found, expected):
    return np.abs(np.asarray(found) - expected).max() <= 1e-10 * np.abs(expected).max()


@pytest.mark.parametrize("name", GRAPHS)
def test_outputs_and_kernel_are_those_of_the_interpreter(tools, name):
    model, x = build(name), np.asarray(tools.inputs(2, 4))
    if name == "sparse":
        assert any(isinstance(layer, Gathered) for layer in model.layers)
    shape, edges = edges_of(model, name)
    weights = weights_of(model, edges)
    expected = np.stack([interpret(shape, edges, weights, example) for example in x])
    found, kernel = measure(model, jnp.asarray(x))
    assert close(found, expected)
    rows = np.concatenate([jacobian(shape, edges, weights, example) for example in x])
    assert close(kernel, rows @ rows.T)
    if name in ("by hand", "dropout", "random"):  # normalising by the largest in-degree is another model
        assert not close(found, np.stack([interpret(shape, edges, weights, e, "largest") for e in x]))
        wrong = np.concatenate([jacobian(shape, edges, weights, example, "largest") for example in x])
        assert not close(kernel, wrong @ wrong.T)


def test_kernels_of_taylor_models(tools):
    """The linear model's gradient is ∇f(w₀) whatever its weights, the quadratic model's is ∇f(w₀) + H(w₀) Δ."""
    base, x = build("by hand"), tools.inputs(2, 4)
    moved = tools.move(base, jax.random.PRNGKey(7), 1.5)
    kernels = {order: measure(expand(base, order).at(moved), x)[1] for order in ("linear", "quadratic")}
    linear = tools.jacobian(base, x)
    f, flat = tools.flat_predictor(base)
    delta = tools.flat_predictor(moved)[1] - flat
    hessian = jax.jit(lambda e: jax.jvp(lambda w: jax.jacrev(f)(w, e), (flat,), (delta,))[1])
    quadratic = linear + np.concatenate([hessian(example) for example in x])
    assert close(kernels["linear"], linear @ linear.T)
    assert close(kernels["quadratic"], quadratic @ quadratic.T)
    assert not close(kernels["linear"], quadratic @ quadratic.T)
    assert np.linalg.eigvalsh(kernels["quadratic"]).min() > -1e-12


def test_a_fully_connected_graph_is_the_wide_network(tools):
    options = {"activation": "swish", "output_activation": "tanh", "init": {"weights": 0.7, "output": "unit_sphere"}}
    wide = Wide(4, 2, key=KEY, depth=3, width=[5, 2, 5], **options)
    generator = {"name": "fully_connected", "depth": 3, "width": 5, "at": [2], "width_at": 2}
    dag = Dag(4, 2, key=KEY, generator=generator, **options)
    x = tools.inputs(3, 4)
    for found, expected in zip(measure(dag, x), measure(wide, x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_nodes_of_a_level_may_change_places(tools):
    """Node 7 before node b: with the weights moved along, nothing changes; without, another network."""
    edges = GRAPHS["by hand"]["edges"]
    base, other = build("by hand"), build("by hand", edges=[edges[0], *edges[:3:-1], *edges[1:4]])
    x = tools.inputs(3, 4)
    hidden, last = (np.asarray(layer.weight) for layer in base.layers[1:])
    assert base.spans[1:] == ((2, 5), (0, 7)) == other.spans[1:]
    moved = [base.layers[0].weight, jnp.asarray(hidden[::-1]), jnp.asarray(last[:, [0, 1, 2, 3, 4, 6, 5]])]
    wrong = [base.layers[0].weight, jnp.asarray(hidden), jnp.asarray(last)]
    for weights, same in ((moved, True), (wrong, False)):
        other = eqx.tree_at(lambda m: [layer.weight for layer in m.layers], other, weights)
        for found, expected in zip(measure(other, x), measure(base, x), strict=True):
            assert close(found, expected) == same


def ancestors(shape, edges, node):
    """The nodes on whose values that of `node` depends, itself included."""
    reads = {node: [] for node in range(shape.starts[-1] + shape.levels[-1].size)}
    for tail, head, *_ in edges:
        reads[head].append(tail)
    for level, first in zip(shape.levels, shape.starts, strict=True):
        for row in range(level.size if level.skip is not None else 0):
            reads[first + row].append(level.skip + row)
    found, stack = {node}, [node]
    while stack:
        new = set(reads[stack.pop()]) - found
        found |= new
        stack += new
    return found


@pytest.mark.parametrize("name", GRAPHS)
def test_hidden_preactivations(tools, name):
    """All of them at once, and the first of each level as the output of a graph that ends there."""
    outputs, x = 2 if name == "by hand" else 1, tools.inputs(1, 4)[0]
    whole = build(name, outputs)
    shape, edges = edges_of(whole, name, outputs)
    weights = weights_of(whole, edges)
    expected = preactivations(shape, edges, weights, np.asarray(x))
    found = whole.preactivations(x)
    assert [z.shape[0] for z in found] == [level.size for level in shape.levels]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-10, atol=1e-12)
    for level, node in enumerate(shape.starts[:-1], start=1):
        part = Dag(4, 1, key=KEY, activation="tanh", readout=level, **GRAPHS[name])
        # the rest of the graph keeps its order, so its edges are those of the whole that end at an ancestor; of the
        # output itself only the edges count, not what a residual node adds to it
        own = [edge[0] for edge in edges if edge[1] == node]
        needed = {node}.union(*(ancestors(shape, edges, tail) for tail in own))
        kept = iter([weight for edge, weight in zip(edges, weights, strict=True) if edge[1] in needed])
        moved = [np.asarray(layer.weight).copy() for layer in part.layers]
        for _, _, index, row, column in edges_of(part, name, outputs, level)[1]:
            moved[index][row, column] = next(kept)
        assert next(kept, None) is None
        part = eqx.tree_at(lambda m: [layer.weight for layer in m.layers], part, list(map(jnp.asarray, moved)))
        z = part(x)
        assert close(z, expected[node - shape.inputs])
        assert not close(z, np.tanh(expected[node - shape.inputs]))  # its value is something else


def test_the_first_level_is_linear_in_its_weights(tools):
    x = tools.inputs(1, 4)[0]
    assert np.abs(tools.hessians(build("densenet", readout=1), x)).max() == 0
    assert np.abs(tools.hessians(build("densenet", readout=2), x)).max() > 0.01


@pytest.mark.parametrize(
    ("name", "generator"),
    [
        ("dropout", {"name": "dropout", "depth": 3, "width": 22}),
        ("residual", {"name": "residual", "depth": 2, "width": 6}),
        ("by hand", None),
    ],
)
def test_hessian_norm_is_that_of_the_dense_hessian(tools, name, generator):
    options = {"edges": GRAPHS["by hand"]["edges"]} if generator is None else {"generator": generator}
    model = Dag(4, 2 if generator is None else 1, key=KEY, activation="tanh", **options)
    x = tools.inputs(1, 4)[0]
    exists = [np.asarray(layer.mask) if isinstance(layer, Masked | Gathered) else np.ones(layer.weight.shape, bool)
              for layer in model.layers]  # fmt: skip
    kept = np.concatenate([mask.ravel() for mask in exists])
    hessians = tools.hessians(model, x)
    assert np.abs(hessians[:, ~kept]).max(initial=0) == 0
    norms = np.abs(np.linalg.eigvalsh(hessians[:, kept][:, :, kept])).max(1)
    estimate = eqx.filter_jit(predictor_hessian_norm)(model, x, KEY, 40)
    assert float(estimate.value) == pytest.approx(norms.max(), rel=1e-8)
    assert float(estimate.residual) < 1e-6


def test_weights_of_missing_edges_are_zero_and_not_moved():
    for name in ("dropout", "sparse"):
        model = build(name, init={"output": "rademacher"})
        for layer in model.layers:
            if isinstance(layer, Masked | Gathered):
                assert np.all(np.asarray(layer.weight)[~np.asarray(layer.mask)] == 0)
                degrees = np.asarray(layer.mask).sum(1)
                np.testing.assert_allclose(layer.scale.value, 1 / np.sqrt(degrees), rtol=1e-14)
        slope = eqx.filter_jit(jax.grad(lambda p, r: jnp.sum(eqx.combine(p, r)(jnp.ones(4)))))(*partition(model))
        for layer, grad in zip(model.layers, slope.layers, strict=True):
            if isinstance(layer, Masked | Gathered):
                assert np.all(np.asarray(grad.weight)[~np.asarray(layer.mask)] == 0)
                assert np.any(np.asarray(grad.weight) != 0)


def test_errors():
    with pytest.raises(ValueError, match="'tahn' is not one of"):
        build("densenet", activation="tahn")
    with pytest.raises(ValueError, match="the data need y0, y1, y2"):
        build("by hand", 3)
    with pytest.raises(ValueError, match="readout must name a hidden level from 1 to 2, got 3"):
        build("by hand", readout=3)
    with pytest.raises(ValueError, match="level 1 has 1 nodes, but the data ask for 2 outputs"):
        build("by hand", readout=1)
