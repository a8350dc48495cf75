"""Options of graphs: what the generators of a `dag` model take, and what a graph written by hand must be."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .options import Part, refuse

Width = Annotated[int, Field(ge=1, le=1_000_000)]
Depth = Annotated[int, Field(ge=1, le=200)]
Node = Annotated[str, Field(min_length=1, max_length=80)] | Annotated[int, Field(ge=0)]
Edge = Annotated[list[Node], Field(min_length=2, max_length=2)]
MAX_PLACES = 100_000_000  # weights of a generated graph; a masked layer counts as a full one


class _Generator(Part):
    """What all generators share."""

    depth: Depth
    """Number of hidden levels."""

    @model_validator(mode="after")
    def _bounded(self) -> _Generator:
        if self.places > MAX_PLACES:
            what = f"the graph has room for {self.places:.2g} weights; at most {MAX_PLACES:.0g} are allowed"
            raise refuse(what, "width", "lower width or depth")
        return self

    @property
    def places(self) -> int:
        """Weights between hidden levels, if each is full."""
        raise NotImplementedError

    @property
    def largest(self) -> int:
        """Nodes of the largest hidden level."""
        raise NotImplementedError


class _EvenGenerator(_Generator):
    """Hidden levels of one size."""

    width: Width
    """Nodes of every hidden level."""

    @property
    def places(self) -> int:
        return (self.depth - 1) * self.width**2

    @property
    def largest(self) -> int:
        return self.width


class FullyConnectedGraph(_Generator):
    """Every level reads the level before it."""

    name: Literal["fully_connected"]
    """The generator."""
    width: Width | Annotated[list[Width], Field(min_length=1, max_length=200)]
    """Nodes per hidden level: one number, or a list with one per level."""
    at: Annotated[list[Annotated[int, Field(ge=1)]], Field(max_length=200)] = []
    """Hidden levels, counted from 1, that have `width_at` nodes instead: narrow ones, say."""
    width_at: Width | None = None
    """Nodes of the levels in `at`."""
    lone: bool = False
    """Whether the last node of a hidden level reads only the first of the level before, from the second level on."""

    @property
    def widths(self) -> list[int]:
        """Nodes of every hidden level."""
        widths = [self.width] * self.depth if isinstance(self.width, int) else self.width
        other = self.width_at or 0
        return [other if index in self.at else width for index, width in enumerate(widths, start=1)]

    @property
    def places(self) -> int:
        return sum(fan_in * fan_out for fan_in, fan_out in zip(self.widths, self.widths[1:], strict=False))

    @property
    def largest(self) -> int:
        return max(self.widths)

    @model_validator(mode="after")
    def _consistent(self) -> FullyConnectedGraph:
        if isinstance(self.width, list) and len(self.width) != self.depth:
            raise refuse(f"width lists {len(self.width)} hidden levels but depth is {self.depth}", "width")
        if any(place > self.depth for place in self.at):
            what = f"at must list hidden levels between 1 and depth = {self.depth}, got {self.at}"
            raise refuse(what, "at")
        if bool(self.at) != (self.width_at is not None):
            field = "at" if self.at else "width_at"
            raise refuse("at and width_at belong together", field, "give both, or neither")
        if self.lone and min(self.widths) < 2:
            what = "lone needs hidden levels of at least 2 nodes: a lone node, and others beside it"
            raise refuse(what, "lone", "widen the levels, or remove lone")
        return self


class DenseNetGraph(_EvenGenerator):
    """Every level reads all earlier ones, the inputs included."""

    name: Literal["densenet"]
    """The generator."""

    @property
    def places(self) -> int:
        return self.width**2 * self.depth * (self.depth - 1) // 2


class ResidualGraph(_EvenGenerator):
    """Fully connected; from the second on, a hidden level adds the values of the level before it to its own."""

    name: Literal["residual"]
    """The generator."""


class DropoutGraph(_EvenGenerator):
    """Fully connected, with edges left out at random."""

    name: Literal["dropout"]
    """The generator."""
    keep: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Probability of each edge."""
    graph_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Which graph is drawn; the same one for all seeds of a task, whose weights differ."""


class RandomInDegreeGraph(_Generator):
    """In-degrees drawn log-uniformly from [width, width^power]."""

    name: Literal["random_in_degree"]
    """The generator."""
    width: Width
    """The smallest in-degree."""
    power: Annotated[float, Field(ge=1, le=4)] = 1.5
    """Power of `width` that is the largest in-degree."""
    nodes: Width | None = None
    """Nodes of every hidden level, before those that nobody reads are dropped; width^power unless given."""
    reads: Literal["previous", "all"] = "previous"
    """Whether nodes read the level before theirs, or all earlier hidden levels."""
    output_reads: Literal["width", "all"] = "width"
    """Whether the outputs have in-degree `width`, too, or read all of the last hidden level."""
    graph_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Which graph is drawn; the same one for all seeds of a task, whose weights differ."""

    @property
    def largest(self) -> int:
        return math.ceil(self.width**self.power - 1e-9) if self.nodes is None else self.nodes

    @property
    def places(self) -> int:
        return (self.depth - 1) * self.largest**2

    @model_validator(mode="after")
    def _enough(self) -> RandomInDegreeGraph:
        most = self.width**self.power
        if self.nodes is not None and self.nodes < most - 1e-9:
            what = f"nodes must be at least width^power = {most:g}, the largest in-degree; got {self.nodes}"
            raise refuse(what, "nodes", "raise it, or leave it out")
        return self


