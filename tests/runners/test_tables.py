"""Boards as text: numbers people can read, every field for machines, no line longer than asked."""

import csv
import io
import json
import math
from dataclasses import fields, replace
from itertools import groupby

import pytest

from tangentbench.runners import tables
from tangentbench.runners.arenas import Arena, Row
from tangentbench.runners.tables import Column, claims_table, leaderboard_table, render
from tangentbench.runners.verdicts import Verdict
from tangentbench.runners.words import interval, number, seconds


def make_verdict(**changes) -> Verdict:
    base = Verdict(
        task="wide/hessian", paper="2010.01092", claim="shrinks", says="The Hessian norm falls with width",
        kind="exponent", verdict="holds", control=False, value=-0.4871, low=-0.51, high=-0.46, region="[-0.65, -0.35]",
        region_low=-0.65, region_high=-0.35, scale="linear", detectable=0.025, seeds=8, missing="", reason="",
        tier="laptop", metric="hessian_norm",
    )  # fmt: skip
    return replace(base, **changes)


VERDICTS = [
    make_verdict(),
    make_verdict(
        claim="own", paper="", verdict="undecided", value=None, low=None, high=None, seeds=0, reason="not run"
    ),
    make_verdict(claim="narrow", control=True, verdict="rejected", value=0.02, low=-0.02, high=0.05),
    make_verdict(claim="late", paper="9999.00001", verdict="fails", missing="1 of 8 seeds left out: 1 divergent"),
    make_verdict(claim="tanh", control=True, verdict="not rejected", stale=2),
]


