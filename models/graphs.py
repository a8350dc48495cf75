"""Feed-forward graphs, sorted into levels: the shape of a `Dag` without its weights. Numpy only.

Nodes are numbered: first the inputs, then the nodes of level 1, of level 2, and so on; the outputs are the last level.
The level of a node is the length of the longest path that leads to it from the inputs. Its width is the paper's: the
smallest in-degree above the first hidden level. The generators draw what is random in a graph from a seed of its own,
so a graph is as fixed as a width: the theorem speaks of random weights on a given graph.

Source: arXiv 2205.11786, Section 2
"""

import functools
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from .layers import check_choice

Edge = Sequence[str | int]


@dataclass(frozen=True, eq=False)
class Level:
    """Nodes of one level.

    Attributes:
        size: how many they are.
        start, stop: they read nodes in this range of numbers.
        mask: [size, stop - start], which of those each one reads; None for all.
        skip: number of the first of `size` nodes whose values are added to theirs after the activation, on edges of
            weight 1 that do not count as incoming; None for none.
    """

    size: int
    start: int
    stop: int
    mask: np.ndarray | None = None
    skip: int | None = None

    @property
    def in_degrees(self) -> np.ndarray:
        """Incoming edges of every node [size]."""
        return np.full(self.size, self.stop - self.start) if self.mask is None else self.mask.sum(1)


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph with `inputs` input nodes; the last of its levels are the outputs."""

    inputs: int
    levels: tuple[Level, ...]

    @property
    def starts(self) -> list[int]:
        """Number of the first node of every level."""
        return [self.inputs + sum(level.size for level in self.levels[:k]) for k in range(len(self.levels))]

    @property
    def width(self) -> int:
        """Smallest in-degree above the first level, the outputs included; the number of inputs if there is no more."""
        return min((int(level.in_degrees.min()) for level in self.levels[1:]), default=self.inputs)

    def read_at(self, level: int, nodes: int) -> "Graph":
        """The graph that ends at a hidden level, counted from 1: its first `nodes` nodes are the outputs.

        ValueError for a level or a number of nodes that it does not have.
        """
        if not 1 <= level < len(self.levels):
            raise ValueError(f"readout must name a hidden level from 1 to {len(self.levels) - 1}, got {level}")
        last = self.levels[level - 1]
        if nodes > last.size:
            raise ValueError(f"level {level} has {last.size} nodes, but the data ask for {nodes} outputs")
        mask = None if last.mask is None else last.mask[:nodes]
        return Graph(self.inputs, (*self.levels[: level - 1], Level(nodes, last.start, last.stop, mask))).pruned()

    def pruned(self) -> "Graph":
        """Without the hidden nodes from which no output is reached."""
        kept = np.zeros(self.starts[-1] + self.levels[-1].size, bool)
        kept[: self.inputs] = kept[self.starts[-1] :] = True
        for level, first in zip(self.levels[::-1], self.starts[::-1], strict=True):
            mine = kept[first : first + level.size]
            if level.mask is None:
                kept[level.start : level.stop] |= mine.any()
            else:
                kept[level.start : level.stop] |= level.mask[mine].any(0)
            if level.skip is not None:
                kept[level.skip : level.skip + level.size] |= mine
        if kept.all():
            return self
        number = np.concatenate([[0], np.cumsum(kept)])  # of a node, among those kept
        levels = []
        for level, first in zip(self.levels, self.starts, strict=True):
            mine, read = kept[first : first + level.size], kept[level.start : level.stop]
            mask = None if level.mask is None else level.mask[mine][:, read]
            skip = None if level.skip is None else int(number[level.skip])
            start, stop = int(number[level.start]), int(number[level.stop])
            levels.append(_tight(Level(int(mine.sum()), start, stop, mask, skip)))
        return Graph(self.inputs, tuple(levels))


def _tight(level: Level) -> Level:
    """The same level, with no node before the first or after the last that is read, and no mask that says nothing."""
    if level.mask is None:
        return level
    read = np.flatnonzero(level.mask.any(0))
    low, high = int(read[0]), int(read[-1]) + 1
    mask = level.mask[:, low:high]
    start, stop = level.start + low, level.start + high
    return replace(level, start=start, stop=stop, mask=None if mask.all() else mask)


def of_edges(inputs: int, outputs: int | None, edges: Iterable[Edge]) -> Graph:
    """The graph of edges [from, to] between named nodes: inputs x0, x1, …, outputs y0, y1, …, any other name is hidden.

    Within a level nodes stand in the order of their first appearance; inputs that are not named are not read.
    outputs: how many there must be; None for any number. ValueError for a cycle, nodes that read nothing or lead
    nowhere, inputs that read, outputs that are read, and inputs or outputs that are not those of the data.
    """
    sources: dict[str, list[str]] = {}
    for tail, head in edges:
        sources.setdefault(str(tail), [])
        sources.setdefault(str(head), []).append(str(tail))
    try:
        order = list(TopologicalSorter(sources).static_order())
    except CycleError as error:
        raise ValueError(f"the graph has a cycle: {' -> '.join(error.args[1])}") from error
    named = [node for node in sources if re.fullmatch(r"y\d+", node)]
    ends = [f"y{k}" for k in range(len(named) if outputs is None else outputs)]
    if not named or set(named) != set(ends):
        raise ValueError(f"the graph's outputs are {', '.join(sorted(named))}, but the data need {', '.join(ends)}")
    number = {f"x{k}": k for k in range(inputs)}
    unknown = [node for node in sources if re.fullmatch(r"x\d+", node) and node not in number]
    if unknown:
        raise ValueError(f"the graph reads {', '.join(unknown)}, but the data's inputs are x0 to x{inputs - 1}")
    height = dict.fromkeys(number, 0)
    for node in order:
        if (node in number) == bool(sources[node]):
            raise ValueError(f"node {node!r} {'is an input and' if node in number else 'is no input but'} "
                             f"reads {', '.join(sources[node]) or 'nothing'}")  # fmt: skip
        height[node] = 1 + max((height[source] for source in sources[node]), default=-1)
    used = set(ends)
    for node in reversed(order):
        used.update(sources[node] if node in used else ())
    read = {source for node in sources for source in sources[node]}
    for node in sources:
        if node not in used or (node in ends and node in read):
            raise ValueError(f"node {node!r} {'is an output and read' if node in ends else 'leads to no output'}")
    hidden = [node for node in sources if height[node] and node not in ends]
    rows = [[node for node in hidden if height[node] == h] for h in range(1, max(height[end] for end in ends))]
    levels = []
    for row in [*rows, ends]:
        mask = np.zeros((len(row), len(number)), bool)
        for k, node in enumerate(row):
            mask[k, [number[source] for source in sources[node]]] = True
        levels.append(_tight(Level(len(row), 0, len(number), mask)))
        number |= {node: len(number) + k for k, node in enumerate(row)}
    return Graph(inputs, tuple(levels))


# -- generators -------------------------------------------------------------------------------------------------------


def _layers(inputs: int, widths: Sequence[int], outputs: int) -> Graph:
    """Every level reads the level before it."""
    levels, first = [], 0
    for fan_in, size in zip((inputs, *widths), (*widths, outputs), strict=True):
        levels.append(Level(size, first, first + fan_in))
        first += fan_in
    return Graph(inputs, tuple(levels))


def fully_connected(
    inputs: int,
    outputs: int,
    *,
    depth: int,
    width: int | Sequence[int],
    at: Sequence[int] = (),
    width_at: int | None = None,
    lone: bool = False,
) -> Graph:
    """`depth` hidden levels of `width` nodes, or of the widths listed; those in `at` have `width_at`.

    lone: the last node of every hidden level from the second on reads only the first one of the level before. Its
    in-degree is 1, and so is the paper's width, but no other path needs it.
    """
    widths = [width] * depth if isinstance(width, int) else list(width)
    for place in at:
        assert width_at is not None
        widths[place - 1] = width_at
    graph = _layers(inputs, widths, outputs)
    if not lone:
        return graph
    middle = []
    for level in graph.levels[1:-1]:
        mask = np.ones((level.size, level.stop - level.start), bool)
        mask[-1, 1:] = False
        middle.append(_tight(replace(level, mask=mask)))
    return Graph(inputs, (graph.levels[0], *middle, graph.levels[-1])).pruned()


def densenet(inputs: int, outputs: int, *, depth: int, width: int) -> Graph:
    """Every level reads all earlier ones, the inputs included (arXiv 2205.11786, Section 2: DenseNet)."""
    graph = _layers(inputs, [width] * depth, outputs)
    return Graph(inputs, tuple(replace(level, start=0) for level in graph.levels))


def residual(inputs: int, outputs: int, *, depth: int, width: int) -> Graph:
    """Fully connected; from the second on, a hidden level adds the values of the level before it to its own."""
    graph = _layers(inputs, [width] * depth, outputs)
    middle = [replace(level, skip=level.start) for level in graph.levels[1:-1]]
    return Graph(inputs, (graph.levels[0], *middle, graph.levels[-1]))


def dropout(inputs: int, outputs: int, *, depth: int, width: int, keep: float = 0.5, graph_seed: int = 0) -> Graph:
    """Fully connected, each edge kept with probability `keep`; a node that would read nothing keeps one edge."""
    rng = np.random.Generator(np.random.PCG64(graph_seed))
    levels = []
    for level in _layers(inputs, [width] * depth, outputs).levels:
        mask = rng.random((level.size, level.stop - level.start)) < keep
        empty = np.flatnonzero(~mask.any(1))
        mask[empty, rng.integers(mask.shape[1], size=empty.size)] = True
        levels.append(_tight(replace(level, mask=mask)))
    return Graph(inputs, tuple(levels)).pruned()


def random_in_degree(
    inputs: int,
    outputs: int,
    *,
    depth: int,
    width: int,
    power: float = 1.5,
    nodes: int | None = None,
    reads: str = "previous",
    output_reads: str = "width",
    graph_seed: int = 0,
) -> Graph:
    """In-degrees drawn log-uniformly from [width, width^power], of distinct nodes.

    The first hidden level reads all inputs. Levels have `nodes` nodes, width^power unless given, before those that
    nobody reads are dropped.
    reads: sample from the "previous" hidden level, or from "all" earlier ones (at least one node from the previous).
    output_reads: outputs have in-degree `width`, or read "all" of the last level.
    """
    rng = np.random.Generator(np.random.PCG64(graph_seed))
    most = math.ceil(width**power - 1e-9)
    size = most if nodes is None else nodes
    levels = [Level(size, 0, inputs)]
    for k in range(1, depth):
        before = inputs + (k - 1) * size  # first node of the previous level
        start = before if reads == "previous" else inputs
        degrees = np.rint(np.exp(rng.uniform(math.log(width), math.log(most), size))).astype(int)
        levels.append(_tight(Level(size, start, before + size, _sampled(rng, degrees, before + size - start, size))))
    first = inputs + (depth - 1) * size
    mask = None if output_reads == "all" else _sampled(rng, np.full(outputs, width), size, size)
    levels.append(_tight(Level(outputs, first, first + size, mask)))
    return Graph(inputs, tuple(levels)).pruned()


def _sampled(rng: np.random.Generator, degrees: np.ndarray, pool: int, last: int) -> np.ndarray:
    """Rows with so many True each, at random places; at least one among the `last` places."""
    mask = np.zeros((degrees.size, pool), bool)
    for row, degree in zip(mask, degrees, strict=True):
        row[pool - last + rng.integers(last)] = True
        others = np.flatnonzero(~row)
        row[rng.choice(others, degree - 1, replace=False, shuffle=False)] = True
    return mask


GENERATORS: Mapping[str, Callable[..., Graph]] = {
    "fully_connected": fully_connected,
    "densenet": densenet,
    "residual": residual,
    "dropout": dropout,
    "random_in_degree": random_in_degree,
}


def graph(inputs: int, outputs: int | None, edges: Iterable[Edge] | None, generator: Mapping[str, Any] | None) -> Graph:
    """The graph of `edges`, or of a generator's name and options; `outputs` None is any number.

    ValueError unless exactly one of the two is given, and for an unknown generator.
    """
    if edges is not None and generator is None:
        return of_edges(inputs, outputs, edges)
    if edges is not None or generator is None:
        raise ValueError("a graph is given by its edges or by a generator: give exactly one of the two")
    check_choice("generator", generator.get("name"), GENERATORS)
    return _generated(inputs, 1 if outputs is None else outputs, json.dumps(dict(generator)))


@functools.lru_cache(maxsize=4)
def _generated(inputs: int, outputs: int, generator: str) -> Graph:
    """Kept, because a model is built several times: for its shapes and for its arrays."""
    options = json.loads(generator)
    return GENERATORS[options.pop("name")](inputs, outputs, **options)
