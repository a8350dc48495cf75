"""What `show` prints of a task."""

import csv
import io
import json
from pathlib import Path

import pytest

from tangentbench.runners import describe
from tangentbench.runners.regions import Rejection, region_of

from . import suite_files

EXAMPLES = Path(__file__).parents[1] / "tasks" / "examples"


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Lines that no narrow terminal breaks; what breaks them has tests of its own."""
    monkeypatch.setenv("COLUMNS", "120")


def test_a_task_is_shown_with_its_cells_and_claims():
    text = describe.show_task(str(EXAMPLES / "batch_size.yaml"))
    for part in (
        "arXiv 2306.04815, Section 4",
        "learning_rate: {critical: 0.6}",
        "batch_size: swept",
        "sweep      method.batch_size: [512, 20, 10, 5], model.activation: [relu, tanh]",
        "cells      smoke: 4, laptop: 8, paper: 8",
        "smaller_batches_align_better  (monotone)",
        "holds if: agop_alignment along method.batch_size decreasing, tau >= 0.6",
        "tanh_does_not  (control of small_batches_generalise)",
        "must fail: test_loss ratio of (method.batch_size: 5) to (method.batch_size: 512) <= 0.9",
        "where: model.activation: tanh",
    ):
        assert part in text, part


def test_axes_that_advance_together_are_shown_so():
    found = json.loads(describe.show_task("quadratic/rates", fmt="json"))["sweep"]
    assert list(found) == ["zip", "method.learning_rate.critical"]
    points = list(zip(*found["zip"].values(), strict=True))
    assert len(points) == len(set(points)) == 6 and points[1] == ("product", "wide relu", "sgd")
    assert 6 * len(found["method.learning_rate.critical"]) == 18
    assert "zip" not in json.loads(describe.show_task("quadratic/rates", "paper", "json"))["sweep"]


@pytest.fixture
def labelled(tmp_path):
    """A task whose model and rate are swept by labels."""
    sweep = """sweep:
  model:
    - {label: "plain, wide"}
    - {label: expanded, expansion: linear}
    - {label: leaky start, init: {bias_std: 0.0}, bias: true}
  method.learning_rate: [{label: slow, critical: 0.1}, {label: fast, critical: 0.9}]
  model.width: [8, 16]
"""
    text = """title: Labels
