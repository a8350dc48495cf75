"""Graphs against a plain longest-path computation, and the generators against what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings

from tangentbench.models.graphs import GENERATORS, graph, of_edges

from .generated import edge_lists

EDGES = [
    *(["x0", "a"], ["x1", "a"], ["x2", "b"], ["a", "b"], ["a", 7], ["x3", 7]),
    *(["b", "y0"], [7, "y0"], ["x0", "y1"], [7, "y1"]),
]


def sources(shape):
    """Per node above the inputs, the numbers of the nodes that it reads."""
    found = []
    for level in shape.levels:
        for row in range(level.size):
            mask = np.ones(level.stop - level.start, bool) if level.mask is None else level.mask[row]
            found.append(level.start + np.flatnonzero(mask))
    return found


def heights(shape):
    """Longest path from the inputs to every node, skips included."""
    height = [0] * shape.inputs
    skips = [level.skip + k if level.skip is not None else None for level in shape.levels for k in range(level.size)]
    for read, skip in zip(sources(shape), skips, strict=True):
        height.append(1 + max(height[node] for node in [*read, *([] if skip is None else [skip])]))
    return height


def test_a_graph_written_by_hand_is_sorted_by_longest_path():
    shape = of_edges(5, 2, EDGES)
    assert [level.size for level in shape.levels] == [1, 2, 2]
    assert [list(read) for read in sources(shape)] == [[0, 1], [2, 5], [3, 5], [6, 7], [0, 7]]
    assert shape.width == 2
    assert [level.mask is None for level in shape.levels] == [True, False, False]


@settings(max_examples=60, deadline=None)
@given(edge_lists())
def test_levels_of_any_graph_are_its_longest_paths(edges):
    shape = of_edges(2, 1, edges)
    height = heights(shape)
    for level, first in zip(shape.levels[:-1], shape.starts, strict=False):
        assert set(height[first : first + level.size]) == {shape.levels.index(level) + 1}
    degrees = sorted(int(d) for level in shape.levels for d in level.in_degrees)
    heads = [str(head) for _, head in edges]
    assert degrees == sorted(heads.count(node) for node in set(heads))
    assert shape.pruned() is shape


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([["x0", "a"], ["b", "a"], ["a", "b"], ["a", "y0"]], "cycle: (a -> b -> a|b -> a -> b)"),
        ([["x0", "a"], ["a", "a"], ["a", "y0"]], "cycle: a -> a"),
        ([["x0", "a"], ["a", "y0"], ["b", "y0"]], "'b' is no input but reads nothing"),
        ([["x0", "a"], ["a", "y0"], ["x9", "y0"]], "the graph reads x9, but the data's inputs are x0 to x1"),
        ([["x0", "a"], ["a", "y0"], ["a", "b"]], "'b' leads to no output"),
        ([["x0", "y0"], ["y0", "a"], ["a", "y1"]], "'y0' is an output and read|outputs are"),
        ([["x0", "a"], ["a", "x1"], ["x1", "y0"]], "'x1' is an input and reads a"),
        ([["x0", "y1"]], "outputs are y1, but the data need y0"),
    ],
)
def test_what_is_no_feed_forward_graph_is_refused(edges, message):
    with pytest.raises(ValueError, match=message):
        of_edges(2, 1, edges)


OPTIONS = {
    "fully_connected": {"depth": 3, "width": 12, "at": [2], "width_at": 5},
    "densenet": {"depth": 3, "width": 12},
    "residual": {"depth": 3, "width": 12},
    "dropout": {"depth": 3, "width": 40, "keep": 0.5},
    "random_in_degree": {"depth": 3, "width": 9},
}


@pytest.mark.parametrize("name", GENERATORS)
def test_generated_graphs(name):
    shape = graph(4, 2, None, {"name": name, **OPTIONS[name]})
    height, read = heights(shape), sources(shape)
    first = 0
    for index, level in enumerate(shape.levels):
        places = range(shape.starts[index], shape.starts[index] + level.size)
        assert {height[node] for node in places} == {index + 1}
        assert len(read[first]) >= 1
        first += level.size
    assert shape.pruned() is shape
    assert len(shape.levels) == 4 and shape.levels[-1].size == 2
    again = graph(4, 2, None, {"name": name, **OPTIONS[name]})
    assert all(np.array_equal(a, b) for a, b in zip(sources(again), read, strict=True))


def test_widths_of_generated_graphs():
    def width(name, **options):
        return graph(4, 1, None, {"name": name, **OPTIONS[name], **options}).width

    assert width("fully_connected") == 5
    assert width("fully_connected", at=[], width_at=None) == 12
    assert width("densenet") == 16  # the inputs are read, too
    assert width("residual") == 12
    assert width("random_in_degree") == 9


def test_a_lone_node_in_each_level():
    """It reads one node, the others read all; the paper's width is 1, that of the others is not."""
    shape = graph(4, 2, None, {"name": "fully_connected", "depth": 3, "width": [5, 4, 6], "lone": True})
    assert [level.size for level in shape.levels] == [5, 4, 6, 2]
    assert [list(level.in_degrees) for level in shape.levels] == [[4] * 5, [5] * 3 + [1], [4] * 5 + [1], [6] * 2]
    assert [list(sources(shape)[last]) for last in (8, 14)] == [[4], [9]]  # the first node of the level before
    assert shape.width == 1
    assert graph(4, 2, None, {"name": "fully_connected", "depth": 3, "width": [5, 4, 6]}).width == 4


