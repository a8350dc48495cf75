"""What `list` prints: tasks by their headlines, components by their entries, one component with its options."""

import csv
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tangentbench.runners import listing
from tangentbench.runners.rows import FORMATS
from tangentbench.runners.text_table import PIPE_WIDTH
from tangentbench.tasks import load, registry
from tangentbench.tasks.headlines import headline
from tangentbench.tasks.load import TaskFileError, UnknownName, suite
from tangentbench.tasks.option_words import options

EXAMPLES = Path(__file__).parents[1] / "tasks" / "examples"
ENTRIES = [entry for kind in listing.KINDS.values() for entry in registry.table(kind).values()]


@pytest.mark.parametrize("kind", ["tasks", *listing.KINDS])
def test_every_format_lists_the_same_names(kind):
    text = {fmt: listing.list_components(kind, fmt) for fmt in FORMATS}
    rows = json.loads(text["json"])
    names = [row.get("id") or row["name"] for row in rows]
    assert names == (suite() if kind == "tasks" else [*registry.table(listing.KINDS[kind])])
    assert [row[0] for row in csv.reader(io.StringIO(text["csv"]))][1:] == names
    assert [line.split("|")[1].strip() for line in text["markdown"].splitlines()[2:]] == names
    lines = [line.split()[0] for line in text["table"].splitlines() if line[:2].strip()]  # not what was wrapped
    assert [line for line in lines if line in names] == names
    assert max(map(len, text["table"].splitlines())) <= PIPE_WIDTH


def test_metrics_have_unit_direction_and_definition():
    row = next(r for r in json.loads(listing.list_components("metrics", "json")) if r["name"] == "agop_alignment")
    assert (row["unit"], row["direction"]) == ("1", "higher") and "tr(G^T G*)" in row["definition"]


def test_a_headline_says_what_the_whole_task_says():
    rows = {row["id"]: row for row in json.loads(listing.list_components("tasks", "json"))}
    for task in load.find():
        controls = sum(claim.control is not None for claim in task.claims)
        assert rows[task.id] == {
            "id": task.id, "paper": task.paper.arxiv if task.paper else "", "title": task.title,
            "claims": len(task.claims) - controls, "controls": controls, "arena": "yes" if task.leaderboard else "",
        }  # fmt: skip


def test_a_headline_follows_the_default_tier(tmp_path):
    text = (EXAMPLES / "exponent.yaml").read_text()
    found = headline("x", EXAMPLES / "exponent.yaml", "x")
    text = text.replace("tiers:", "tiers:\n  laptop: {claims: {falls: null}}")
    (tmp_path / "x.yaml").write_text(text)
    fewer = headline("x", tmp_path / "x.yaml", "x")
    assert found is not None and fewer is not None and fewer.claims == found.claims - 1


def test_a_folder_of_tasks_is_listed_too(tmp_path):
    rows = json.loads(listing.list_components("tasks", "json", folder=str(EXAMPLES)))
    row = next(row for row in rows if row["id"] == "batch_size")
    assert (row["paper"], row["claims"], row["controls"], row["arena"]) == ("2306.04815", 2, 1, "")
    (tmp_path / "bad.yaml").write_text("title: 3\nversion: 1\n")
    with pytest.raises(TaskFileError, match="bad.yaml:1:8: 'title': expected text, got 3"):
        listing.list_components("tasks", folder=str(tmp_path))
    with pytest.raises(ValueError, match="unknown kind 'colours'"):
        listing.list_components("colours")


@pytest.mark.parametrize("words", ["list", "list methods"])
def test_a_list_builds_no_schema(words):
    code = f"import sys; from tangentbench.runners.cli import main; main({words.split()!r}); "
    code += "print(*{'pydantic', 'rich', 'numpy'} & set(sys.modules))"
    lines = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    assert lines[-1] == ""


# -- one component ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_every_option_is_shown_with_its_default_and_a_sentence(entry):
    schema = entry.schema()
    fields = {info.alias or name: info for name, info in schema.model_fields.items()} if schema else {}
    shown = json.loads(listing.show_component(entry, "json"))
    top = {row["option"]: row for row in shown["options"] if "." not in row["option"]}
    assert top.keys() == fields.keys()
    for name, info in fields.items():
        assert (top[name]["default"] == "required") == info.is_required(), name
        assert top[name]["type"] and top[name]["says"], name
    assert shown["name"] == entry.name and shown["source"] == entry.source