version: 1
stream: 12
dataset: {name: sphere, dim: 3, target: noise, train: 4, validation: 0, test: 0}
model: {name: wide, depth: 1, width: 4, activation: relu}
loss: mse
method: {name: gd, learning_rate: 0.1}
stop: {steps: 20}
record: {every: 5}
metrics: [train_loss]
"""
    (tmp_path / "x.yaml").write_text(text + sweep)
    return str(tmp_path / "x.yaml")


def test_a_swept_component_is_shown_by_what_its_values_share_and_by_label(labelled):
    shown = json.loads(describe.show_task(labelled, fmt="json"))
    model = shown["model"]
    assert (model["name"], model["depth"], model["activation"], model["parameterization"]) == ("wide", 1, "relu", "ntk")
    assert (model["width"], model["bias"], model["init"]["bias_std"]) == ("swept",) * 3
    assert shown["method"] == {"name": "gd", "learning_rate": {"critical": "swept"}}
    assert (shown["record"], shown["stream"]) == ({"every": 5}, 12)
    assert shown["labels"] == {
        "model": {
            "plain, wide": {"expansion": None, "bias": False, "init.bias_std": 1.0},
            "expanded": {"expansion": "linear", "bias": False, "init.bias_std": 1.0},
            "leaky start": {"expansion": None, "bias": True, "init.bias_std": 0.0},
        },
        "method.learning_rate": {"slow": {"critical": 0.1}, "fast": {"critical": 0.9}},
    }
    text = describe.show_task(labelled)
    for part in (
        'sweep      model: ["plain, wide", expanded, leaky start], ',
        '\nlabels     model "plain, wide": expansion=none, bias=false, init.bias_std=1.0\n',
        '\n           method.learning_rate "fast": critical=0.9\n',
        "\nrecord     every: 5\n",
        "\nstream     12\n",
    ):
        assert part in text, part
    assert 'init.bias_std=1.0; model "expanded": expansion=linear' in describe.show_task(labelled, fmt="markdown")


def test_a_swept_name_shows_the_options_of_each(labelled):
    path = Path(labelled)
    other = "{label: expanded, name: bottleneck, depth: 2, width: 4, bottleneck_width: 2, at: [1]}"
    path.write_text(path.read_text().replace("{label: expanded, expansion: linear}", other))
    shown = json.loads(describe.show_task(labelled, fmt="json"))
    assert shown["model"]["name"] == shown["model"]["depth"] == "swept" and "at" not in shown["model"]
    assert shown["labels"]["model"]["expanded"]["bottleneck_width"] == 2
    assert "bottleneck_width" not in shown["labels"]["model"]["leaky start"]


def test_a_swept_search_is_shown():
    shown = json.loads(describe.show_task("quadratic/boundaries", fmt="json"))
    assert shown["method"]["learning_rate"] == {"critical": "bisected"}
    assert shown["bisect"]["along"] == "method.learning_rate.critical"
    assert shown["labels"]["bisect"].keys() == {"lower", "upper"} and "between" in shown["labels"]["bisect"]["lower"]


def test_what_is_measured_at_the_start_has_no_method_and_no_records():
    shown = json.loads(describe.show_task(str(EXAMPLES / "exponent.yaml"), fmt="json"))
    assert shown["stop"] == {"steps": 0} and not {"method", "record"} & shown.keys()


def test_when_a_metric_is_measured_is_said_of_all_cells(tmp_path):
    """A cell without steps measures at its start what another measures at its end."""
    one = suite_files.HEAD.format(title="t") + suite_files.CLAIMS.partition("claims:")[0]
    one = one.replace("metrics: [", "metrics: [{name: test_loss, at: start}, ")
    swept = one.replace("stop: {steps: 6}\n", "").replace("sweep: {", "sweep: {stop.steps: [0, 6], ")
    for name, text, when in (("swept", swept, "start or end"), ("one", one, "end")):
        (tmp_path / f"{name}.yaml").write_text(text)
        found = json.loads(describe.show_task(str(tmp_path / f"{name}.yaml"), fmt="json"))["metrics"]
        assert found == ["test_loss (at start)", f"train_loss (at {when})"]


def test_tiers_and_formats_of_a_task():
    path = str(EXAMPLES / "exponent.yaml")
    shown = json.loads(describe.show_task(path, "smoke", "json"))
    assert shown["sweep"]["model.width"] == [8, 16, 32] and shown["cells"] == {"smoke": 9, "laptop": 15, "paper": 15}
    assert [claim["control_of"] for claim in shown["claims"]] == ["", "falls", "falls"]
    assert shown["claims"][1]["region"] == "slope in [-0.65, -0.35]"
    assert describe.show_task(path, "smoke", "markdown").startswith("# The Hessian of a wide network")
    assert len(describe.show_task(path, "smoke", "csv").splitlines()) == 4
    arena = json.loads(describe.show_task(str(EXAMPLES / "arena.yaml"), fmt="json"))
    assert "adamw" not in arena["leaderboard"]["methods"] and arena["claims"] == []
    with pytest.raises(ValueError, match="unknown format 'yaml'"):
        describe.show_task(path, fmt="yaml")


@pytest.mark.parametrize(
    ("kind", "options", "text"),
    [
        ("outcome", {"is": ["dead", "divergent"], "at_least": 0.9}, "dead or divergent in at least 90% of seeds"),
        ("threshold", {"at_least": 3, "at_most": None, "within": None}, ">= 3"),
        ("boundary", {"within": [1.9, 2.1]}, "in [1.9, 2.1]"),
        ("rank_correlation", {"at_most": -0.5, "methods_at_least": 8}, "rho <= -0.5, over at least 8 methods"),
    ],
)
def test_regions(kind, options, text):
    assert describe.region(kind, options) == text


def test_an_exponents_control_says_what_rejects_it():
    rows = {
        row["id"]: row for row in json.loads(describe.show_task(str(EXAMPLES / "exponent.yaml"), fmt="json"))["claims"]
    }
    assert rows["falls"]["rejected_if"] == ""
    controls = [row for row in rows.values() if row["control_of"]]
    assert controls and all(
        row["rejected_if"] == "the whole interval of the slope lies above -0.35" for row in controls
    )
    text = describe.show_task(str(EXAMPLES / "exponent.yaml"))
    assert text.count("  rejected if: the whole interval of the slope lies above -0.35") == len(controls)
    # the other sides: what stays is rejected by decay, what grows by anything below its band
    assert Rejection.of(region_of({"within": [-0.1, 0.1]})).below == -0.35
    assert Rejection.of(region_of({"at_least": 0.5})).below == 0.5
    rows = json.loads(describe.show_task(str(EXAMPLES / "batch_size.yaml"), fmt="json"))["claims"]
    assert not any(row["rejected_if"] for row in rows)  # a contrast fails, and that is all


def test_an_arena_as_csv_is_its_tuning_grid():
    rows = list(csv.DictReader(io.StringIO(describe.show_task(str(EXAMPLES / "arena.yaml"), fmt="csv"))))
    cells = json.loads(describe.show_task(str(EXAMPLES / "arena.yaml"), fmt="json"))["cells"]["laptop"]
    assert len(rows) == cells and {"method", "point", "learning_rate", "batch_size", "steps"} <= set(rows[0])
    assert len({(row["method"], row["point"]) for row in rows}) == cells


def test_a_task_without_claims_as_csv_is_its_cells(tmp_path):
    text = (EXAMPLES / "exponent.yaml").read_text()
    (tmp_path / "plain.yaml").write_text(text[: text.index("claims:")])
    rows = list(csv.DictReader(io.StringIO(describe.show_task(str(tmp_path / "plain.yaml"), fmt="csv"))))
    assert len(rows) == 15 and {row["model.width"] for row in rows}


def test_the_control_of_a_contrast_is_shown_with_its_own_cells(tmp_path):
    pair = "between: [{method.batch_size: 20}, {method.batch_size: largest}]"
    head = "id: medium, says: Not so, control: small_batches_generalise, where: {model.activation: relu}"
    text = (EXAMPLES / "batch_size.yaml").read_text().replace("[64, 5]", "[64, 20, 5]")
    (tmp_path / "x.yaml").write_text(text.replace("tiers:", f"  - {{{head}, {pair}}}\ntiers:"))
    rows = {row["id"]: row for row in json.loads(describe.show_task(str(tmp_path / "x.yaml"), fmt="json"))["claims"]}
    assert rows["medium"]["region"].startswith("ratio of (method.batch_size: 20) to (method.batch_size: 512)")
    assert rows["tanh_does_not"]["region"].startswith("ratio of (method.batch_size: 5) to (method.batch_size: 512)")


def test_a_claim_about_methods_names_both_metrics(tmp_path):
    claims = """claims:
  - id: aligned
    says: So it is
    rank_correlation: {metric: test_loss, against: agop_alignment, at_most: -0.5, methods_at_least: 9}
  - {id: fitted, says: Not so, control: aligned, metric: train_loss}
tiers:"""
    text = (EXAMPLES / "arena.yaml").read_text().replace("tiers:", claims)
    (tmp_path / "x.yaml").write_text(text)
    shown = describe.show_task(str(tmp_path / "x.yaml"))
    assert "  holds if: test_loss against agop_alignment, rho <= -0.5, over at least 9 methods" in shown
    assert "  must fail: train_loss against agop_alignment, rho <= -0.5, over at least 9 methods" in shown
    first, second = json.loads(describe.show_task(str(tmp_path / "x.yaml"), fmt="json"))["claims"]
    assert (first["metric"], first["against"], second["metric"]) == ("test_loss", "agop_alignment", "train_loss")
