"""Every program of the suite, at every tier, fits together and fits into memory: found out without running one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.runners import abstract, batches
from tangentbench.runners.abstract import estimate
from tangentbench.tasks import load
from tangentbench.tasks.datasets import formats, images
from tangentbench.tasks.spec import TIERS

from .tiny import MODEL, metric, part, tiny_cell

GIB = 2**30


def programs(task):
    """One cell for each distinct program of a task at any tier."""
    found = {}
    for tier in TIERS:
        for cells in batches.group(load.cells(load.load_task(task, tier))):
            found.setdefault(batches.program_key(cells[0]), cells[0])
    return found.values()


@pytest.fixture
def blank_images(monkeypatch):
    """In place of what is downloaded: as many images of as many pixels, of which only the shapes matter here."""

    def blank(name):
        size = 28**2 if "mnist" in name else 3 * 32**2
        pixels = np.broadcast_to(np.arange(size, dtype=np.uint8), (20_000, size))
        return (formats.Images(pixels, np.arange(20_000) % 10),) * 2

    monkeypatch.setattr(images, "_load", blank)


@pytest.mark.parametrize("task", load.suite())
def test_every_program_of_the_suite_fits(task, blank_images):
    for cell in programs(task):
        cost = estimate(cell)
        assert 0 < cost.bytes < cell.limits["memory_gib"] * GIB
        assert np.isfinite(cost.flops) and cost.flops > 0


def wide(**changes):
    return part("model", "wide", **{**MODEL, **changes})


def steps(count):
    return {"stop": {"steps": count, "train_loss": None, "relative_loss": None}, "record": {"every": 1}, "metrics": []}


def test_a_cell_whose_parts_do_not_fit_is_refused():
    three = part("dataset", "gaussian_mixture", dim=4, classes=3, train=6)
    with pytest.raises(ValueError, match="general_quadratic has one output"):
        estimate(tiny_cell(dataset=three, model=part("model", "general_quadratic")))
    no_test_data = part("dataset", "sphere", dim=3, train=6)
    with pytest.raises(ValueError, match="test_loss needs test data"):
        estimate(tiny_cell(dataset=no_test_data))


def test_a_step_of_a_two_layer_network_is_six_flops_per_weight_and_example():
    n, d, m = 64, 128, 256
    data = part("dataset", "sphere", dim=d, train=n)
    few, many = (estimate(tiny_cell(dataset=data, model=wide(width=m), **steps(k))).flops for k in (10, 20))
    # the gradient with respect to the inputs of the first layer is not needed: 2 + 2 products there, 6 in the second
    per_step, weights = (many - few) / 10, (d + 1) * m
    assert per_step == pytest.approx(6 * n * weights, rel=0.35)
    assert per_step == pytest.approx(4 * n * d * m + 6 * n * m, rel=0.1)


def test_doubling_the_steps_doubles_the_training():
    flops = [estimate(tiny_cell(model=wide(width=64), **steps(k))).flops for k in (100, 200, 400)]
    assert flops[2] - flops[1] == pytest.approx(2 * (flops[1] - flops[0]), rel=1e-12)
    assert flops[1] / flops[0] == pytest.approx(2, rel=0.2)


def xla_flops(function, *args):
    analysis = jax.jit(function).lower(*args).cost_analysis()
    assert analysis is not None
    return analysis["flops"]


@pytest.mark.parametrize("shape", [(3, 4, 5), (16, 8, 2)])
def test_arithmetic_agrees_with_xla_where_there_is_no_loop(shape):
    a, b, c = shape

    def function(x, y):
        return jnp.sum(jnp.tanh(x @ y) * 3.0)

    x, y = jnp.ones((a, b)), jnp.ones((b, c))
    found = abstract._traced(function, x, y)[0].flops
    assert found == pytest.approx(2 * a * b * c + 4 * a * c, abs=2 * a * c)
    assert found == pytest.approx(xla_flops(function, x, y), abs=3 * a * c)


def test_a_loop_counts_as_often_as_it_turns():
    def loop(length):
        return lambda x: jax.lax.scan(lambda carry, _: (carry @ carry, None), x, None, length=length)[0]

    x = jnp.ones((8, 8))
    counts = [abstract._traced(loop(k), x)[0].flops for k in (1, 5)]
    assert counts == [2 * 8**3, 5 * 2 * 8**3]
    branches = abstract._traced(lambda x: jax.lax.cond(x[0, 0] > 0, lambda x: x @ x, lambda x: x + x, x), x)[0].flops
    assert 2 * 8**3 <= branches < 2 * 8**3 + 3 * 8**2  # the dearer branch, not both
    assert xla_flops(loop(2), x) == xla_flops(loop(5), x)  # why XLA is not asked


def test_memory_grows_with_what_is_held():
    def size(width=512, **changes):
        return estimate(tiny_cell(model=wide(width=width), **{**steps(4), **changes})).bytes

    base, weights = size(), 512 * 4 * 8
    assert size(2 * 512) > 1.7 * base
    assert size(precision="float32") == pytest.approx(base / 2, rel=0.1)
    adam = part("method", "adam", learning_rate=0.1)
    assert size(method=adam) >= base + 2 * 2 * weights  # two moments, before and after the step
    critical = part("method", "gd", learning_rate={"critical": 0.5})
    assert 10 * weights > size(method=critical) > max(base, 6 * weights)  # vectors of the ascent, and no basis


def test_what_is_measured_counts():
    bare = tiny_cell(**{**steps(0), "metrics": []})
    measured = tiny_cell(**{**steps(0), "metrics": [metric("critical_rate")]})
    assert estimate(measured).flops > estimate(bare).flops == 0