def make_arena() -> Arena:
    point = {"learning_rate": {"critical": 0.9}, "batch_size": 32}
    rows = (
        Row("sgd", "scored", point, True, 0.0123, 0.011, 0.0139, 1, 2, 0.615, 120000.0, 7, 4.2, 8, 8),
        Row("adam", "scored", point, False, 0.0132, 0.012, None, 1, 2, 0.66, None, 3, 90.0, 8, 8, (("divergent", 2),)),
        Row("lion", "no stable point", detail="12 divergent"),
        Row("mine", "not run", detail="18 of 18 tuning runs missing"),
    )
    return Arena(
        "arena/monomial", "Learn a product", "test_loss", "loss", "lower", 0.02, 2_000_000, "gd", 0.02, "laptop", rows
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (1.0, "1.00"), (0.12345, "0.123"), (-0.4871, "-0.487"), (12.345, "12.3"), (123.45, "123"),
        (1234.5, "1230"), (99.96, "100"), (0.9996, "1.00"), (120000, "120000"), (2e6, "2e6"), (1.236e-13, "1.24e-13"),
        (0.00123, "0.00123"), (0.00099951, "0.00100"), (None, "–"), (math.inf, "∞"), (-math.inf, "−∞"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_intervals_and_durations():
    assert interval(0.123, 0.11, 0.14) == "0.123 [0.110, 0.140]"
    assert interval(0.123, 0.11, None) == "0.123 [0.110, ∞]"
    assert interval(0.123, None, None) == "0.123" and interval(None, 1, 2) == "–"
    assert [seconds(value) for value in (0.123, 4.2, 180, 5400, 86400, None)] == [
        "0.12 s", "4.2 s", "3.0 min", "90 min", "24 h", "–",
    ]  # fmt: skip


def test_render_has_four_formats():
    rows = [{"name": "a|b", "value": 0.123456, "more": [1, 2]}, {"name": "c", "value": None, "more": {"k": 1}}]
    columns = [Column("name", lambda row: row["name"]), Column("value", lambda row: number(row["value"]), right=True)]
    assert json.loads(render(rows, columns, "json")) == rows
    read = list(csv.reader(io.StringIO(render(rows, columns, "csv"))))
    assert read == [["name", "value", "more"], ["a|b", "0.123456", "[1, 2]"], ["c", "", '{"k": 1}']]
    assert render(rows, columns, "markdown", title="T", footer="F") == (
        "### T\n\n| name | value |\n| --- | ---: |\n| a\\|b | 0.123 |\n| c | – |\n\nF"
    )
    plain = render(rows, columns, "table", title="T", footer="F", width=60, colour=False)
    assert plain.splitlines()[0] == "T" and plain.splitlines()[-1] == "F" and "0.123" in plain
    with pytest.raises(ValueError, match="expected one of table, markdown, csv, json"):
        render(rows, columns, "html")


def test_json_refuses_what_is_not_json():
    with pytest.raises(ValueError):
        render([{"value": math.nan}], [], "json")


def test_empty_boards_print():
    for fmt in tables.FORMATS:
        assert isinstance(claims_table([], fmt), str) and isinstance(leaderboard_table([], fmt), str)
        assert isinstance(render([], [], fmt), str)
    assert claims_table([]).strip() == "0 holds, 0 undecided, 0 fails; 0/0 controls rejected"


@pytest.mark.parametrize("width", [80, 100, 160])
def test_tables_keep_to_the_width_and_to_their_words(width):
    for text in (
        leaderboard_table([make_arena(), make_arena()], width=width, colour=False),
        claims_table(VERDICTS, width=width, colour=False),
    ):
        assert max(map(len, text.splitlines())) <= width
        assert "\x1b" not in text
        if width >= 100:
            assert "…" not in text


def test_the_default_width_in_a_pipe_is_100(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert claims_table(VERDICTS) == claims_table(VERDICTS, width=100, colour=False)


def test_verdicts_are_coloured_on_request_only(monkeypatch):
    coloured = claims_table(VERDICTS, colour=True)
    assert "\x1b[32mholds" in coloured and "\x1b[1;31mfails" in coloured
    monkeypatch.setattr(tables.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert tables._wants_colour()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not tables._wants_colour()


def test_a_control_of_too_few_seeds_is_no_evidence():
    few = make_verdict(control=True, verdict="not rejected", value=None, seeds=2, finished=2)
    enough = make_verdict(control=True, verdict="not rejected", seeds=8, finished=8)
    text = claims_table([few, enough], "markdown")
    assert "| too few seeds |" in text and "| not rejected |" in text
    assert text.endswith("0/1 controls rejected, 1 with too few seeds")


def test_several_papers_are_counted_each():
    text = claims_table(VERDICTS, "markdown").split("| paper | claims |")[1]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines()[2:5]]
    found = {row[0][:16]: row[1:] for row in rows}
    for paper, verdicts in groupby(sorted(VERDICTS, key=lambda v: v.paper), key=lambda v: v.paper):
        own = list(verdicts)
        controls = [v for v in own if v.control]
        counts = [sum(v.verdict == word for v in own) for word in ("holds", "fails", "undecided")]
        rejected = sum(v.verdict == "rejected" for v in controls)
        expected = [str(n) for n in (len(own) - len(controls), *counts, len(controls), rejected)]
        assert found[f"arXiv {paper}" if paper else "Tasks without a "] == expected
    assert "| paper |" not in claims_table(VERDICTS[:1], "markdown")


def test_the_leaderboard_says_who_failed_and_why():
    text = leaderboard_table([make_arena()], width=100, colour=False)
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith(" ") and len(line.split()) > 3}
    assert "0.0123 [0.0110, 0.0139]" in lines["sgd"] and "120000 (7/8)" in lines["sgd"] and "critical*" in lines["sgd"]
    assert "[0.0120, ∞]" in lines["adam"] and "> 2e6 (3/8)" in lines["adam"]
    assert "no stable point" in lines["lion"] and "not run" in lines["mine"]
    assert "adam: 2 divergent" in text and "lion: 12 divergent" in text and "mine: 18 of 18 tuning runs missing" in text
    assert "test_loss (lower is better)" in text and "relative to gd at 0.0200, frozen" in text and "8 seeds" in text


def test_machine_formats_of_the_leaderboard_have_every_field():
    (arena,) = json.loads(leaderboard_table([make_arena()], "json"))
    assert arena["rows"][0]["score"] == 0.0123 and arena["rows"][3]["score"] is None
    assert arena["rows"][0]["point"] == {"learning_rate": {"critical": 0.9}, "batch_size": 32}
    rows = list(csv.DictReader(io.StringIO(leaderboard_table([make_arena()], "csv"))))
    assert len(rows) == 4 and rows[1]["failures"] == '[["divergent", 2]]'
    names = {f.name for f in (*fields(Arena), *fields(Row))} - {"rows"}
    assert set(rows[0]) == names


def test_claims_are_grouped_by_paper_with_a_count_below():
    text = claims_table(VERDICTS, width=200, colour=False)
    titles = [line for line in text.splitlines() if line.startswith(("arXiv", "Tasks"))]
    assert titles == [
        "arXiv 2010.01092: On the linearity of large non-linear models: when and why the tangent kernel is constant",
        "arXiv 9999.00001",
        "Tasks without a paper",
    ]
    assert text.endswith("\n\n1 holds, 1 undecided, 1 fails; 1/2 controls rejected")
    assert "control: The Hessian norm falls with width" in text and "1 of 8 seeds left out: 1 divergent" in text
    assert "8†" in text and "slope -0.487 [-0.510, -0.460]" in text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "slope -0.487"),
        ({"kind": "monotone"}, "tau -0.487"),
        ({"kind": "contrast", "scale": "log", "value": 0.77}, "ratio 0.770"),
        ({"kind": "contrast", "value": 0.03}, "difference 0.0300"),
        ({"kind": "outcome", "value": 1.0}, "share 1.00"),
        ({"kind": "boundary", "value": 2.0}, "boundary 2.00"),
        ({"kind": "threshold", "scale": "log", "value": 0.5}, "0.500"),
        ({"value": None}, "–"),
    ],
)
def test_a_number_says_what_it_is(changes, text):
    verdict = make_verdict(**{"low": None, "high": None, **changes})
    assert tables.measured(verdict).replace("\u00a0", " ") == text
    for fmt in ("table", "markdown"):
        assert f" {text} " in claims_table([verdict], fmt, width=200, colour=False)
    (row,) = json.loads(claims_table([verdict], "json"))["claims"]
    assert row["quantity"] == next(csv.DictReader(io.StringIO(claims_table([verdict], "csv"))))["quantity"]
    assert row["quantity"] == ("slope" if verdict.value is None else text.rpartition(" ")[0])


