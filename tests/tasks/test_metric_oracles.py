"""Every metric of the registry against another way to compute it, which rejects plausible mistakes.

A metric that comes without an oracle, or with one that would accept anything, fails here.
"""

from collections.abc import Iterable

import jax
import numpy as np
import pytest

from tangentbench.tasks import registry

from . import oracles_of_runs, oracles_of_states
from .oracles import LEAST_REJECTED, Case, Number, off


@pytest.fixture(autouse=True, scope="module")
def compile_quickly():
    """Tiny models: all the time goes into compiling them."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    with jax.enable_x64(True):
        return {**oracles_of_states.cases(), **oracles_of_runs.cases()}


def distinct(values: Iterable[Number], truth: Number) -> list[Number]:
    """Those that differ from all before them, by as much as a wrong value has to be off."""
    kept: list[Number] = []
    scale = np.abs(np.asarray(truth, float))
    for value in values:
        if all(np.max(np.abs(np.subtract(value, other)) / scale) > LEAST_REJECTED for other in kept):
            kept.append(value)
    return kept


def test_every_metric_has_an_oracle(cases):
    assert cases.keys() == registry.METRICS.keys()


@pytest.mark.parametrize("name", registry.METRICS)
def test_the_metric_is_right_and_its_mistakes_are_noticed(name, cases):
    assert name in cases, f"{name} has no oracle: add its Case to oracles_of_states or oracles_of_runs"
    case = cases[name]
    assert off(case.found, case.truth) <= case.tolerance
    assert len(distinct(case.wrong.values(), case.truth)) >= 3, f"{name}: its mistakes are one and the same"
    for mistake, value in case.wrong.items():
        distance = off(value, case.truth)
        assert distance > max(10 * case.tolerance, LEAST_REJECTED), f"{name}: nobody would notice {mistake!r}"


def test_mistakes_that_are_one_count_once():
    assert distinct([2.0, 2.0 * (1 + 1e-6), 3.0, 2.0], 1.0) == [2.0, 3.0]
    assert distinct([[2.0, 1.0], [2.0, 5.0], [2.0, 1.0]], [1.0, 1.0]) == [[2.0, 1.0], [2.0, 5.0]]


def test_the_reduction_of_a_curve_is_what_the_definition_says():
    """`max over records of …` is no definition of a metric whose last record is its result."""
    for name, entry in registry.METRICS.items():
        if entry.at != ("series",):
            said = next((how for how in ("max", "min") if f"{how} over records" in entry.definition), "last")
            assert entry.reduce == said, name
