"""Graphs that hypothesis makes up, and their networks node by node: names and numbers, without a graph's levels."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from tangentbench.models import Dag
from tangentbench.models.sparse import Gathered

Edges = Sequence[Sequence[str | int]]
Weights = Mapping[tuple[str, str], Any]


@st.composite
def edge_lists(draw):
    """Edges from any node to a later one; every hidden node reads and is read."""
    hidden = draw(st.integers(1, 6))
    nodes = ["x0", "x1", *range(hidden), "y0"]
    edges = []
    for place in range(2, len(nodes)):
        readable = nodes[:place]
        edges += [[source, nodes[place]] for source in draw(st.sets(st.sampled_from(readable), min_size=1))]
    read = {str(tail) for tail, _ in edges}
    edges += [[node, "y0"] for node in nodes[2:-1] if str(node) not in read]
    return draw(st.permutations(edges))


def named(edges: Edges) -> list[tuple[str, str]]:
    return [(str(tail), str(head)) for tail, head in edges]


def drawn(edges: Edges, seed: int) -> dict[tuple[str, str], float]:
    """A weight for every edge, whatever the order of the edges."""
    return dict(zip(sorted(named(edges)), np.random.default_rng(seed).standard_normal(len(edges)), strict=True))


def interpret(edges: Edges, weights: Weights, x: np.ndarray) -> Any:
    """Output y0, node by node. Complex weights are fine."""
    reads: dict[str, list[str]] = {}
    for tail, head in named(edges):
        reads.setdefault(head, []).append(tail)

    def value(node: str) -> Any:
        if node[0] == "x":
            return x[int(node[1:])]
        z = sum(weights[tail, node] * value(tail) for tail in reads[node]) / np.sqrt(len(reads[node]))
        return z if node == "y0" else np.tanh(z)

    return value("y0")


def gradient(edges: Edges, weights: Weights, x: np.ndarray) -> np.ndarray:
    """By complex steps, in the order of the sorted names of the edges."""
    order = sorted(named(edges))
    return np.array([interpret(edges, {**weights, edge: weights[edge] + 1e-30j}, x).imag / 1e-30 for edge in order])


def hessian(edges: Edges, weights: Weights, x: np.ndarray, h: float = 1e-6) -> np.ndarray:
    """By central differences of `gradient`, which are off by about 1e-9."""
    rows = []
    for edge in sorted(named(edges)):
        ahead, behind = (gradient(edges, {**weights, edge: weights[edge] + s * h}, x) for s in (1, -1))
        rows.append((ahead - behind) / (2 * h))
    return np.array(rows)


def places(model: Dag, edges: Edges) -> dict[tuple[str, str], tuple[int, int, int]]:
    """Where the model keeps the weight of an edge: layer, row and column.

    Levels are longest paths from the inputs; within one, nodes stand in the order of their first appearance.
    """
    pairs = named(edges)
    nodes = list(dict.fromkeys(node for pair in pairs for node in pair))

    def height(node: str) -> int:
        return 0 if node[0] == "x" else 1 + max(height(tail) for tail, head in pairs if head == node)

    rows = [[node for node in nodes if node != "y0" and height(node) == k] for k in range(1, height("y0"))]
    rows.append(["y0"])
    number = {node: k for k, node in enumerate(["x0", "x1", *(node for row in rows for node in row)])}
    found = {}
    for index, (row, layer) in enumerate(zip(rows, model.layers, strict=True)):
        for k, node in enumerate(row):
            read = sorted(number[tail] for tail, head in pairs if head == node)
            for tail, head in pairs:
                if head == node:
                    column = number[tail] - model.spans[index][0]
                    found[tail, head] = index, k, read.index(number[tail]) if isinstance(layer, Gathered) else column
    return found


def network(edges: Edges, weights: Weights) -> Dag:
    """The tanh network with these weights on its edges."""
    model = Dag(2, 1, key=jax.random.key(0), activation="tanh", edges=edges)
    values = [np.zeros(layer.weight.shape) for layer in model.layers]
    for edge, (index, row, column) in places(model, edges).items():
        values[index][row, column] = weights[edge]
    return eqx.tree_at(lambda m: [layer.weight for layer in m.layers], model, list(map(jnp.asarray, values)))


def chosen(model: Dag, edges: Edges) -> np.ndarray:
    """Where the edges' weights stand in the flat parameters, in the order of their sorted names."""
    sizes = [layer.weight.size for layer in model.layers]
    starts, where = np.cumsum([0, *sizes]), places(model, edges)
    widths = [layer.weight.shape[1] for layer in model.layers]
    return np.array([starts[i] + row * widths[i] + column for i, row, column in map(where.__getitem__, sorted(where))])