def test_methods_with_one_fate_share_a_line():
    rows = [Row(name, "not run", detail="18 of 18 tuning runs missing") for name in ("gd", "sgd", "adam")]
    text = leaderboard_table([replace(make_arena(), rows=tuple(rows))], width=200, colour=False)
    assert text.count("18 of 18") == 1 and "gd, sgd, adam: 18 of 18 tuning runs missing" in text


def test_markdown_is_one_table_per_paper_and_needs_no_html_escape():
    text = claims_table(VERDICTS[:1], "markdown")
    assert "### arXiv 2010.01092" in text and "| claim | verdict | measured | expected | seeds |" in text
    assert "wide/hessian: shrinks<br>The Hessian norm falls with width" in text
    text = leaderboard_table([make_arena()], "markdown")
    assert "\\> 2e6 (3/8)" in text and "0.9 critical\\*" in text


def test_machine_formats_of_claims_have_every_field():
    document = json.loads(claims_table(VERDICTS, "json"))
    assert document["counts"]["not rejected"] == 1
    assert set(document["claims"][0]) == {f.name for f in fields(Verdict)} | {"quantity"}
    assert document["claims"][1]["value"] is None
    rows = list(csv.DictReader(io.StringIO(claims_table(VERDICTS, "csv"))))
    assert [row["verdict"] for row in rows] == [v.verdict for v in VERDICTS]
    assert float(rows[0]["value"]) == -0.4871
