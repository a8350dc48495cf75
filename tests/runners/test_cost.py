"""Costs are estimated from options alone: their counts against real models, data and programs, and what is said."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from tangentbench.models import partition
from tangentbench.runners import abstract, batches, build, cost, references
from tangentbench.runners.cli import main
from tangentbench.runners.validation import validate
from tangentbench.tasks import load, registry

from . import suite_files
from .tiny import metric, part, tiny_cell

EXAMPLE = Path(__file__).parents[1] / "examples" / "first_task.yaml"
CHAIN = {"depth": 3, "activation": "tanh"}


def graph(name, **options):
    return {"activation": "tanh", "generator": {"name": name, "depth": 3, "width": 12} | options}


MODELS = {
    "wide": ("wide", CHAIN | {"width": 7}),
    "widths and biases": ("wide", CHAIN | {"width": [7, 3, 5], "bias": True}),
    "bottleneck": ("bottleneck", CHAIN | {"width": 9, "bottleneck_width": 2, "at": [2]}),
    "circles": ("conv", {"depth": 2, "channels": 5, "activation": "relu", "dims": 1}),
    "squares": ("conv", {"depth": 3, "channels": 5, "activation": "relu", "readout": "flatten"}),
    "colours": ("conv", {"depth": 2, "channels": 5, "activation": "relu", "input_channels": 4, "kernel": 1}),
    "levels": ("dag", graph("fully_connected", at=[2], width_at=3)),
    "lone": ("dag", graph("fully_connected", lone=True)),
    "read at 2": ("dag", graph("fully_connected") | {"readout": 2}),
    "densenet": ("dag", graph("densenet")),
    "residual": ("dag", graph("residual")),
}
RANDOM = {
    "dropout": graph("dropout", width=20),
    "nearly all": graph("dropout", width=20, keep=0.9),
    "previous": graph("random_in_degree", width=4),
    "all": graph("random_in_degree", width=4, reads="all", output_reads="all"),
    "gathered": graph("random_in_degree", width=3, power=1.0, nodes=300, output_reads="all"),
    "read at 2": graph("random_in_degree", width=4) | {"readout": 2},
}


def real(name, options, inputs, outputs):
    """Numbers that the model really trains."""
    make = registry.find("model", name).load()
    options = {k: v for k, v in part("model", name, **options).items() if k not in ("name", "expansion", "truncate")}
    model = make(inputs, outputs, key=jax.random.PRNGKey(0), **options)
    return sum(leaf.size for leaf in jax.tree.leaves(partition(model)[0]))


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize("outputs", [1, 3])
def test_weights_are_those_of_the_model(case, outputs):
    name, options = MODELS[case]
    assert cost.weights(part("model", name, **options), 16, outputs) == real(name, options, 16, outputs)


@pytest.mark.parametrize("case", RANDOM)
def test_weights_of_random_graphs_are_about_those(case):
    found = cost.weights(part("model", "dag", **RANDOM[case]), 16, 2)
    assert found == pytest.approx(real("dag", RANDOM[case], 16, 2), rel=0.15)


def test_weights_of_the_quadratic_model():
    assert cost.weights(part("model", "general_quadratic"), 16, 1) == real("general_quadratic", {}, 16, 1) == 16


DATA = {
    "monomial": {"dim": 4, "train": 6}, "low_rank_polynomial": {"dim": 4, "rank": 2, "degree": 3, "train": 6},
    "gaussian_mixture": {"dim": 4, "train": 6}, "sphere": {"dim": 4, "train": 6}, "single_example": {"dim": 4},
    "two_clusters": {"train": 6}, "digits": {"task": "two_class", "train": 6}, "diabetes": {"train": 6},
}  # fmt: skip


@pytest.mark.parametrize("name", DATA)
def test_shapes_are_those_of_the_data(name):
    options = part("dataset", name, **DATA[name])
    data = build.dataset(tiny_cell(dataset=options), 0)
    assert cost.data_shape(options) == (data.in_size, data.out_size)


def test_shapes_of_several_classes():
    options = part("dataset", "gaussian_mixture", dim=9, classes=4, train=6)
    data = build.dataset(tiny_cell(dataset=options), 0)
    assert cost.data_shape(options) == (data.in_size, data.out_size) == (9, 4)
    three = part("dataset", "cifar10", classes=[0, 2, 5], train=30)
    assert cost.data_shape(three) == (3 * 32 * 32, 3)
    assert cost.data_shape(three | {"name": "mnist", "classes": [0, 2]}) == (28 * 28, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": part("model", "conv", depth=2, channels=8, activation="relu", dims=1)},
        {"model": part("model", "wide", depth=2, width=64, activation="relu", expansion="linear")},
        {"model": part("model", "wide", depth=2, width=64, activation="relu", expansion="quadratic")},
        {"metrics": [metric("kernel_change", "schedule")], "record": {"every": 1}},
        {"metrics": [metric("hessian_norm", "start", steps=64, examples=16)], "stop": {"steps": 0}},
    ],
    ids=("training", "conv", "linear", "quadratic", "kernels", "Hessians"),
)
def test_operations_are_about_those_of_the_traced_program(changes):
    """Equation by equation, as `abstract` counts them."""
    stop = {"steps": 40, "train_loss": None, "relative_loss": None} | changes.get("stop", {})
    base = {
        "dataset": part("dataset", "sphere", dim=16, train=32),
        "model": part("model", "wide", depth=2, width=64, activation="relu"),
        "metrics": [],
    }
    cell = tiny_cell(**base | changes | {"stop": stop})
    ratio = sum(cost.run_work(cell)) / abstract.estimate(cell).flops
    assert 1 / 3 < ratio < 3, ratio


def test_programs_are_those_of_the_runner():
    """All cells of the suite, in batches as the scheduler has them; no lane is lost."""
    for name in load.suite():
        for tier, task in load.load_tiers(name).items():
            cells = load.cells(task)
            if task.leaderboard is not None:
                methods = dict.fromkeys(cell.method["name"] for cell in cells)
                points = {method: dict(registry.find("method", method).grid[0]) for method in methods}
                cells += [load.score_cell(task, method, point) for method, point in points.items()]
            groups = batches.group(cells)
            found = cost.programs(task)
            assert [len(groups), sum(len(cell.seeds) for cell in cells)] == [
                len(found),
                sum(program.lanes for program in found),
            ], (name, tier)
            lanes = {batches.signature(group[0]): sum(len(cell.seeds) for cell in group) for group in groups}
            if task.leaderboard is None:  # of an arena, any grid point may turn out to be scored
                assert {batches.signature(each.cell): each.lanes for each in found} == lanes


# -- what it depends on ------------------------------------------------------------------------------------------------

TASK = """title: Any
version: 1
stream: 911
dataset: {{name: sphere, dim: 20, train: {train}}}
model: {{name: wide, depth: 2, width: {width}, activation: tanh, expansion: {expansion}}}
loss: mse
method: {{name: gd, learning_rate: {{critical: 0.5}}}}
sweep: {{model.depth: {depths}}}
stop: {{steps: {steps}}}
record: {{every: {every}}}
seeds: {seeds}
metrics: [{{name: tangent_kernel_norm, at: schedule}}]
"""
WITH_REFERENCE = """title: "t"
version: 1
stream: 1
dataset: {{name: digits, {data}}}
model: {{name: wide, depth: 1, width: 8, activation: relu}}
loss: mse
method: {{name: gd, learning_rate: 0.1}}
sweep: {{method.learning_rate: {rates}}}
stop: {{steps: 10}}
metrics: [agop_alignment]
"""
USUAL = {
    "train": 64, "width": 256, "steps": 1000, "every": 100, "seeds": 8, "depths": "[2]", "expansion": "null",
}  # fmt: skip


def seconds(tmp_path, **changes):
    path = tmp_path / "any.yaml"
    path.write_text(TASK.format(**USUAL | changes))
    return cost.estimate(load.load_task(str(path)))


@pytest.mark.parametrize(
    "more",
    [
        {"train": 128}, {"width": 512}, {"steps": 2000}, {"every": 50}, {"seeds": 16}, {"depths": "[2, 3]"},
        {"expansion": "linear"}, {"expansion": "quadratic"},
    ],
    ids=str,
)  # fmt: skip
def test_more_of_anything_costs_more(tmp_path, more):
    assert seconds(tmp_path, **more) > 1.02 * seconds(tmp_path)


def test_arithmetic_is_proportional_and_the_rest_is_not(tmp_path):
    """A hundred times the steps cost about a hundred times as much once they are what costs."""
    few, many, most = (seconds(tmp_path, steps=10**k, every=10**k) for k in (3, 6, 8))
    assert few < many < 1000 * few
    assert most / many == pytest.approx(100, rel=0.05)


def test_a_bisection_trains_as_often_as_the_runner():
    """Both ends, then halves until the interval is as narrow as asked: 1 to 1/8 in three rounds."""
    bisect = {"along": "method.learning_rate.value", "between": [1.0, 2.0], "tolerance": 0.125, "leaves": ["monotone"]}
    assert cost._rounds(tiny_cell(bisect=bisect)) == 2 + 3
    assert cost._rounds(tiny_cell()) == 1


# -- what is said ------------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("TANGENTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_task_over_its_budget_is_noted(here, capsys):
    folder = suite_files.write(here)
    Path("slow.yaml").write_text(TASK.format(**USUAL | {"steps": 10**6, "every": 10}) + "tiers: {smoke: {seeds: 1}}\n")
    for _ in range(2):  # the second time from what was remembered
        assert main(["validate", "slow.yaml"]) == 0
        *notes, summary, count = capsys.readouterr().out.splitlines()
        assert [note.partition(": note: estimated ")[0] for note in notes] == ["slow.yaml"] * len(notes)
        assert any(" s of 120 s at the laptop tier (fewer seeds, " in note for note in notes)
        assert summary.startswith("slow.yaml: estimated cost: ") and count == "1 of 1 task file is valid"
        assert [part in summary for part in (" of 30 s at smoke", " of 120 s at laptop", " of 3600 s at paper")] == [
            True
        ] * 3
    assert main(["validate", str(folder / "tiny" / "holds.yaml"), "--format", "json"]) == 0
    (costs,) = json.loads(capsys.readouterr().out)["costs"].values()
    assert list(costs) == ["smoke", "laptop", "paper"] and max(costs.values()) < 30
    assert validate(["slow.yaml"], "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["costs"]["slow.yaml"]["laptop"] > 120 and document["notes"][-1]["file"] == "slow.yaml"


def test_just_below_its_budget_nothing_is_noted():
    assert cost.over({"smoke": 30.0, "laptop": 120.0, "paper": 3600.0}) == []
    assert cost.over({"smoke": 31.0, "laptop": 120.0, "paper": 3700.0}) == [
        "estimated 31 s of 30 s at the smoke tier",
        "estimated 3700 s of 3600 s at the paper tier",
    ]


@pytest.mark.parametrize(("kind", "name"), [("model", "wide"), ("dataset", "sphere")])
def test_what_a_plug_in_adds_is_not_estimated(here, capsys, monkeypatch, kind, name):
    assert validate([str(EXAMPLE)]) == 0
    assert "estimated cost: " in capsys.readouterr().out
    theirs = dataclasses.replace(registry.find(kind, name), origin="their-package")
    real_find = registry.find
    monkeypatch.setattr(registry, "find", lambda k, n: theirs if (k, n) == (kind, name) else real_find(k, n))
    monkeypatch.setenv("TANGENTBENCH_CACHE", "off")
    assert validate([str(EXAMPLE)]) == 0
    out = capsys.readouterr().out
    assert f"{EXAMPLE}: cost is not estimated: {kind} '{name}' comes with their-package" in out.splitlines()


def test_a_metric_with_another_cost_is_not_estimated(monkeypatch):
    cell = tiny_cell()
    assert cost.run_work(cell).seconds > 0
    theirs = dataclasses.replace(registry.find("metric", "train_loss"), cost="a search")
    real_find = registry.find
    monkeypatch.setattr(registry, "find", lambda k, n: theirs if n == "train_loss" else real_find(k, n))
    with pytest.raises(cost.NotEstimated, match="metric 'train_loss', whose cost is 'a search'"):
        cost.run_work(cell)


def test_every_metric_of_the_suite_has_a_cost():
    s = cost.sizes(tiny_cell(dataset=part("dataset", "sphere", dim=3, train=6, validation=5, test=4)))
    for name, entry in registry.table("metric").items():
        if entry.at != ("series",):
            options = getattr(entry.schema(), "example", {})
            work = cost.measured(metric(name, **options), s)
            assert (sum(work) > 0) == (entry.cost != "nothing"), name


def test_estimating_imports_neither_jax_nor_numpy():
    code = (
        "import sys\nfrom tangentbench.runners import cost\nfrom tangentbench.tasks import load\n"
        f"found = cost.estimates(load.load_tiers({str(EXAMPLE)!r}))\n"
        "print(len(found), [name for name in ('jax', 'numpy', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "3 []\n"


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_a_reference_costs_what_its_examples_do(name):
    given = {"task": "two_class", "train": 6, "validation": 4, "test": 20}
    cell = tiny_cell(dataset=part("dataset", name, **given, reference={"steps": 1, "width": 32, "members": 3}))
    pool = build.dataset(cell, 0).pool
    assert pool is not None
    schema = registry.find("dataset", name).schema()
    options = {key: value for key, value in cell.dataset.items() if key != "name"}
    assert schema(**options).pool_size == len(pool.x)
    key = jax.random.PRNGKey(0)

    def weights(key, x, y):
        return references.fit(key, x, y, cell.dataset["reference"])[0].networks.chain.layers[0].weight

    traced, _ = abstract._traced(weights, key, pool.x, pool.y)
    # the first layer passes nothing back, which the estimate leaves aside
    assert 1.0 < cost.reference(cell).steps / (cost.REFERENCES * traced.flops) < 1.7
    assert cost.reference(tiny_cell(dataset=part("dataset", name, **given))) == cost.Work()


def test_references_are_trained_once_for_every_seed(tmp_path):
    path = tmp_path / "digits.yaml"

    def seconds(members: int, rates: str = "[0.1, 0.2]") -> float:
        data = f"task: two_class, train: 6, test: 20, reference: {{members: {members}}}"
        path.write_text(WITH_REFERENCE.format(data=data, rates=rates))
        return cost.estimate(load.load_task(str(path)))

    few, more, most = map(seconds, (1, 11, 21))
    assert more - few == pytest.approx(most - more, rel=1e-6) and more > few
    # not once for every rate
    assert seconds(11, "[0.1, 0.2, 0.3]") - seconds(1, "[0.1, 0.2, 0.3]") == pytest.approx(more - few, rel=1e-6)
