"""README.md is executed by `.ci/run`; here: that its commands are found, and that they exist."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

BOARD = """\
# x
<!-- from: tangentbench claims --format markdown -->

| paper | claim | value |
|:--|--|--:|
| A | one | 1.0 |
| B | two | 2.0 |

# y
| not | this |
|--|--|
| a | b |
"""


@pytest.fixture(scope="module")
def readme(script):
    return script("readme")


@pytest.fixture(scope="module")
def text(root):
    return (root / "README.md").read_text()


def test_the_two_lines(readme, text):
    main, test = readme.line(text, "main"), readme.line(text, "test")
    assert main.startswith("python3 -m venv .venv && .venv/bin/pip install -c constraints.txt . && ")
    assert test.endswith("python -m pytest -n 2 --dist loadfile")


@pytest.mark.parametrize("text", ["", "```sh\npip install . && python -m pytest\n```\n" * 2])
def test_no_line_or_two_are_refused(readme, text):
    with pytest.raises(SystemExit, match="expected one `test` line"):
        readme.line(text, "test")


def test_commands(readme):
    text = "a\n```sh\nx 1  # why\n\n.venv/bin/tangentbench run \\\n  A && y\n```\n```\nno\n```\n"
    assert readme.commands(text) == ["x 1", ".venv/bin/tangentbench run    A && y"]
    assert readme.tangentbench(text) == [["run", "A"]]


def test_python_blocks(readme, text):
    assert readme.snippets("x\n```python\na = 1\n```\n```sh\nb\n```\n") == ["a = 1\n"]
    assert len(readme.snippets(text)) == 1
    with pytest.raises(SystemExit, match="a Python block failed"):
        readme.run_snippet("from tangentbench.runners import nothing", "results")


def test_boards_are_compared_by_structure(readme):
    [(words, [table])] = readme.boards(BOARD)
    assert words == ["claims", "--format", "markdown"]
    assert table == (("paper", "claim", "value"), frozenset({"A", "B"}))
    assert readme.tables(BOARD.replace("1.0", "7.3").replace(" | ", "  |  "))[0] == table
    assert readme.tables(BOARD.replace("claim |", "verdict |"))[0] != table
    assert readme.tables(BOARD.replace("| B", "| C"))[0] != table


def test_every_command_and_option_exists(readme, text):
    program = str(Path(sys.executable).parent / "tangentbench")
    for words in readme.tangentbench(text) + [words for words, _ in readme.boards(text)]:
        usage = subprocess.run([program, words[0], "--help"], capture_output=True, text=True)
        assert usage.returncode == 0, shlex.join(words)
        for option in (word for word in words if word.startswith("--")):
            assert option in usage.stdout, shlex.join(words)


def test_the_example_task_is_the_one_that_is_run(root, text):
    shown = text.split("```yaml\n")[1].split("```")[0]
    assert shown == (root / "tests" / "examples" / "first_task.yaml").read_text()
