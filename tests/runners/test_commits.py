"""Commits without runs are run, with the right tasks, tier and words; what is missing for it is said in one line."""

import os
import subprocess
import sys

import pytest

from tangentbench.runners import cli, commit_environment, commits, provenance, sides
from tangentbench.runners.results import StoreError

from .planted import cells, plant

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone with two commits, whose runs are planted instead of computed; the calls are recorded."""
    (tmp_path / "asv.conf.json").write_text("{}")
    asked = []

    def call(python, words, commit, *, quiet, variables=None):
        asked.append((commit, words[2:]))
        tier = words[words.index("--tier") + 1]
        plant(tmp_path / "runs", cells((0.1,)), code=f"c0de{commit[0]}", tier=tier,
              provenance={"package": {"commit": commit, "dirty": False}})  # fmt: skip
        return 0, ""

    monkeypatch.setattr(provenance, "repository", lambda: tmp_path)
    monkeypatch.setattr(provenance, "commit_of", {"old": OLD, "new": NEW}.get)
    monkeypatch.setattr(provenance, "code_digest_at", lambda commit: None)
    monkeypatch.setattr(provenance, "file_at", lambda commit, name: None if "gone" in name else "")
    monkeypatch.setattr(commits, "environment", lambda commit, **options: "python")
    monkeypatch.setattr(commits, "call", call)
    return tmp_path, asked


def compare(folder, *words):
    return cli.main(["compare", "commit:old", "commit:new", "--results", str(folder / "runs"), "--quiet", *words])


def test_what_neither_side_has_is_run(clone, capsys):
    folder, asked = clone
    assert compare(folder) == 0
    assert [commit for commit, _ in asked] == [OLD, NEW]
    first, second = (words for _, words in asked)
    assert first[:2] == ["run", "--tier"] and first[2] == "smoke", "the whole suite of the commit"
    assert second[:2] == ["run", "family/task"] and os.path.isabs(second[second.index("--results") + 1])
    assert "equivalent" in capsys.readouterr().out
    asked.clear()
    assert compare(folder) == 0 and not asked, "what is stored is not run again"


def test_the_other_sides_tier_is_run(clone):
    folder, asked = clone
    plant(folder / "runs", cells((0.1,)), code="c0dea", tier="laptop", provenance={"package": {"commit": OLD}})
    assert compare(folder) == 0
    ((commit, words),) = asked
    assert commit == NEW and words[:4] == ["run", "family/task", "--tier", "laptop"]


def test_only_some_tasks(clone, capsys):
    folder, asked = clone
    plant(folder / "runs", cells((0.1,)), code="c0dea", provenance={"package": {"commit": OLD}})
    assert compare(folder, "--only", "family/*", "--tier", "smoke") == 0
    assert [words[1] for _, words in asked] == ["family/task"]
    with pytest.raises(sides.NoRuns, match="no runs of g/t"):
        sides.resolve("commit:old", folder / "runs", only=["g/t"])


def test_running_can_be_refused(clone, capsys):
    folder, asked = clone
    (folder / "runs").mkdir()
    assert compare(folder, "--no-run") == 1 and not asked
    assert "has no runs of commit aaaaaaaaaa" in capsys.readouterr().err


def test_tasks_that_the_commit_lacks_are_left_out(clone):
    folder, asked = clone
    commits.run(OLD, folder / "runs", "smoke", ["family/task", "f/gone", "g/*"], quiet=True)
    assert asked[0][1][1:3] == ["family/task", "g/*"]
    with pytest.raises(StoreError, match="none of the tasks f/gone"):
        commits.run(OLD, folder / "runs", "smoke", ["f/gone"])


@pytest.mark.parametrize("code", [1, 4])
def test_a_commit_that_cannot_run_is_one_line(clone, monkeypatch, capsys, code):
    folder, _ = clone
    monkeypatch.setattr(commits, "call", lambda *a, **k: (code, "no task matches"))
    assert compare(folder) == 1
    said = capsys.readouterr().err
    assert said == "tangentbench: commit aaaaaaaaaa could not run its suite: no task matches\n"


@pytest.mark.parametrize("stored", [True, False])
def test_two_is_a_failed_cell_or_a_command_line_that_takes_other_words(clone, monkeypatch, capsys, stored):
    folder, _ = clone
    as_planted = commits.call

    def call(*words, **options):
        if stored:
            as_planted(*words, **options)
        return 2, "main.py: error: unrecognized arguments: --quiet"

    monkeypatch.setattr(commits, "call", call)
    assert compare(folder, "--only", "family/*") == (0 if stored else 1)
    said = capsys.readouterr().err
    words = "could not run family/*: no run was stored, so its command line may know other words (main.py: error: "
    assert (words in said) == (not stored) and said.count("\n") == (not stored)


def test_an_unknown_commit_is_not_run(clone, capsys):
    folder, asked = clone
    assert cli.main(["compare", "commit:gone", "commit:new", "--results", str(folder / "runs")]) == 1
    assert "no commit is called 'gone'" in capsys.readouterr().err and not asked


# -- asv's part --------------------------------------------------------------------------------------------------------


def test_without_a_clone_it_says_so(monkeypatch):
    monkeypatch.setattr(provenance, "repository", lambda: None)
    with pytest.raises(StoreError, match="only be run from a clone of the suite, with git installed"):
        commits.environment(OLD, pins=None)


def test_what_stops_asv_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "asv.conf.json").write_text('{"version": 1, "repo": "gone", "environment_type": "virtualenv"}')
    monkeypatch.setattr(provenance, "repository", lambda: tmp_path)
    with pytest.raises(StoreError) as caught:
        commits.environment(OLD, pins=None, python="2.0", quiet=True)
    assert str(caught.value).startswith("asv cannot prepare commit aaaaaaaaaa: ") and "\n" not in str(caught.value)


def test_asv_itself_may_be_missing(tmp_path):
    hidden = "import sys; sys.modules['asv'] = None; sys.argv[1:] = ['abc']"
    code = f"{hidden}\nfrom tangentbench.runners import commit_environment as c\nraise SystemExit(c.main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "asv is not installed; `pip install 'tangentbench[dev]'` brings it" in done.stderr


def test_a_commit_says_where_its_runs_come_from(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    code = f"import os; assert os.environ['ASV_COMMIT'] == '{OLD}' and 'PYTHONPATH' not in os.environ"
    assert commits.call(str(python), ["-S", "-c", code], OLD, quiet=True)[0] == 0
    ended, said = commits.call(str(python), ["-S", "-c", "import sys; sys.exit('why')"], OLD, quiet=True)
    assert (ended, said) == (1, "why")
    with pytest.raises(KeyboardInterrupt):
        commits.call(str(python), ["-S", "-c", "raise SystemExit(130)"], OLD, quiet=True)


def test_pins_are_those_of_the_python():
    text = """# a remark
jax==0.10.2 ; python_full_version < '3.12'
jax==0.12.0.1 ; python_full_version >= '3.12'
    # via tangentbench
numpy==2.4.6
rich==13.9.0
"""
    assert commit_environment.pinned(text, "3.11") == {"jax": "0.10.2", "numpy": "2.4.6"}
    assert commit_environment.pinned(text, "3.13") == {"jax": "0.12.0.1", "numpy": "2.4.6"}
