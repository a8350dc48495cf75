"""What `show` prints of a task."""

import csv
import io
import json
from pathlib import Path

import pytest

from tangentbench.runners import describe
from tangentbench.runners.regions import Rejection, region_of

EXAMPLES = Path(__file__).parents[1] / "tasks" / "examples"


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
