"""What a run costs, without running it: memory and arithmetic, read off the traced program of one lane.

Nothing is compiled and no weight is drawn; only the data set is made, whose shapes the program needs. Arithmetic is
counted equation by equation, because XLA's own analysis counts the body of a loop once whatever its length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..tasks.spec import Cell
from .build import Lane, Program, dataset


class Cost(NamedTuple):
    """Costs of one lane.

    Attributes:
        bytes: a lower bound on the memory: arguments, results and the largest intermediate of the largest function.
        flops: floating-point operations of the whole run: 2 per product of a matrix multiplication, 1 per element of
            anything else. Decompositions count as their results, a loop of unknown length as one round.
    """

    bytes: int
    flops: float


def estimate(cell: Cell) -> Cost:
    """Memory and arithmetic of one run of a cell, its stopping rules left aside: all `stop.steps` are counted.

    Raises:
        ValueError, TypeError: the components of the cell do not fit each other.
        DatasetUnavailable: the data cannot be had.
    """
    with jax.enable_x64(cell.precision == "float64"):
        program, lane = _lane(cell)
        start, began = _traced(program.begin, lane)
        if not program.steps:
            return start
        rated = jax.eval_shape(lambda lane, kernel: program.rated(cell, lane, 1.0, kernel), lane, began.get("kernel0"))
        carry = jax.eval_shape(program.initial_carry, rated)
        one = rated._replace(base_params=None, base_frozen=None)
        chunk = jax.vmap(lambda lane, carry, t: program.chunk(lane, carry, t, 1), in_axes=(0, 0, None))
        block, _ = _traced(chunk, _one_lane(one), _one_lane(carry), jax.ShapeDtypeStruct((), jnp.int32))
        end, _ = _traced(program.finish, rated._replace(learning_rate=None, options={}), carry.params)
    flops = start.flops + block.flops * program.steps / program.every + end.flops
    return Cost(max(part.bytes for part in (start, block, end)), flops)


def _lane(cell: Cell) -> tuple[Program, Lane]:
    seed = cell.seeds[0] if cell.seeds else 0
    program = Program(cell, dataset(cell, seed))
    return program, program.lane(cell, seed)


def _one_lane(tree: Any) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((1, *a.shape), a.dtype), tree)


def _traced(function: Callable[..., Any], *args: Any) -> tuple[Cost, Any]:
    """The cost of one call, and the shapes of its results."""
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    return Cost(_bytes((args, shapes)) + _largest(closed.jaxpr), _flops(closed.jaxpr)), shapes


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _size(variables: Any) -> int:
    return sum(math.prod(v.aval.shape) for v in variables)


def _largest(jaxpr: Any) -> int:
    """Bytes of the largest result of an equation, inner ones included."""
    sizes = [sum(math.prod(v.aval.shape) * v.aval.dtype.itemsize for v in eqn.outvars) for eqn in jaxpr.eqns]
    inner = [_largest(sub) for eqn in jaxpr.eqns for sub in _inner(eqn)]
    return max([0, *sizes, *inner])


def _flops(jaxpr: Any) -> float:
    return sum(map(_flops_of, jaxpr.eqns))


def _flops_of(eqn: Any) -> float:
    inner = [_flops(sub) for sub in _inner(eqn)]
    if eqn.primitive.name == "cond":
        return max(inner)
    if inner:
        return sum(inner) * eqn.params.get("length", 1)
    if eqn.primitive.name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        shape = eqn.invars[0].aval.shape
        return 2.0 * _size(eqn.outvars) * math.prod(shape[axis] for axis in contracted)
    return float(_size(eqn.outvars))


def _inner(eqn: Any) -> Iterator[Any]:
    """The bodies of loops, branches and calls."""
    for value in eqn.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            body = getattr(item, "jaxpr", item)  # closed or not
            if hasattr(body, "eqns"):
                yield body