def test_options_in_words():
    wide = {option.option: option for option in options(registry.find("model", "wide"))}
    assert wide["depth"].type == "whole number >= 1 and <= 200" and wide["depth"].default == "required"
    assert wide["activation"].type.startswith("identity | relu | tanh")
    assert (wide["bias"].type, wide["bias"].default) == ("true | false", False)
    assert wide["init.output"].default == "normal" and wide["init"].type == "mapping"
    assert wide["expansion"].default is None and "init.weights.sigma1" in wide
    digits = {option.option: option for option in options(registry.find("dataset", "digits"))}
    assert (digits["reference"].type, digits["reference"].default) == ("mapping", None)
    assert (digits["reference.width"].default, digits["reference.width"].says) == (256, "Width of every hidden layer.")
    sgd = {option.option: option for option in options(registry.find("method", "sgd"))}
    assert "{critical: number > 0" in sgd["learning_rate"].type and "{name: cosine" in sgd["schedule"].type
    assert (sgd["learning_rate.critical"].default, sgd["learning_rate.second_critical"].default) == ("", None)
    assert sgd["schedule.end"].says.startswith("linear: ") and "schedule.name" not in sgd
    contrast = {option.option: option for option in options(registry.find("claim", "contrast"))}
    assert contrast["within"].type == "list of 2 × number" and contrast["as"].type == "difference | ratio"
    heads = [name for name in sgd if "." not in name]
    assert heads[:2] == ["learning_rate", "batch_size"]  # what must be given comes first
    assert [*sgd][1] == "learning_rate.value"  # what is nested follows what it belongs to


def test_a_component_in_every_format(monkeypatch):
    monkeypatch.setenv("COLUMNS", str(PIPE_WIDTH))
    entry = registry.find("model", "wide")
    text = listing.show_component(entry)
    assert "Number of hidden layers." in text and "required" in text and max(map(len, text.splitlines())) <= PIPE_WIDTH
    assert listing.show_component(entry, "markdown").startswith("# wide\n")
    rows = list(csv.DictReader(io.StringIO(listing.show_component(entry, "csv"))))
    assert {row["option"]: row["default"] for row in rows}["expansion"] == "none"
    assert listing.show_component(registry.find("loss", "mse"), "csv") == "option,type,default,says"
    assert "no options" in listing.show_component(registry.find("loss", "mse"))
    assert "critical: 0.2" in listing.show_component(registry.find("method", "sgd"))
    with pytest.raises(ValueError, match="unknown format 'yaml'"):
        listing.show_component(entry, "yaml")


def test_a_metric_is_shown_with_what_its_numbers_bound():
    entry = registry.find("metric", "hessian_norm")
    shown = json.loads(listing.show_component(entry, "json"))
    assert {key: shown[key] for key in listing.BOUNDS} == {key: getattr(entry, key) for key in listing.BOUNDS}
    for fmt in ("table", "markdown"):
        assert f"{entry.tolerance:g}: the largest residual" in listing.show_component(entry, fmt)
    assert "tolerance" not in json.loads(listing.show_component(registry.find("metric", "train_loss"), "json"))


def test_names_are_found_in_one_kind_or_in_all():
    assert [entry.kind for entry in listing.named("boundary")] == ["metric", "claim"]
    assert [entry.kind for entry in listing.named("boundary", "claims")] == ["claim"]
    assert listing.named("nothing") == []
    with pytest.raises(UnknownName, match="did you mean 'wide'"):
        listing.named("wid", "models")


@pytest.mark.parametrize("kind", ["tasks", *listing.KINDS])
def test_lists_fit_a_narrow_terminal(monkeypatch, kind):
    lengths = []
    for width in (60, 80, 99, 100, 108, 120, 150, 220):
        monkeypatch.setenv("COLUMNS", str(width))
        lines = listing.list_components(kind).splitlines()
        assert max(map(len, lines)) <= width
        lengths.append(len(lines))
    assert lengths == sorted(lengths, reverse=True)  # more room, no more lines


@pytest.mark.parametrize("width", [60, 100, 140])
def test_a_metric_of_a_plug_in_fits_the_terminal(monkeypatch, width):
    entry = replace(
        registry.find("metric", "hessian_norm"), name="a_norm_with_a_long_name", origin="tangentbench-norms"
    )
    monkeypatch.setitem(registry.table("metric"), entry.name, entry)
    monkeypatch.setenv("COLUMNS", str(width))
    text = listing.list_components("metrics")
    assert entry.name in text and max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("kind", ["tasks", *listing.KINDS])
@pytest.mark.parametrize("width", ["60", "80", "120"])
def test_a_narrow_terminal_hides_no_field(monkeypatch, kind, width):
    """Every name, key and word that a wide one shows."""
    monkeypatch.setenv("COLUMNS", width)
    rows = json.loads(listing.list_components(kind, "json"))
    text = listing.list_components(kind)
    squeezed = "".join(text.split())
    keys = {key for row in rows for key in list(row)[1:]} - {listing.LONG.get(kind, "summary")}
    assert all(re.search(rf"\b{key}\b", text) for key in keys)
    fields = [str(value) for row in rows for value in row.values()]
    parts = {part for field in fields for part in re.split(r"[\s_/]+", field)}  # a column breaks words after these
    assert [part for part in parts if part not in squeezed] == []
    names = [str(next(iter(row.values()))) for row in rows]
    assert [line.split()[0] for line in text.splitlines() if line[:2].strip() and line.split()[0] in names] == names
