"""What may share one compiled program: all that only scales numbers, and nothing that changes shapes or structure."""

import json
import subprocess
import sys

import pytest

from tangentbench.runners import batches

from .tiny import METRICS, MODEL, metric, part, tiny_cell


def gd(**options):
    return part("method", "gd", **{"learning_rate": {"critical": 0.5}, **options})


def catapult(**options):
    return part("method", "catapult_gd", **{"learning_rate": {"critical": 0.5}, **options})


def quadratic(**options):
    return part("model", "general_quadratic", **options)


BASE = tiny_cell(method=gd())
SHARED = {
    "critical rate": {"method": gd(learning_rate={"critical": 1.7})},
    "task": {"task": "another/task", "version": 9},
    "stream": {"stream": 7},
    "seeds": {"seeds": [4, 5]},
    "coordinates": {"coords": {"model": "a"}, "role": "score"},
    "limits": {"limits": {"seconds": 1.0, "memory_gib": 1.0}},
}
APART = {
    "unit of the rate": {"method": gd(learning_rate={"value": 0.5})},
    "second unit of the rate": {"method": gd(learning_rate={"critical": 0.5, "second_critical": 0.0})},
    "schedule": {"method": gd(schedule={"name": "cosine"})},
    "method": {"method": part("method", "momentum", learning_rate={"critical": 0.5})},
    "batch size": {"method": part("method", "sgd", learning_rate={"critical": 0.5}, batch_size=2)},
    "width": {"model": part("model", "wide", **{**MODEL, "width": 6})},
    "expansion": {"model": part("model", "wide", expansion="linear", **MODEL)},
    "data": {"dataset": part("dataset", "sphere", dim=3, train=7, test=4)},
    "loss": {"loss": "half_mse"},
    "precision": {"precision": "float32"},
    "steps": {"stop": {"steps": 13, "train_loss": None, "relative_loss": None}},
    "record": {"record": {"every": 4}},
    "metrics": {"metrics": [*METRICS, metric("peak_loss")]},
}


@pytest.mark.parametrize("changes", SHARED.values(), ids=SHARED)
def test_cells_that_share_a_program(changes):
    assert batches.signature(BASE.model_copy(update=changes)) == batches.signature(BASE)


@pytest.mark.parametrize("changes", APART.values(), ids=APART)
def test_cells_that_do_not(changes):
    other = BASE.model_copy(update=changes)
    assert batches.signature(other) != batches.signature(BASE)
    assert batches.program_key(other) != batches.program_key(BASE)


def test_rates_of_two_units_share_a_program():
    rates = [{"critical": 0.9, "second_critical": 0.0}, {"critical": 1.0, "second_critical": 0.5}]
    first, second = (BASE.model_copy(update={"method": gd(learning_rate=rate)}) for rate in rates)
    assert batches.signature(first) == batches.signature(second)


def test_options_that_only_scale_numbers_share_a_program():
    first = tiny_cell(method=catapult(), model=quadratic())
    scaled = tiny_cell(method=catapult(multiple=2.0, raises=5), model=quadratic(gamma=1e-2))
    assert batches.signature(first) == batches.signature(scaled)
    for changes in ({"method": catapult(period=9)}, {"model": quadratic(signature="positive")}):
        assert batches.signature(first.model_copy(update=changes)) != batches.signature(first)


def test_two_searches_are_two_batches_of_one_program():
    search = {"along": "method.learning_rate.critical", "between": [0.5, 1.5], "tolerance": 0.1, "leaves": ["monotone"]}
    first, second = (BASE.model_copy(update={"bisect": {**search, "tolerance": t}}) for t in (0.1, 0.2))
    assert batches.signature(first) != batches.signature(second)
    assert batches.program_key(first) == batches.program_key(second) == batches.program_key(BASE)


def test_groups_keep_the_order_of_first_appearance():
    wide = tiny_cell(model=part("model", "wide", **{**MODEL, "width": 6}))
    cells = [BASE, wide, BASE.model_copy(update={"stream": 3}), wide.model_copy(update={"stream": 3})]
    assert batches.group(cells) == [[cells[0], cells[2]], [cells[1], cells[3]]]
    assert batches.group([]) == []


def test_equal_meaning_is_equal_text():
    assert batches.canonical({"b": 1, "a": [1.0, None]}) == '{"a":[1.0,null],"b":1}'
    assert json.loads(batches.signature(BASE))["method"]["learning_rate"] == "critical"


def test_batches_are_planned_without_jax():
    code = "import sys, tangentbench.runners.batches, tangentbench.runners.schedule; print('jax' in sys.modules)"
    planted = code.replace("import sys,", "import sys, tangentbench.runners.build,")
    found = [subprocess.check_output([sys.executable, "-c", each], text=True).strip() for each in (code, planted)]
    assert found == ["False", "True"]
