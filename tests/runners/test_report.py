"""The page and the command that writes it: everything escaped, nothing loaded, every number the store's."""

import json
import math
import os
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tangentbench.runners import cli, describe, page, page_boards, provenance, report, suite, tables
from tangentbench.runners.results import Store

from . import report_store


@pytest.fixture(scope="module")
def collected(reported):
    """(report, store, folder of task files)."""
    return reported[:3]


@pytest.fixture(scope="module")
def text(reported):
    return reported[3]


SCRIPTS = [{"type": "application/json", "id": "data"}, {}]  # the data and the code of the page


class Reader(HTMLParser):
    """Tags with attributes, text by tag, and the embedded data."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words, self.data, self._inside = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, {name: value or "" for name, value in attributes}))
        self._inside = [tag, dict(attributes)]

    def handle_data(self, data):
        if self._inside and self._inside[0] == "script" and self._inside[1].get("type"):
            self.data += data
        else:
            self.words.append(data)

    def handle_endtag(self, tag):
        self._inside = []

    def of(self, tag: str) -> list[dict[str, str]]:
        return [found for name, found in self.tags if name == tag]


@pytest.fixture(scope="module")
def read(text):
    return Reader(text)


def test_text_of_task_files_is_text(read):
    words = "".join(read.words)
    for shown in (report_store.SCRIPT, "<b>Theorem</b>", "<img src=x onerror=alert(1)>", "a </script> in a note"):
        assert shown in words
    assert read.of("script") == SCRIPTS
    assert not read.of("img")
    assert "Theorem</b>" not in "".join(found.get("title", "") for _, found in read.tags)
    assert not [found for _, found in read.tags if any(name.startswith("on") for name in found)]


def test_what_is_not_escaped_would_be_noticed(text):
    assert Reader(text.replace("&lt;script&gt;", "<script>", 1)).of("script") != SCRIPTS


def test_nothing_is_loaded(read, text):
    for tag, found in read.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert "src" not in found
        if "href" in found and tag != "a":
            assert found["href"].startswith("#")
    assert {found["href"].split("/")[2] for found in read.of("a") if "//" in found["href"]} == {"arxiv.org"}
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style and "@import" not in style
    policy = next(found["content"] for found in read.of("meta") if found.get("http-equiv"))
    assert "default-src 'none'" in policy and "unsafe-inline" not in policy.partition("script-src")[2]


def test_ids_are_given_once_and_links_have_targets(read):
    ids = [found["id"] for _, found in read.tags if "id" in found]
    assert len(set(ids)) == len(ids)
    for name in ("href", "aria-labelledby", "aria-describedby"):
        for _, found in read.tags:
            target = found.get(name, "")
            if target and "//" not in target:
                assert target.removeprefix("#") in ids
    assert {"show/scaling", "show/scaling:falls", "leaderboard", "claims"} <= set(ids)


def test_tables_can_be_read_aloud(read):
    assert len(read.of("caption")) == len(read.of("table")) == 5
    assert all("scope" in found for found in read.of("th"))
    assert all("aria-label" in found or "aria-labelledby" in found for found in read.of("svg"))
    labelled = [found for found in read.of("button") if found.get("data-save")]
    assert labelled and all("aria-label" in found for found in labelled)
    assert next(found for found in read.of("html"))["lang"] == "en"
    assert len(read.of("h1")) == 1


def test_no_cell_of_a_table_is_blank(collected):
    """Neither where nothing was run; an interval is drawn, and its axis has two ends."""
    found, _, _ = collected
    empty = replace(found, tasks=(replace(found.tasks[0], runs=()), *found.tasks[1:]))
    for text in (page.html(found), page.html(empty)):
        cells = re.findall(r"<td[^>]*>(.*?)</td>", text, re.DOTALL)
        assert cells and all("<svg" in cell or re.sub(r"<[^>]*>", "", cell).strip() for cell in cells)
    (low, high), *_ = re.findall(r'<span class="axis soft"><span>([\d.]+)</span><span>([\d.]+)</span>', text)
    one = replace(found.arenas[0], rows=(replace(found.arenas[0].rows[0], low=None, high=None),))
    alone = page_boards.arena_board(replace(one, reference_score=one.rows[0].score), "x")
    assert float(alone["axis"]["low"]) < one.rows[0].score < float(alone["axis"]["high"])
    assert alone["rows"][0]["strip"]["at"] == page_boards.STRIP / 2
    near = page_boards.arena_board(replace(one, reference_score=one.rows[0].score * 1.00001), "x")["axis"]
    assert near["low"] != near["high"]
    arena = found.arenas[0]
    ends = [end for row in arena.rows for end in (row.score, row.low, row.high) if end is not None]
    ends.append(arena.reference_score)
    assert (float(low), float(high)) == pytest.approx((min(ends), max(ends)), rel=0.01)


def test_data_is_the_store_s(read, collected):
    found, store, _ = collected
    data = {key: report_store.unpacked(table) for key, table in json.loads(read.data).items()}
    claims = [dict(zip(data["claims"][0], row, strict=True)) for row in data["claims"][1]]
    assert len(claims) == len(found.verdicts)
    for record, verdict in zip(claims, found.verdicts, strict=True):
        assert all(record.get(name) == value for name, value in asdict(verdict).items())
    board = [dict(zip(data["leaderboard"][0], row, strict=True)) for row in data["leaderboard"][1]]
    rows = [_json(tables.flat(arena, row)) for arena in found.arenas for row in arena.rows]
    assert len(board) == len(rows)
    for record, row in zip(board, rows, strict=True):
        assert all(record.get(name) == value for name, value in row.items())
    shown = {}
    for item in found.tasks:
        columns, rows = data[f"{item.task.id}-runs"]
        for row in rows:
            record = dict(zip(columns, row, strict=True))
            shown[record["digest"], record["seed"]] = record
    stored = {(run.digest, run.seed): run for run in store.runs(report_store.CODE)}
    assert set(shown) == set(stored)
    for key, run in stored.items():
        for name, value in run.scalars.items():
            assert shown[key][name] == value  # unrounded
        for axis, value in run.coords.items():
            assert shown[key][f"sweep.{axis}"] == value
        assert (shown[key]["status"], shown[key]["outcome"], shown[key]["work"]) == (run.status, run.outcome, run.work)


def _json(value):
    return json.loads(json.dumps(value))


def test_every_chart_is_there_with_its_numbers_and_its_origin(read, collected):
    data = json.loads(read.data)
    figures = read.of("figure")
    assert len(figures) == sum(len(item.charts) for item in collected[0].tasks)
    assert all(data[found["id"]]["size"] for found in figures)
    assert "01234567 (modified) · show/rates v1 · laptop tier · 6 seeds · float32 · cpu" in "".join(read.words)


def bare(found, **changes):
    """The report with one chart of each task at most, for tests of the rest."""
    return replace(found, tasks=tuple(replace(item, charts=item.charts[:1], **changes) for item in found.tasks))


def test_a_failed_run_is_counted_and_names_no_path(collected):
    run = collected[0].tasks[2].runs[0]
    message = f"error: cannot read {Path('/', 'home', 'someone', 'data.csv')}"
    lost = replace(run, status="error", outcome=None, message=message, scalars={})
    text = page.html(bare(collected[0], runs=(lost,)))
    assert "not finished: 1 error" in text
    assert "someone" not in text and "cannot read \\u003cpath\\u003e" in text


def test_nothing_tells_where_it_was_made(text, collected):
    import getpass
    import socket

    for word in (str(collected[2]), str(Path.home()), socket.gethostname(), os.getcwd()):
        assert len(word) < 4 or word not in text
    user = getpass.getuser()
    assert not re.search(rf"(home|Users)/{re.escape(user)}", text)


def test_the_same_report_gives_the_same_page(collected):
    assert page.html(bare(collected[0])) == page.html(bare(collected[0]))


def test_the_page_is_small(text, collected):
    charts = sum(len(item.charts) for item in collected[0].tasks)
    assert len(text.encode()) < 60_000 + 25_000 * charts
    drawn = re.findall(r'<svg class="plot".*?</svg>', text)
    assert len(drawn) == charts and sum(map(len, drawn)) < 9_000 * charts
    assert sum(map(len, re.findall(r' (?:style|href|clip-path)="[^"]*"', "".join(drawn)))) < 2_000 * charts


def test_stale_runs_are_marked(collected):
    found, store, folder = collected
    planned = report_store.planned(folder, ["show/rates"])
    other = report.collect(planned, store, suite.lookup(store, "0ther", any_code=True), "0ther")
    text = page.html(bare(other))
    assert "48 runs come from other code" in text and "6†" in text


def test_without_runs_the_page_says_so(collected, tmp_path):
    planned = report_store.planned(collected[2])
    empty = Store(tmp_path / "none", create=True)
    text = page.html(report.collect(planned, empty, suite.lookup(empty, "c0de"), "c0de"))
    assert text.count("No run of this task is stored.") == 6
    assert "<figure" not in text


def test_a_number_that_json_lacks_is_no_value():
    rows = [[math.inf, 1.0], [math.nan, -math.inf], [0.5, math.nan]]
    table = page.packed(["a", "b"], rows)
    assert report_store.unpacked(table) == (["a", "b"], [[None, 1.0], [None, None], [0.5, None]])
    json.dumps(table, allow_nan=False)


def test_the_page_refuses_what_is_not_json(reported, monkeypatch):
    """Wrong on purpose: numbers that got past `packed`."""
    monkeypatch.setattr(page, "packed", lambda columns, rows: {"size": 1, "columns": {"a": [math.nan]}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        page.html(reported[0])


def test_tables_are_packed_without_loss():
    columns = ["a", "b", "none", "c"]
    rows = [[1, "x", None, None], [1, "x", None, 2.5], [1, "y", None, None], [1, "x", None, [1]], [1, "x", None, 0]]
    table = page.packed(columns, rows)
    assert table["columns"]["a"] == {"runs": [[1, 5]]} and table["columns"]["c"] == [None, 2.5, None, [1], 0]
    assert report_store.unpacked(table) == (["a", "b", "c"], [[row[0], row[1], row[3]] for row in rows])


def test_what_was_not_run_takes_a_line_each(collected):
    found = collected[0]
    assert "not run" not in page.html(found)
    scaling = next(item for item in found.tasks if item.task.id == "show/scaling")
    rows = tuple(replace(row, state="not run", rank_low=None, score=None) for row in found.arenas[0].rows)
    waiting = tuple(replace(v, verdict="not run") if v.task == "show/scaling" else v for v in found.verdicts)
    partial = replace(
        found,
        verdicts=waiting,
        tasks=tuple(replace(item, runs=()) if item is scaling else item for item in found.tasks),
        arenas=(replace(found.arenas[0], rows=rows),),
    )
    shown = page.context(partial)
    waiting = [(w["task"], w["claims"]) for paper in shown["papers"] for w in paper["waiting"]]
    assert waiting == [("show/scaling", len(scaling.verdicts))]
    assert shown["counts"]["not run"] == len(scaling.verdicts)
    assert not [row for paper in shown["papers"] for row in paper["rows"] if row["task"] == "show/scaling"]
    read = Reader(page.html(partial))
    assert not [table for table in read.of("table") if table.get("class") == "arena"]
    assert found.arenas[0].title in "".join(read.words)
    data = json.loads(read.data)
    assert data["claims"]["size"] == len(found.verdicts)  # downloads have them all


def test_a_task_s_section_says_what_was_run(read, collected):
    words = "".join(read.words)
    for item in collected[0].tasks:
        for text in describe.setup(item.task).values():
            assert all(line in words for line in text.splitlines()), text


def test_names_of_ids_and_files():
    names = page.Names(["claims"])
    assert [names.new(text) for text in ("claims", "a/b", "a b", "a b", "<é>")] == [
        "claims-2", "a/b", "a-b", "a-b-2", "unnamed",
    ]  # fmt: skip
    assert [report.file_name(text) for text in ("a/../b", "trend x / y", "..", "é")] == [
        "a-..-b",
        "trend-x-y",
        *["unnamed"] * 2,
    ]


def test_the_template_s_folder_is_packaged(root):
    import importlib.resources

    installed = importlib.resources.files("tangentbench.runners") / "templates"
    names = {path.name for path in (root / "runners" / "templates").iterdir() if path.is_file()}
    assert (
        {item.name for item in installed.iterdir() if item.is_file()}
        == names
        == {"report.html", "report.css", "report.js"}
    )


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def call(capsys, monkeypatch, tmp_path, collected):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = cli.main(["report", *map(str, words), "--tasks", str(collected[2])])
        return (code, *capsys.readouterr())

    return run


def test_the_command_writes_page_and_figures(call, collected, tmp_path):
    store = collected[1].root
    code, out, err = call("show/search", "--results", store)
    assert code == 4 and "--any-code" in err and not (tmp_path / "report").exists()
    code, out, err = call("show/search", "--results", store, "--any-code", "--figures", "-o", "out")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "out/index.html"
    names = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    written = [
        f"figures/{stem}.{suffix}" for stem in ("boards", "show/search/boundary") for suffix in ("pdf", "png", "svg")
    ]
    assert names == [*written, "index.html"]
    Store(store)  # it is as it was


def test_it_says_what_was_not_run(call, collected):
    code, _, err = call("show/search", "--results", collected[1].root, "--any-code", "--seeds", 9, "-o", "more")
    assert code == 0 and "not run at the laptop tier: `tangentbench claims show/search --tier laptop`" in err


def test_it_says_which_option_has_runs(collected, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    tasks = report_store.write_tasks(tmp_path / "tasks")
    tiers = "tiers: {paper: {stop: {steps: 400}}}\n"
    (tasks / "show" / "split.yaml").write_text(report_store.FILES["show/split.yaml"] + tiers)

    def said(*words, code):
        monkeypatch.setattr(provenance, "code_digest", lambda kind=None: code)
        words = ["report", "show/split", "--tasks", str(tasks), "--results", str(collected[1].root), *words]
        assert cli.main(words) == 4
        return capsys.readouterr().err

    paper = said("--tier", "paper", code=report_store.CODE)
    assert paper.endswith("no run of these tasks at the paper tier; it has smoke runs: add --tier smoke\n")
    assert said(code="0ther").endswith("at the laptop tier; it has laptop runs of other code: add --any-code\n")
    assert said("--tier", "paper", code="0ther").endswith("runs of other code: add --tier smoke --any-code\n")
    again = f"`tangentbench run show/split --tasks {tasks} --tier laptop --results {collected[1].root}` makes them\n"
    assert said("--base-seed", "700", code="0ther").endswith(f"at the laptop tier; {again}")


@pytest.mark.parametrize(
    ("here", "said"),
    [
        ({"xla_flags": "--xla_x=1"}, "it has laptop runs made with other XLA_FLAGS: add --any-code\n"),
        ({"xla_flags": "--xla_x=1", "versions": {"jax": "0.1"}}, "it has laptop runs of other code: add --any-code\n"),
    ],
    ids=["flags", "flags and versions"],
)
def test_it_says_which_variable_made_the_runs_other_code(call, collected, monkeypatch, here, said):
    monkeypatch.setattr(provenance, "code_digest", lambda kind=None: "0ther")
    monkeypatch.setattr(provenance, "provenance", lambda argv: {**report_store.PROVENANCE, "variables": {}, **here})
    code, out, err = call("show/split", "--results", collected[1].root)
    assert (code, out) == (4, "") and err.endswith(said)


def test_the_command_s_mistakes(call, collected, tmp_path):
    code, _, err = call("show/search", "--results", "nowhere")
    assert code == 1 and "no results folder nowhere" in err
    assert call("show/none", "--results", collected[1].root)[0] == 4
    (tmp_path / "file").write_text("")
    code, _, err = call("show/search", "--results", collected[1].root, "--any-code", "-o", "file")
    assert code == 1 and "cannot write to file" in err


def test_no_jax(collected, tmp_path):
    import subprocess
    import sys

    script = (
        "import sys; from tangentbench.runners import cli; code = cli.main(sys.argv[1:]);"
        "assert not {'jax', 'sklearn', 'scipy.stats'} & set(sys.modules), sorted(sys.modules); sys.exit(code)"
    )
    words = [
        "report",
        "show/search",
        "--tasks",
        collected[2],
        "--results",
        collected[1].root,
        "--any-code",
        "-o",
        tmp_path,
    ]
    done = subprocess.run([sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_origin_counts_runs_in_whole_numbers(collected):
    runs = [run for item in collected[0].tasks for run in item.runs]
    assert ("runs", str(len(runs))) in page.origin(runs) and len(runs) > 1


@pytest.mark.parametrize(("scale", "distance"), [("linear", "0.0673"), ("log", "a factor of 0.0673")])
def test_a_claim_s_power_is_a_sentence(collected, scale, distance):
    verdict = replace(collected[0].verdicts[0], detectable=0.0673, scale=scale)
    expected = f"a true value outside by {distance} would, with as many seeds, be found to fail in four of five cases"
    assert page_boards.power(verdict) == expected and page_boards.power(replace(verdict, detectable=None)) == ""
