"""Sweeps, tiers and arenas: which cells a task has, with which values filled in."""

import textwrap

import pytest

from tangentbench.tasks import registry
from tangentbench.tasks.load import SeedError, TaskFileError, UnknownName, cells, load_task, score_cell

HEAD = """\
title: A task
version: 1
stream: 1
dataset: {name: monomial, dim: 4, train: 8, validation: 4, test: 4}
model: {name: wide, depth: 1, width: 8, activation: relu}
loss: mse
method: {name: sgd, batch_size: 4, learning_rate: 0.1}
stop: {steps: 10}
metrics: [test_loss]
"""


@pytest.fixture
def task(tmp_path):
    def load(text, tier="laptop", head=HEAD):
        path = tmp_path / "task.yaml"
        path.write_text(head + textwrap.dedent(text))
        return load_task(path, tier)

    return load


def coords(task):
    return [tuple(cell.coords.values()) for cell in cells(task)]


def test_without_a_sweep_there_is_one_cell_with_every_default(task):
    (cell,) = cells(task(""))
    assert cell.task == "task" and cell.role == "claim" and cell.seeds == list(range(8)) and cell.coords == {}
    assert cell.dataset == {
        "name": "monomial", "dim": 4, "factors": [0, 1], "train": 8, "validation": 4, "test": 4, "noise": 0.0,
    }  # fmt: skip
    assert cell.model == {
        "name": "wide", "depth": 1, "width": 8, "activation": "relu", "parameterization": "ntk", "bias": False,
        "output_activation": "identity", "init": {"weights": "ntk", "output": "normal", "bias_std": 1.0},
        "expansion": None, "truncate": None,
    }  # fmt: skip
    assert cell.method == {"name": "sgd", "batch_size": 4, "learning_rate": {"value": 0.1}, "schedule": None}
    assert cell.stop == {"steps": 10, "train_loss": None, "relative_loss": None}
    assert cell.record == {"every": 1} and cell.precision == "float32" and cell.bisect is None
    assert cell.metrics == [{"name": "test_loss", "label": "test_loss", "at": "end"}]


def test_spelling_out_the_defaults_is_the_same_cell(task):
    spelt = HEAD.replace("test: 4}", "test: 4, noise: 0, factors: [0, 1]}").replace(
        "learning_rate: 0.1", "learning_rate: {value: 1e-1}, schedule: null"
    )
    metrics = "[{name: test_loss, at: end, label: test_loss}]"
    assert cells(task("", head=spelt.replace("[test_loss]", metrics)))[0].digest == cells(task(""))[0].digest


def test_a_product_in_file_order(task):
    found = coords(task("sweep: {model.width: [4, 8], loss: [mse, half_mse]}"))
    assert found == [(4, "mse"), (4, "half_mse"), (8, "mse"), (8, "half_mse")]


def test_zipped_axes_advance_together(task):
    made = task("sweep: {zip: {model.width: [4, 8], dataset.train: [8, 16]}, precision: [float32, float64]}")
    assert coords(made) == [(4, 8, "float32"), (4, 8, "float64"), (8, 16, "float32"), (8, 16, "float64")]
    assert [(c.model["width"], c.dataset["train"]) for c in cells(made)[::2]] == [(4, 8), (8, 16)]


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("model.width: {log: [64, 1024, 5]}", [64, 128, 256, 512, 1024]),
        ("model.width: {log: [10, 1000, 4]}", [10, 46, 215, 1000]),
        ("model.width: {linear: [10, 40, 4]}", [10, 20, 30, 40]),
        ("method.learning_rate: {log: [1e-3, 1.0, 4]}", [1e-3, 1e-2, 1e-1, 1.0]),
        ("method.learning_rate: {linear: [0.1, 0.4, 4]}", [0.1, 0.2, 0.3, 0.4]),
        ("method.learning_rate: {linear: [1, 2, 3]}", [1, 1.5, 2]),
        ("model.width: {linear: [30, 10, 3]}", [30, 20, 10]),
    ],
)
def test_ranges(task, axis, values):
    found = [value for (value,) in coords(task(f"sweep: {{{axis}}}"))]
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_components_are_swept_with_labels(task):
    made = task("""\
        sweep:
          model.width: [4, 8]
          model:
            - {label: plain}
            - {label: biased, bias: true, init: {output: zero}}
            - {label: narrow, name: bottleneck, depth: 3, width: 2, bottleneck_width: 1, at: [2]}
        """)
    models = {tuple(cell.coords.values()): cell.model for cell in cells(made)}
    # the component is chosen first, whatever the order in the file; without a name it is merged over the base
    assert models[8, "plain"]["bias"] is False and models[8, "plain"]["width"] == 8
    assert models[4, "biased"]["bias"] is True and models[4, "biased"]["activation"] == "relu"
    assert models[4, "biased"]["init"] == {"weights": "ntk", "output": "zero", "bias_std": 1.0}
    assert models[4, "narrow"]["activation"] == "identity" and models[4, "narrow"]["width"] == 4
    assert all("label" not in model for model in models.values())