def test_dropout_keeps_the_share_of_edges_and_normalises_nothing_away():
    shape = graph(4, 1, None, {"name": "dropout", "depth": 3, "width": 400, "keep": 0.25})
    mask = shape.levels[1].mask
    assert mask is not None and abs(mask.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / mask.size)
    other = graph(4, 1, None, {"name": "dropout", "depth": 3, "width": 400, "keep": 0.25, "graph_seed": 1})
    assert not np.array_equal(other.levels[1].mask, mask)
    few = graph(4, 1, None, {"name": "dropout", "depth": 2, "width": 50, "keep": 0.001})
    assert all(level.in_degrees.min() >= 1 for level in few.levels)


def test_random_in_degrees_are_log_uniform():
    shape = graph(4, 1, None, {"name": "random_in_degree", "depth": 2, "width": 16, "output_reads": "all"})
    degrees = shape.levels[1].in_degrees
    assert degrees.size == 64 and degrees.min() >= 16 and degrees.max() <= 64 and shape.levels[2].mask is None
    shares = np.log(degrees / 16) / np.log(4)
    assert abs(shares.mean() - 0.5) < 4 * np.sqrt(1 / 12 / 64)
    assert abs(degrees.mean() / 64 - 0.5) > 0.03  # uniform in-degrees would have a mean of 40
    few = graph(4, 1, None, {"name": "random_in_degree", "depth": 3, "width": 4, "power": 1.0, "nodes": 300})
    assert all(set(level.in_degrees) == {4} for level in few.levels)
    far = graph(4, 1, None, {"name": "random_in_degree", "depth": 4, "width": 8, "reads": "all"})
    assert far.levels[2].start < far.starts[1]


def test_reading_a_hidden_level_drops_what_it_does_not_need():
    shape = graph(4, None, None, {"name": "densenet", "depth": 3, "width": 6}).read_at(2, 3)
    assert [level.size for level in shape.levels] == [6, 3]
    deep = graph(4, None, None, {"name": "random_in_degree", "depth": 4, "width": 3}).read_at(3, 1)
    assert [level.size for level in deep.levels][-1] == 1 and deep.pruned() is deep
    with pytest.raises(ValueError, match="hidden level from 1 to 3, got 4"):
        graph(4, None, None, {"name": "densenet", "depth": 3, "width": 6}).read_at(4, 1)
    with pytest.raises(ValueError, match="level 2 has 6 nodes, but the data ask for 7"):
        graph(4, None, None, {"name": "densenet", "depth": 3, "width": 6}).read_at(2, 7)


def test_edges_or_a_generator():
    with pytest.raises(ValueError, match="exactly one of the two"):
        graph(2, 1, None, None)
    with pytest.raises(ValueError, match="did you mean 'densenet'"):
        graph(2, 1, None, {"name": "dense_net"})