Generator = Annotated[
    FullyConnectedGraph | DenseNetGraph | ResidualGraph | DropoutGraph | RandomInDegreeGraph,
    Field(discriminator="name"),
]


def check_edges(edges: list[list[str | int]]) -> None:
    """Refuses what is no feed-forward graph, at the first edge that shows it.

    Inputs are named x0, x1, …, outputs y0, y1, …; every other name is a hidden node.
    """
    named = [(str(tail), str(head)) for tail, head in edges]
    _check_each(named)
    sources: dict[str, list[str]] = {}
    targets: dict[str, list[str]] = {}
    first: dict[str, int] = {}
    for index, (tail, head) in enumerate(named):
        sources.setdefault(head, []).append(tail)
        targets.setdefault(tail, []).append(head)
        for node in (tail, head):
            first.setdefault(node, index)
    try:
        TopologicalSorter(sources).prepare()
    except CycleError as error:
        cycle = error.args[1]
        last = named.index((cycle[-2], cycle[-1]))
        what = f"the graph has a cycle: {' -> '.join(cycle)}"
        raise refuse(what, last, f"remove an edge of it, such as [{cycle[-2]}, {cycle[-1]}]") from error
    outputs = sorted((node for node in first if _is("y", node)), key=lambda node: int(node[1:]))
    for index, output in enumerate(outputs or ["y"]):
        if output != f"y{index}":
            hint = "outputs are y0, y1, … without a gap"
            raise refuse(f"no edge leads into the output y{index}", first.get(output, ""), hint)
    reached = _closure((node for node in first if _is("x", node)), targets)
    useful = _closure(outputs, sources)
    for node, index in first.items():
        if node not in reached:
            hint = "inputs are x0, x1, …" if node in sources else f"add an edge [x0, {node}], or remove the node"
            raise refuse(f"no input leads to node '{node}'", index, hint)
        if node not in useful:
            raise refuse(f"node '{node}' leads to no output", index, f"add an edge [{node}, y0], or remove the node")


def hidden_levels(edges: list[list[str | int]]) -> int:
    """Number of hidden nodes on the longest path of a feed-forward graph."""
    sources: dict[str, list[str]] = {}
    for tail, head in edges:
        sources.setdefault(str(head), []).append(str(tail))
    height: dict[str, int] = {}
    for node in TopologicalSorter(sources).static_order():
        height[node] = 1 + max((height[source] for source in sources.get(node, ())), default=-1)
    return max(height.values()) - 1


def _check_each(named: list[tuple[str, str]]) -> None:
    seen: set[tuple[str, str]] = set()
    for index, (tail, head) in enumerate(named):
        if (tail, head) in seen:
            raise refuse(f"the edge [{tail}, {head}] is given twice", index, "remove one")
        if _is("x", head):
            raise refuse(f"the input '{head}' reads '{tail}', but inputs are given", index, f"write [{head}, {tail}]?")
        if _is("y", tail):
            raise refuse(f"'{head}' reads the output '{tail}', but outputs end the graph", index, "name it otherwise")
        seen.add((tail, head))


def _is(letter: str, node: str) -> bool:
    return re.fullmatch(letter + r"\d+", node) is not None


def _closure(start: Iterable[str], steps: dict[str, list[str]]) -> set[str]:
    found, stack = set(), list(start)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack += steps.get(node, ())
    return found