def test_labels_are_no_part_of_the_digest(task):
    text = "sweep: {model.width: [{label: LABEL, value: [4]}, 8]}"
    first, second = (cells(task(text.replace("LABEL", label)))[0] for label in ("one", "two"))
    assert first.coords != second.coords and first.digest == second.digest and first.model["width"] == [4]


def test_a_swept_learning_rate_replaces_the_unit(task):
    made = task("sweep: {method.learning_rate.critical: [0.5, 1]}")
    assert [cell.method["learning_rate"] for cell in cells(made)] == [{"critical": 0.5}, {"critical": 1.0}]
    made = task("sweep: {method.learning_rate: [0.5, {label: half, critical: 0.5}, {label: two, value: 2}]}")
    assert [c.method["learning_rate"] for c in cells(made)] == [{"value": 0.5}, {"critical": 0.5}, {"value": 2.0}]


def test_the_two_critical_units_of_a_rate_stand_together(task):
    both = {"critical": 1.0, "second_critical": 0.5}
    labelled = "{label: first, critical: 0.9}, {label: both, critical: 1, second_critical: 0.5}"
    made = task(f"sweep: {{method.learning_rate: [{labelled}]}}")
    assert [cell.method["learning_rate"] for cell in cells(made)] == [{"critical": 0.9}, both]
    for order in ("critical", "second_critical"), ("second_critical", "critical"):
        values = [[0.9, 1], [0, 0.5]] if order[0] == "critical" else [[0, 0.5], [0.9, 1]]
        axes = ", ".join(f"method.learning_rate.{unit}: {found}" for unit, found in zip(order, values, strict=True))
        made = task(f"sweep: {{zip: {{{axes}}}}}")
        assert [c.method["learning_rate"] for c in cells(made)] == [{"critical": 0.9, "second_critical": 0.0}, both]
    head = HEAD.replace("learning_rate: 0.1", "learning_rate: {critical: 2, second_critical: 0.5}")
    made = task("sweep: {method.learning_rate.critical: [1, 2]}", head=head)
    assert [cell.method["learning_rate"]["second_critical"] for cell in cells(made)] == [0.5, 0.5]
    made = task("sweep: {method.learning_rate.value: [1, 2]}", head=head)
    assert [cell.method["learning_rate"] for cell in cells(made)] == [{"value": 1.0}, {"value": 2.0}]


def test_a_search_starts_at_its_lower_end(task):
    made = task("""\
        bisect: {along: method.learning_rate.critical, tolerance: 0.1, leaves: [monotone]}
        sweep: {bisect: [{label: low, between: [1, 2]}, {label: high, between: [3, 5]}]}
        """)
    assert [cell.bisect["between"] for cell in cells(made)] == [[1.0, 2.0], [3.0, 5.0]]
    assert [cell.method["learning_rate"] for cell in cells(made)] == [{"critical": 1.0}, {"critical": 3.0}]


def test_tiers_merge_deeply(task):
    tiers = """\
        sweep: {model.width: {log: [4, 16, 3]}, loss: [mse, half_mse]}
        tiers:
          smoke:
            dataset: {train: 6}
            stop: {steps: 3, train_loss: null}
            sweep: {model.width: [2], loss: null}
            metrics: [train_loss]
            seeds: [4, 5]
          paper: {model: {name: bottleneck, depth: 2, width: 3, bottleneck_width: 1, at: [1]}}
        """
    head = HEAD.replace("{steps: 10}", "{steps: 10, train_loss: 0.5}")
    (smoke,) = cells(task(tiers, "smoke", head=head))
    assert smoke.dataset["train"] == 6 and smoke.dataset["dim"] == 4
    assert smoke.stop == {"steps": 3, "train_loss": None, "relative_loss": None}
    assert smoke.coords == {"model.width": 2} and smoke.seeds == [4, 5]
    assert [metric["name"] for metric in smoke.metrics] == ["train_loss"]
    assert len(cells(task(tiers, head=head))) == 6
    assert {cell.model["name"] for cell in cells(task(tiers, "paper", head=head))} == {"bottleneck"}
    with pytest.raises(UnknownName, match="unknown tier 'smok'"):
        task(tiers, "smok")


def test_seeds(task):
    assert cells(task(""), seeds=2, base_seed=100)[0].seeds == [100, 101]
    assert cells(task("seeds: [3, 1]"), base_seed=10)[0].seeds == [13, 11]


