"""Documents that commands print: one JSON document whatever is in it, and rows that name every run."""

import csv
import io
import json
from types import SimpleNamespace

import pytest

from tangentbench.runners import output
from tangentbench.runners.results import Run, Store

from .tiny import part, tiny_cell

CELL = tiny_cell(coords={"method.learning_rate.critical": 0.5}, seeds=[0, 1, 2])


def run(seed, status="ok", outcome: str | None = "monotone", **changes):
    fields = {
        "task": CELL.task, "cell": CELL.model_dump(mode="json"), "coords": CELL.coords, "digest": CELL.digest,
        "code": "c0de", "seed": seed, "tier": "smoke", "role": "claim", "status": status, "outcome": outcome,
        "scalars": {"train_loss": 0.1 * (seed + 1), "test_loss": None},
    }  # fmt: skip
    return Run(**{**fields, **changes})


FOUND = [run(0), run(1, outcome="divergent"), run(2, "timeout", None, message="over 1 s", scalars={})]


def test_every_run_is_a_record():
    records = json.loads(output.runs(FOUND, "json"))
    assert [(r["seed"], r["status"], r["outcome"]) for r in records] == [
        (0, "ok", "monotone"), (1, "ok", "divergent"), (2, "timeout", None),
    ]  # fmt: skip
    assert records[0]["train_loss"] == 0.1 and records[0]["test_loss"] is None and records[2]["message"] == "over 1 s"
    rows = list(csv.DictReader(io.StringIO(output.runs(FOUND, "csv"))))
    assert [row["method.learning_rate.critical"] for row in rows] == ["0.5"] * 3
    assert rows[2]["train_loss"] == "" and rows[0]["method"] == "gd"


@pytest.mark.parametrize("fmt", ["table", "markdown"])
def test_a_reader_gets_one_row_per_cell(fmt, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    text = output.runs(FOUND, fmt)
    for words in (
        "critical=0.5",
        "1 divergent, 1 monotone, 1 timeout",
        "loss 0.150",
        "loss –",
        "3 runs in 1",
    ):
        assert words in text


def test_values_that_are_no_evidence_are_marked(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    top = part("metric", "sharpness") | {"label": "top", "at": "start"}
    cell = {**CELL.model_dump(mode="json"), "metrics": [top]}
    found = [
        run(seed, cell=cell, scalars={"top": value}, certificates={"top.residual": residual})
        for seed, value, residual in ((0, 4.0, 0.001), (1, 5.0, 2.0), (2, None, 0.0))
    ]
    assert "top 4.50 (2 of 3 seeds, 1 not certified)" in output.runs(found, "markdown")
    documents = json.loads(output.runs(found, "json"))
    assert [document["uncertified"] for document in documents] == [[], ["top"], []]
    assert documents[1]["certificates"] == {"top.residual": 2.0}
    assert [row["uncertified"] for row in csv.DictReader(io.StringIO(output.runs(found, "csv")))] == ["", "top", ""]
    certified = [run(0, cell=cell, scalars={"top": 4.0}, certificates={"top.residual": 0.001})]
    assert "top 4.00 |" in output.runs(certified, "markdown")


def test_an_arenas_runs_are_told_apart(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    tuned = [run(0, coords={"method": "gd", "point": k}, role="tune") for k in (0, 1)]
    text = output.runs(tuned, "markdown")
    assert "2 runs in 2 cells" in text and "point=1" in text
    assert "1 run in 1 cell" in output.runs(tuned[:1], "markdown")


def test_nothing_is_still_a_document():
    assert json.loads(output.runs([], "json")) == []
    assert "0 runs in 0 cells" in output.runs([], "table")
    assert json.loads(output.boards([], [], "json")) == {"leaderboard": [], "claims": [], "counts": pytest.approx({
        key: 0 for key in json.loads(output.boards([], [], "json"))["counts"]
    })}  # fmt: skip
    assert output.boards([], [], "table") == "no arena and no claim among these tasks"


def test_a_dry_run_counts_what_is_stored(tmp_path):
    other = tiny_cell(seeds=[0], method=part("method", "adam", learning_rate=0.1))
    planned = SimpleNamespace(
        tasks=[SimpleNamespace(id=CELL.task, leaderboard=None)], cells={CELL.task: (CELL, other)}, tier="smoke"
    )
    store = Store(tmp_path, create=True)
    store.write(FOUND[0])
    for given, expected in ((None, 4), (store, 3)):
        (row,) = json.loads(output.dry_run(planned, given, "c0de", "json"))
        assert (row["cells"], row["programs"], row["runs"], row["missing"]) == (2, 2, 4, expected)
    assert "3 of 4 runs would be computed at tier smoke" in output.dry_run(planned, store, "c0de", "table")
