"""What `list`, `show` and `validate` print."""

import csv
import io
import json
from pathlib import Path

import pytest

from tangentbench.runners import describe
from tangentbench.tasks import registry
from tangentbench.tasks.load import suite

EXAMPLES = Path(__file__).parents[1] / "tasks" / "examples"


@pytest.mark.parametrize("kind", describe.KINDS)
def test_every_format_lists_the_same_names(kind):
    text = {fmt: describe.list_components(kind, fmt) for fmt in describe.FORMATS}
    rows = json.loads(text["json"])
    names = [row.get("id") or row["name"] for row in rows]
    singular = {"losses": "loss"}.get(kind, kind.rstrip("s"))
    assert names == (suite() if kind == "tasks" else [*registry.table(singular)])
    assert [row[0] for row in csv.reader(io.StringIO(text["csv"]))][1:] == names
    assert [line.split("|")[1].strip() for line in text["markdown"].splitlines()[2:]] == names
    lines = [line.split()[0] for line in text["table"].splitlines() if line[:2].strip()]  # not what was wrapped
    assert [line for line in lines if line in names] == names
    assert max(map(len, text["table"].splitlines())) <= describe.PIPE_WIDTH


def test_metrics_have_unit_direction_and_definition():
    row = next(r for r in json.loads(describe.list_components("metrics", "json")) if r["name"] == "agop_alignment")
    assert (row["unit"], row["direction"]) == ("1", "higher") and "tr(G^T G*)" in row["definition"]


def test_a_folder_of_tasks_is_listed_too():
    rows = json.loads(describe.list_components("tasks", "json", folder=str(EXAMPLES)))
    row = next(row for row in rows if row["id"] == "batch_size")
    assert (row["paper"], row["claims"], row["controls"], row["arena"]) == ("2306.04815", 2, 1, "")


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


def test_validate(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert describe.validate() == 0
    assert capsys.readouterr().out.strip() == f"{len(suite())} of {len(suite())} task files are valid"
    Path("good.yaml").write_text((EXAMPLES / "exponent.yaml").read_text())
    Path("bad.yaml").write_text(Path("good.yaml").read_text().replace("half_sse", "half_see"))
    assert describe.validate(["good.yaml"]) == 0
    capsys.readouterr()
    assert describe.validate(["."]) == 1
    out, err = capsys.readouterr()
    assert out == "1 of 2 task files are valid\n"
    assert err == "bad.yaml:6:7: unknown loss 'half_see' (did you mean 'half_sse' or 'half_mse'?)\n"
    assert describe.validate(["."], "json") == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["files"], document["valid"], document["problems"][0]["line"]) == (2, 1, 6)
    assert describe.validate(["."], "csv") == 1
    assert capsys.readouterr().out.splitlines()[0] == "file,line,col,message,suggestion"
    assert describe.validate(["quadratic/no_such_task"]) == 1
    assert "quadratic/no_such_task: unknown task" in capsys.readouterr().err
    Path("empty").mkdir()
    assert describe.validate(["empty"]) == 4
