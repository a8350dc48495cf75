"""The command line: what is printed where, in every format, and with which exit code."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tangentbench.runners import arguments, cli, completion, suite
from tangentbench.runners.results import Store

from . import suite_files
from .troubles import calls

FORMATS = arguments.FORMATS


@pytest.fixture(autouse=True)
def _signals():
    """The command line handles SIGTERM in its own process; here it is a guest."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Call the command in a folder of its own: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words):
        code = cli.main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return suite_files.write(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def computed(tasks, tmp_path_factory):
    """A results folder in which everything has been run once."""
    results = tmp_path_factory.mktemp("results") / "store"
    words = ["run", "--tasks", str(tasks), "--results", str(results), "--quiet", "tiny", "broken/outputs"]
    assert cli.main(words) == 2  # broken/outputs
    return results


def checked(out, fmt):
    """Parse what was printed: rows of the machine formats, lines of the others."""
    if fmt == "json":
        return json.loads(out)
    if fmt == "csv":
        rows = list(csv.reader(io.StringIO(out)))
        assert rows and len({len(row) for row in rows if row}) == 1
        return rows
    lines = out.splitlines()
    assert lines and (fmt != "markdown" or any(line.startswith("|") for line in lines))
    return lines


# -- formats and exit codes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", FORMATS)
def test_every_command_prints_every_format(call, tasks, computed, fmt):
    stored = ("--tasks", tasks, "--results", computed, "--format", fmt)
    for words, expected in (
        (("list", "methods", "--format", fmt), 0),
        (("list", "tasks", "--tasks", tasks, "--format", fmt), 0),
        (("show", "tiny/holds", "--tasks", tasks, "--format", fmt), 0),
        (("validate", tasks, "--format", fmt), 0),
        (("run", "tiny", *stored), 0),
        (("run", "broken/outputs", *stored), 2),
        (("claims", "tiny/holds", *stored), 0),
        (("claims", "tiny/fails", *stored), 3),
        (("leaderboard", "tiny/arena", *stored), 0),
        (("leaderboard", "tiny/arena", "--dry-run", *stored), 0),
    ):
        code, out, err = call(*words)
        assert (code, err == "") == (expected, expected != 2), words
        if words[0] == "validate" and fmt in ("csv", "markdown"):
            assert len(out.splitlines()) == (1 if fmt == "csv" else 2)  # a head, and no mistakes
        elif words[0] != "validate" or fmt == "json":
            checked(out, fmt)


def test_what_the_documents_say(call, tasks, computed):
    stored = ("--tasks", tasks, "--results", computed, "--format", "json")
    runs = json.loads(call("run", "tiny/holds", *stored)[1])
    assert {(run["method.learning_rate.critical"], run["seed"]) for run in runs} == {
        (rate, seed) for rate in (0.25, 0.5) for seed in range(3)
    }
    assert all(run["status"] == "ok" and run["steps"] == 6 and run["train_loss"] > 0 for run in runs)
    (row,) = json.loads(call("run", "broken/outputs", *stored)[1])
    assert row["status"] == "error" and "general_quadratic has one output" in row["message"]
    document = json.loads(call("claims", "tiny/fails", *stored)[1])
    assert {claim["claim"]: claim["verdict"] for claim in document["claims"]} == {
        "small": "holds", "impossible": "fails",
    }  # fmt: skip
    (arena,) = json.loads(call("leaderboard", "tiny/arena", *stored)[1])["leaderboard"]
    assert {row["method"] for row in arena["rows"]} == {"gd", "momentum"}
    (plan,) = json.loads(call("run", "tiny/arena", "--dry-run", *stored)[1])
    assert (plan["cells"], plan["runs"], plan["missing"]) == (12, 12, 0)


def test_a_second_call_computes_nothing_and_says_nothing(call, tasks, computed):
    files = {path: path.stat().st_mtime_ns for path in computed.rglob("run.json")}
    code, out, err = call("run", "tiny", "--tasks", tasks, "--results", computed)
    assert (code, err) == (0, "") and "18 runs" not in err
    assert {path: path.stat().st_mtime_ns for path in computed.rglob("run.json")} == files


def test_a_stored_error_says_why_and_how_to_try_again(call, tasks, computed):
    stored = ("--tasks", tasks, "--results", computed, "--quiet")
    for fmt in FORMATS:
        code, out, err = call("run", "tiny/holds", "broken/outputs", *stored, "--format", fmt)
        assert code == 2 and err.startswith(
            "1 run of broken/outputs: error: ValueError: general_quadratic has one output"
        )
        assert err.endswith("; `--fresh` tries again\n") and err.count("\n") == 1 and "--fresh" not in out
    assert call("run", "tiny/holds", *stored)[2] == ""


def test_tasks_without_an_arena_are_left_out_aloud(call, tasks, computed):
    stored = ("--tasks", tasks, "--results", computed, "--quiet")
    code, out, err = call("leaderboard", "tiny", *stored)
    assert code == 0 and "tiny/arena" in out
    said = "left out, no arena: tiny/fails, tiny/holds; `tangentbench claims` prints what they claim\n"
    assert err == said
    assert call("leaderboard", "tiny/arena", *stored)[2] == ""
    assert "left out" not in call("claims", "tiny", *stored)[2]


def test_boards_are_drawn_on_demand(call, tasks, computed, tmp_path):
    stored = ("--tasks", tasks, "--results", computed)
    code, _, err = call("claims", "tiny/holds", *stored, "--plot", "boards.svg")
    assert code == 0 and err.strip() == "plot: boards.svg"
    assert (tmp_path / "boards.svg").read_text().startswith("<?xml")
    for target, message in (("boards.gif", "saved as .svg or .png"), ("no/such/boards.svg", "cannot write")):
        code, _, err = call("claims", "tiny/holds", *stored, "--plot", target)
        assert code == 1 and message in err and err.count("\n") == 1


def test_a_dry_run_runs_and_writes_nothing(call, tasks, tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "run_missing", None)
    code, out, _ = call("run", "tiny", "--tasks", tasks, "--dry-run", "--format", "json", "--seeds", 2)
    rows = {row["task"]: row for row in json.loads(out)}
    assert code == 0 and rows["tiny/holds"]["missing"] == rows["tiny/holds"]["runs"] == 4
    assert list(tmp_path.iterdir()) == []


def test_seeds_and_base_seed_choose_the_runs(call, tasks, monkeypatch):
    seen = {}
    monkeypatch.setattr(suite, "run_missing", lambda planned, *args, **rest: seen.update(cells=planned.first_wave) or 0)
    call("run", "tiny/holds", "--tasks", tasks, "--seeds", 2, "--base-seed", 7)
    assert [cell.seeds for cell in seen["cells"]] == [[7, 8]] * 2
    call("run", tasks / "tiny" / "holds.yaml", "--quiet")
    assert [(cell.task, cell.seeds) for cell in seen["cells"]] == [("holds", [0, 1, 2])] * 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupt_is_130(call, tasks, monkeypatch, number):
    monkeypatch.setattr(suite, "run_missing", lambda *args, **rest: signal.raise_signal(number))
    code, out, err = call("run", "tiny/holds", "--tasks", tasks)
    assert (code, out) == (130, "") and "the same command continues" in err


# -- mistakes ---------------------------------------------------------------------------------------------------------


def test_usage_errors_are_one_line_and_1(call):
    for words, hint in (
        (("run", "--sedes", "3"), "--sedes"),
        (("rum",), "unknown command 'rum': did you mean 'run'?"),
        (("borad",), "choose list, show, validate, new, check, run, leaderboard, claims"),
        (("run", "--seeds", "0"), "at least 1"),
        (("run", "--seeds", "many"), "'many'"),
        (("run", "--base-seed", "-1"), "at least 0"),
        (("run", "--jobs", "0"), "at least 1"),
        (("run", "--tier", "huge"), "smoke"),
        (("run", "--seed", "3"), "unknown argument '--seed': did you mean '--seeds'"),
        (("--verion",), "did you mean '--version'"),
        (("show", "a", "b"), "unknown argument 'b'"),
        (("run", "--tier", "lapto"), "did you mean 'laptop'?"),
        (("list", "colours"), "methods"),
        (("list", "model"), "did you mean 'models'?"),
        (("run", "--format", "xml"), "markdown"),
        (("show",), "TASK"),
        (("claims", "--res", "x"), "--res"),
    ):
        code, out, err = call(*words)
        assert (code, out, err.count("\n")) == (1, "", 1), (words, err)
        assert hint in err and "--help" in err


def test_a_seed_of_the_tunings_is_one_line_and_1(call, tasks):
    code, out, err = call("run", "tiny/holds", "--tasks", tasks, "--seeds", 2, "--base-seed", 999_999)
    assert (code, out, err.count("\n")) == (1, "", 1) and "use a base seed of at most 999998" in err


def test_an_unknown_task_is_4_with_a_suggestion(call, tasks):
    for command in ("run", "claims", "leaderboard", "show"):
        code, out, err = call(command, "tiny/hods", "--tasks", tasks)
        assert (code, out) == (4, "") and "did you mean 'tiny/holds'?" in err and err.count("\n") == 1
    code, _, err = call("show", "tiny", "--tasks", tasks)
    assert code == 4 and "it is a family: tiny/" in err and "tiny/holds" in err
    code, _, err = call("run", "xyz")
    assert code == 4 and "`tangentbench list` shows them all" in err
    code, _, err = call("run", "nothing/*")
    assert code == 4 and "no task matches nothing/*" in err


def test_an_unknown_name_says_what_it_may_be(call, tmp_path):
    (tmp_path / "mine").mkdir()
    for words, hint in (
        (("claims", "quadratc"), "(did you mean 'quadratic'?)"),
        (("show", "wid"), "(did you mean 'wide'?)"),
        (("claims", "wide"), "(it is a model: `tangentbench show wide` describes it)"),
        (("claims", "hessian_norm"), "'constant_kernel/hessian_norm' or 'dag/hessian_norm'? it is a metric: "),
        (("show", "quadratic/rate*"), "(one task only: quadratic/rates)"),
        (("show", "nothing/*"), "(one task only)"),
        (("claims", "mine"), "(for the task files in this folder, write --tasks mine)"),
        (("list", "metrics", "hessian_nrm"), "(did you mean 'hessian_norm'?)"),
        (("check", "half_see"), "(did you mean 'half_sse' or"),
    ):
        code, out, err = call(*words)
        assert (code, out, err.count("\n")) == (4, "", 1) and hint in err, (words, err)


def test_a_file_that_is_not_there_has_a_next_step(call, tmp_path):
    (tmp_path / "width.yaml").write_text("title: mine")
    assert "did you mean 'width.yaml'?" in call("run", "widht.yaml")[2]
    assert "`tangentbench new task NAME` writes one" in call("run", "elsewhere/nope.yaml")[2]


def test_an_invalid_file_is_told_by_line_and_column(call, tmp_path):
    text = (suite_files.HEAD.format(title="t") + suite_files.CLAIMS).replace("loss: mse", "loss: msee")
    (tmp_path / "bad.yaml").write_text(text.replace("seeds: 3", "seeds: none"))
    line = text.splitlines().index("loss: msee") + 1
    for command in ("run", "claims", "leaderboard", "show", "validate"):
        code, _, err = call(command, "bad.yaml")
        assert code == 1 and f"bad.yaml:{line}:7: " in err and "did you mean 'mse'" in err
        assert len(err.splitlines()) == 2  # both mistakes at once
    code, _, err = call("run", "missing.yaml")
    assert code == 1 and "missing.yaml" in err and err.count("\n") == 1
    code, _, err = call("list", "--tasks", "nowhere")
    assert code == 1 and "no such folder" in err
    for command, again in (("report", "report"), ("run", "run"), ("show", "show"), ("list", "show")):
        task = ("x",) if command == "show" else ()
        code, _, err = call(command, *task, "--tasks", "bad.yaml")
        assert code == 1 and f"bad.yaml is a file; name it as a task: `tangentbench {again} bad.yaml`" in err


def test_a_damaged_run_is_one_plain_line(call, tasks, computed, tmp_path):
    shutil.copytree(computed, tmp_path / "damaged")
    path = min((tmp_path / "damaged").rglob("arrays.npz")).with_name("run.json")
    path.write_text("{")
    words = command("run", "tiny", "--tasks", tasks, "--results", "damaged", "--dry-run")  # here warnings are errors
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr.startswith(f"tangentbench: {path.relative_to(tmp_path)}: ")
    assert done.stderr.endswith("; it counts as missing\n") and done.stderr.count("\n") == 1


def test_an_empty_report_names_what_fills_it(call, tasks, computed, tmp_path):
    stored = ("report", "--results", computed, "--seeds", 1, "--base-seed", 500)
    code, out, err = call(*stored)
    assert (
        (code, out) == (4, "") and "broken/outputs, tiny/" in err and err.endswith("name their files after `report`\n")
    )
    code, out, err = call(*stored, "quadratic/single_example")
    again = f"`tangentbench run quadratic/single_example --tier laptop --results {computed}` makes them\n"
    assert (code, out) == (4, "") and err.endswith(again)
    (tmp_path / "page").write_text("")
    code, _, err = call("report", "tiny", "--tasks", tasks, "--results", computed, "-o", "page")
    assert code == 1 and err == "tangentbench: cannot write to page: File exists; -o names a folder\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_an_answer_without_room_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(command("list"), stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "tangentbench: cannot print: No space left on device\n")


def test_what_is_printed_keeps_to_the_width(call, tasks, monkeypatch):
    helps = [(name, "--help") for name in arguments.EXAMPLES if name]
    for width, most in ((80, 80), (250, 100)):
        monkeypatch.setenv("COLUMNS", str(width))
        for words in ((("--help",)), *helps):
            lines = call(*words)[1].splitlines()
            assert max(map(len, lines)) <= most, (words, max(lines, key=len))
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        for words in (
            ("show", "quadratic/rates"), ("list", "metrics", "hessian_norm"), ("check", "half_sse"),
            ("claims", "tiny/holds", "--tier", "smoke", "--results", "new", "--tasks", tasks, "--quiet"),
        ):  # fmt: skip
            lines = call(*words)[1].splitlines()
            assert 70 < max(map(len, lines)) <= width, (words, max(lines, key=len))
    wide = call("show", "quadratic/rates")[1].splitlines()
    assert any(len(line) > 100 for line in wide)  # COLUMNS counts in a pipe, too


def test_a_results_folder_that_cannot_be_one(call, tasks, tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("all of it")
    (tmp_path / "file").write_text("")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "tangentbench.json").write_text("{")
    for name, hint in (("foreign", "not empty"), ("file", "is a file"), ("torn", "cannot read"), ("file/x", "file")):
        for extra in ((), ("--dry-run",)):
            code, out, err = call("run", "tiny/holds", "--tasks", tasks, "--results", name, *extra)
            if name == "file/x" and extra:
                continue  # nothing is there, and nothing is made
            assert (code, out, err.count("\n")) == (1, "", 1), (name, extra, err)
            assert hint in err
    assert (tmp_path / "foreign" / "thesis.tex").read_text() == "all of it"


def test_help_and_version(call):
    code, out, err = call()
    assert (code, err) == (0, "") and "tangentbench" in out and "validate" in out
    for words in (("--help",), ("--version",), *((name, "--help") for name in ("list", "show", "validate", "run"))):
        code, out, err = call(*words)
        assert (code, err) == (0, "") and out
    for name in ("list", "show", "validate", "new", "check", "run", "leaderboard", "claims", "completion"):
        out = call(name, "--help")[1]
        assert "130  interrupted" in out and out.count(f"\n  tangentbench {name}") >= 3  # examples
    examples = [line.split("   ")[0].split(" > ")[0].split() for line in call("--help")[1].splitlines()]
    examples = [words[1:] for words in examples if words[:1] == ["tangentbench"]]
    assert len(examples) == 5
    for line in "\n".join(arguments.EXAMPLES.values()).split("\n"):
        words = line.strip().partition("   ")[0].partition(" > ")[0].replace("'", "").split()
        arguments.parser().parse_args(words[1:])  # every example is a command


@pytest.mark.parametrize(("shell", "words"), [("bash", "complete -o"), ("zsh", "#compdef"), ("tcsh", "complete")])
def test_completion_knows_commands_and_options(call, shell, words):
    code, out, err = call("completion", shell)
    assert (code, err) == (0, "") and words in out and "leaderboard" in out and "base-seed" in out
    assert completion.TASKS in out


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_shell_offers_task_ids(call, tmp_path):
    call("--version")
    (tmp_path / "script").write_text(call("completion", "bash")[1])
    ask = (
        "source ./script; COMP_WORDS=({0}); COMP_CWORD=2; COMP_LINE='{0}'; COMP_POINT=${{#COMP_LINE}}; "
        "_shtab_tangentbench; echo ${{COMPREPLY[@]}}"
    )
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    for words, found in (("run arena/m", "arena/monomial"), ("show quadratic/single", "quadratic/single_example")):
        line = ask.format(f"tangentbench {words}")
        done = subprocess.run(["bash", "-c", line], env={**os.environ, "PATH": path}, capture_output=True, text=True)
        assert done.stdout.split() == [found], done.stderr


def test_a_name_that_is_not_quite_a_tasks(call, tasks, tmp_path):
    (tmp_path / "my_question.yaml").write_text("title: mine")
    for words in (("run", "my_question"), ("show", "my_question")):
        code, _, err = call(*words)
        assert code == 4 and "(for the file here, write my_question.yaml)" in err
    for words in (("show", "arena"), ("list", "tasks", "dag")):
        code, out, err = call(*words)
        assert (code, out) == (4, "") and "it is a family: " in err
    code, out, err = call("show", "dag")  # a model, too
    assert code == 0 and "feed-forward graph" in out and err.startswith("dag is a family of tasks, too: dag/")
    (tmp_path / "empty.yaml").write_text("")
    code, _, err = call("run", "empty.yaml")
    assert code == 1 and "the file is empty (`tangentbench new task NAME` writes one" in err


def test_a_component_is_shown_with_its_options(call, tasks):
    for words in (("list", "models", "wide"), ("show", "wide")):
        code, out, err = call(*words)
        assert (code, err) == (0, "") and "Number of hidden layers." in out
    assert call("list", "tasks", "tiny/holds", "--tasks", tasks)[1] == call("show", "tiny/holds", "--tasks", tasks)[1]
    both = json.loads(call("show", "boundary", "--format", "json")[1])  # a metric and a claim
    assert [one["kind"] for one in both] == ["metric", "claim"]
    assert json.loads(call("show", "sgd", "--format", "json")[1])["kind"] == "method"
    code, out, err = call("list", "models", "wid")
    assert (code, out, err.count("\n")) == (4, "", 1) and "did you mean 'wide'?" in err


def test_schema_is_one_json_document(call):
    code, out, err = call("validate", "--schema")
    assert (code, err) == (0, "") and "dataset" in json.loads(out)["properties"]


# -- processes --------------------------------------------------------------------------------------------------------

WATCH = """
import sys
from tangentbench.runners.cli import main
seen = []
for words in ("list metrics", "show quadratic/single_example", "validate", "run arena/* --dry-run"):
    main(words.split())
    seen.append("jax" in sys.modules)
{planted}
print(*seen, "jax" in sys.modules)
"""


def test_what_reads_files_imports_no_jax():
    def seen(planted=""):
        code = WATCH.format(planted=planted)
        return subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()[-1].split()

    assert seen() == ["False"] * 5
    assert seen("import tangentbench.runners.train") == ["False"] * 4 + ["True"]


def command(*words):
    return [sys.executable, "-m", "tangentbench.runners.cli", *map(str, words)]


def test_a_reader_that_leaves_is_no_error():
    words = command("list", "metrics")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (0, b"")


SLOW = """title: Slow
version: 1
stream: 5
dataset: {{name: trouble, how: sleep, log: {log}, at: 2}}
model: {{name: wide, depth: 1, width: 5, activation: tanh}}
loss: mse
metrics: []
seeds: 3
"""


def test_an_interrupted_command_is_continued_by_the_same_command(tmp_path, trouble_path):
    (tmp_path / "slow.yaml").write_text(SLOW.format(log=tmp_path / "log"))
    words = command("run", tmp_path / "slow.yaml", "--results", tmp_path / "results", "--format", "json")
    environment = {**os.environ, "PYTHONPATH": trouble_path}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while calls(tmp_path / "log") < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.3)  # the first run is stored while the second sleeps
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == "" and "Traceback" not in err
    assert [run.status for run in Store(tmp_path / "results").runs()] == ["ok", "interrupted", "interrupted"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert [run["status"] for run in json.loads(done.stdout)] == ["ok"] * 3
    assert calls(tmp_path / "log") == 4  # seeds 0 and 1, then 1 and 2