def test_seeds_stay_below_those_that_arenas_tune_on(task):
    assert cells(task(""), seeds=2, base_seed=999_998)[0].seeds == [999_998, 999_999]
    for head in (HEAD, ARENA):
        with pytest.raises(SeedError, match=r"below 1000000, .* got 1000000 \(use a base seed of at most 999998\)"):
            cells(task("", head=head), seeds=2, base_seed=999_999)
    with pytest.raises(SeedError, match=r"got 1000000 \(ask for fewer seeds\)"):
        cells(task(""), seeds=1_000_001)
    with pytest.raises(SeedError, match="use a base seed of at most 0"):
        cells(task("seeds: [3, 999_999]".replace("_", "")), base_seed=1)
    with pytest.raises(SeedError):
        score_cell(task("", head=ARENA), "gd", dict(registry.find("method", "gd").grid[0]), base_seed=10**6)


def test_limits_by_default(task):
    assert cells(task(""))[0].limits == {"seconds": 600.0, "memory_gib": 3.0}
    assert cells(task("limits: {seconds: 5}"))[0].limits == {"seconds": 5.0, "memory_gib": 3.0}


@pytest.mark.parametrize(("steps", "every"), [(0, 1), (10, 1), (100, 1), (101, 2), (20_000, 200)])
def test_a_hundred_records_by_default(task, steps, every):
    metrics = "metrics: [{name: test_loss, at: start}]"
    head = HEAD.replace("steps: 10", f"steps: {steps}").replace("metrics: [test_loss]", metrics)
    assert cells(task("", head=head))[0].record == {"every": every}


def test_the_records_of_catapult_gd_divide_its_period(task):
    head = HEAD.replace("{name: sgd, batch_size: 4, ", "{name: catapult_gd, ").replace("steps: 10", "steps: 2000")
    cell = cells(task("", head=head))[0]
    assert cell.record == {"every": 15} and cell.method["period"] == 150


def test_metrics_of_an_untrained_task_are_measured_at_the_start(task):
    head = HEAD.replace("stop: {steps: 10}\n", "").replace(HEAD.splitlines()[6] + "\n", "")
    (cell,) = cells(task("", head=head))
    assert cell.stop["steps"] == 0 and cell.metrics[0]["at"] == "start" and cell.method["name"] == "gd"


def test_metric_items(task):
    head = HEAD.replace("[test_loss]", "[hessian_norm, {name: hessian_norm, label: first, at: start, steps: 5}]")
    first, second = cells(task("", head=head))[0].metrics
    assert second == {"name": "hessian_norm", "label": "first", "at": "start", "examples": 4, "steps": 5}
    assert first["label"] == "hessian_norm" and first["steps"] == 32


# -- arenas -----------------------------------------------------------------------------------------------------------

ARENA = """\
title: An arena
version: 1
stream: 1
dataset: {name: monomial, dim: 4, train: 64, validation: 4, test: 4}
model: {name: wide, depth: 1, width: 8, activation: relu}
loss: mse
metrics: [validation_loss, test_loss]
seeds: 4
leaderboard:
  metric: test_loss
  validation_metric: validation_loss
  target: 0.25
  reference: {method: gd, score: 0.2}
  budget: 6400
  tune_seeds: 2
"""


