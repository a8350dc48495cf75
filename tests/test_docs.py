"""CONTRIBUTING.md and docs are executed by `.ci/run`; here: that all they say can be found, parsed and validated."""

import re

import pytest

from tangentbench.runners import arguments
from tangentbench.runners.contracts.promises import PROMISES
from tangentbench.tasks import load, registry
from tangentbench.tasks.task_file import TaskFile

LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.fixture(scope="module")
def readme(script):
    return script("readme")


@pytest.fixture(scope="module")
def texts(readme, root):
    return {page: page.read_text() for page in [*readme.pages(root), root / "docs" / "compare.md", root / "README.md"]}


def test_the_pages(texts):
    assert {"first-five-minutes", "writing-a-task", "writing-a-component", "results", "statistics"} <= {
        page.stem for page in texts
    }


def test_every_command_is_one(readme, texts):
    for text in texts.values():
        for words in readme.tangentbench(text):
            words = words[: words.index(">")] if ">" in words else words
            arguments.parser().parse_args([word for word in words if word != "--help"])


def test_a_command_that_is_none_is_noticed(readme, capsys):
    with pytest.raises(SystemExit):
        arguments.parser().parse_args(readme.tangentbench("```sh\ntangentbench new tsak x\n```\n")[0])
    assert "did you mean 'task'?" in capsys.readouterr().err


def test_every_task_is_valid_and_every_snippet_compiles(readme, texts, tmp_path):
    saved = 0
    for page, text in texts.items():
        for language, block in readme.blocks(text):
            if language == "yaml":
                path = tmp_path / f"{page.stem}.yaml"
                path.write_text(block)
                load.load_task(path)
                saved += bool(readme.file_of(block))
            elif language == "python":
                compile(block, page.name, "exec")
    assert saved == 1  # the one that later commands of its page use


def test_every_link_leads_somewhere(texts):
    for page, text in texts.items():
        for target in LINK.findall(text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_links_are_found():
    assert LINK.findall("[a](b.md) [c](d/e.md#f) [g](https://h)") == ["b.md", "d/e.md"]


def test_the_reference_has_every_key_of_a_task(root):
    text = (root / "docs" / "writing-a-task.md").read_text()
    table = text.split("| key | says |")[1].split("\n\n")[0]
    heads = " ".join(row.split("|")[1] for row in table.splitlines()[2:])
    assert set(re.findall(r"`(\w+)`", heads)) == set(TaskFile.model_fields)
    assert all(f"`{kind}`" in text for kind in registry.CLAIMS)


def test_the_format_of_results_has_every_key(root):
    from tangentbench.runners.records import OUTCOMES, STATUSES, Run

    text = (root / "docs" / "results.md").read_text()
    named = set(re.findall(r"`(\w+)`", text))
    assert {*Run.__dataclass_fields__, "arrays_bytes", *STATUSES, *OUTCOMES} <= named


def test_recipes_name_their_examples(root, texts):
    text = texts[root / "CONTRIBUTING.md"]
    for kind in arguments.NEW:
        recipe = text.split(f"### A {kind}\n")[1].split("###")[0]
        assert f"tangentbench new {kind} " in recipe and "Example: " in recipe and "tests/examples/" in recipe
    assert set(arguments.NEW) - {"task"} == set(PROMISES) - {"loss"}


def test_a_page_is_run_in_order(readme, monkeypatch, tmp_path):
    ran = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(readme, "run", lambda words, results: ran.append(words))
    monkeypatch.setattr(readme, "run_snippet", lambda block, results: ran.append(block))
    monkeypatch.setattr(readme.subprocess, "run", lambda words, check: ran.append(words[-1]))
    text = (
        "```yaml\n# file: a.yaml\nb: 1\n```\n"
        "```sh\ntangentbench validate a.yaml  # why\npip install -e ./x\nuv y\n```\n"
        "```python\nc = 1\n```\n```yaml\nd: 1\n```\n"
    )
    readme.run_page(text, "results")
    assert ran == [["validate", "a.yaml"], "./x", "c = 1\n"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]