def test_every_method_is_tuned_on_its_grid_under_one_budget(task):
    made = task("", head=ARENA)
    found = cells(made, seeds=9, base_seed=5)
    methods = registry.table("method")
    assert len(found) == sum(len(entry.grid) for entry in methods.values()) == 6 * len(methods)
    for cell in found:
        assert cell.role == "tune" and cell.seeds == [1_000_005, 1_000_006]
        # gradients on 64 or 32 examples; catapult_gd's second rate costs one more on all 64, at step 50 of 99
        by_hand = {"catapult_gd": 99}.get(cell.method["name"], 6400 // (cell.method["batch_size"] or 64))
        assert cell.stop["steps"] == by_hand
    assert [cell.coords for cell in found[:2]] == [{"method": "gd", "point": 0}, {"method": "gd", "point": 1}]


@pytest.mark.parametrize(
    ("budget", "steps"),
    [
        (64, 1),
        (50 * 64, 50),  # steps 0 to 49: the first raise would come with step 50
        (51 * 64, 50),  # which costs two evaluations
        (52 * 64, 51),
        (153 * 64, 150),  # raises at 50 and 100, and one evaluation that pays for nothing
        (154 * 64, 151),
        (1000 * 64 + 63, 997),  # three raises in all
    ],
)
def test_the_budget_pays_for_raises(task, budget, steps):
    made = task("", head=ARENA.replace("budget: 6400", f"budget: {budget}") + "  methods: [catapult_gd]\n")
    for cell in cells(made):
        assert cell.stop["steps"] == steps
        raises = sum(step in (50, 100, 150) for step in range(steps))
        assert (steps + raises) * 64 <= budget
        assert budget < 153 * 64 or steps < budget // 64  # the steps alone would overspend


def test_extra_evaluations_by_hand():
    entry = registry.find("method", "catapult_gd")
    options = {"period": 4, "raises": 2}
    assert [list(entry.extra_evaluations(options, steps)) for steps in (0, 4, 5, 8, 9, 100)] == [
        [], [], [4], [4], [4, 8], [4, 8],
    ]  # fmt: skip
    assert list(entry.extra_evaluations({**options, "raises": 0}, 100)) == []
    assert list(registry.find("method", "gd").extra_evaluations({}, 100)) == []


def test_only_methods_that_reset_their_rate_have_a_period():
    for entry in registry.table("method").values():
        assert entry.resets_rate == ("period" in entry.schema().model_fields)
        assert not entry.overhead or entry.overhead in entry.schema().model_fields


def test_a_batch_of_a_grid_is_never_larger_than_the_data(task):
    tiers = "tiers: {smoke: {dataset: {train: 20}}}"
    for tier, n in (("smoke", 20), ("laptop", 64)):
        made = task(tiers, tier, head=ARENA)
        for cell in cells(made):
            point = registry.find("method", cell.method["name"]).grid[cell.coords["point"]]
            asked = point.get("batch_size")
            assert cell.method["batch_size"] == (min(asked, n) if asked else None)
            assert score_cell(made, cell.method["name"], dict(point)).digest == cell.digest
        assert {cell.method["batch_size"] for cell in cells(made)} == {None, min(32, n)}


def test_tuning_is_on_the_validation_set_whatever_its_label(task):
    metrics = "metrics: [{name: validation_loss, label: chosen}, test_loss]"
    head = ARENA.replace("metrics: [validation_loss, test_loss]", metrics)
    made = task("", head=head.replace("validation_metric: validation_loss", "validation_metric: chosen"))
    assert cells(made)[0].metrics[0] == {"name": "validation_loss", "label": "chosen", "at": "schedule"}


def test_arena_metrics_are_curves_with_the_work_to_the_target(task):
    metrics = {metric["label"]: metric for metric in cells(task("", head=ARENA))[0].metrics}
    assert metrics["test_loss"]["at"] == metrics["validation_loss"]["at"] == "schedule"
    assert metrics["work_to_target"] == {
        "name": "work_to_target", "label": "work_to_target", "at": "series", "target": 0.25, "of": "test_loss",
    }  # fmt: skip


def test_the_score_is_measured_on_other_seeds_in_the_same_cell(task):
    made = task("", head=ARENA)
    point = registry.find("method", "adam").grid[2]
    cell = score_cell(made, "adam", dict(point), base_seed=3)
    assert cell.role == "score" and cell.seeds == [3, 4, 5, 6]
    tuned = next(c for c in cells(made) if c.coords == {"method": "adam", "point": 2})
    assert cell.digest == tuned.digest and not set(cell.seeds) & set(tuned.seeds)
    with pytest.raises(UnknownName, match="did you mean 'adam'"):
        score_cell(made, "adm", dict(point))
    with pytest.raises(UnknownName, match="grid point"):
        score_cell(made, "adam", {"learning_rate": {"value": 77.0}})


@pytest.mark.parametrize(("line", "left"), [("methods: [lion, gd]", {"gd", "lion"}), ("methods_not: [gd]", None)])
def test_competitors_can_be_chosen(task, line, left):
    found = {cell.method["name"] for cell in cells(task("", head=f"{ARENA}  {line}\n"))}
    assert found == (left or set(registry.table("method")) - {"gd"})


def test_tiers_of_an_arena_have_their_own_budget_and_target(task):
    tiers = "tiers: {smoke: {leaderboard: {budget: 640, target: 0.5}}}"
    smoke = cells(task(tiers, "smoke", head=ARENA))[0]
    assert smoke.stop["steps"] == 10
    assert smoke.metrics[-1]["target"] == 0.5 and cells(task(tiers, head=ARENA))[0].metrics[-1]["target"] == 0.25


def test_a_broken_tier_is_noticed_from_any_other(task):
    with pytest.raises(TaskFileError, match="must be >= 1, got 0"):
        task("tiers: {paper: {model: {width: 0}}}", "smoke")


def test_a_zip_may_repeat_the_values_of_one_axis(task):
    made = task("sweep: {zip: {model.width: [4, 4, 8], dataset.train: [8, 16, 8]}}")
    assert [cell.coords for cell in cells(made)] == [
        {"model.width": 4, "dataset.train": 8},
        {"model.width": 4, "dataset.train": 16},
        {"model.width": 8, "dataset.train": 8},
    ]
