"""Someone else's results folder: what is wrong with it is found by the check that is for it, and said in its words."""

import json
import os
import shlex
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tangentbench.runners import arguments, cli, provenance, verify, verify_numbers, verify_rerun
from tangentbench.runners.records import Run
from tangentbench.runners.results import Store
from tangentbench.runners.verify_records import cell_of
from tangentbench.tasks import load

from . import suite_files

LONG = """method: {name: gd, learning_rate: {critical: 0.5}}
sweep: {method.learning_rate.critical: [0.1, 0.5]}
stop: {steps: 300}
record: {every: 30}
precision: float64
seeds: 2
metrics:
  - {name: train_loss, at: schedule}
  - test_loss
  - {name: test_loss, at: start, label: at_start}
  - peak_loss
  - {name: end_over_start, of: train_loss}
  - {name: work_to_target, target: 0.01}
"""
NAMES = ("tiny/long", "tiny/holds", "tiny/arena")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = suite_files.write(tmp_path_factory.mktemp("verified") / "tasks")
    (folder / "tiny" / "long.yaml").write_text(suite_files.HEAD.format(title="Longer than what is run again") + LONG)
    return folder


@pytest.fixture(scope="module")
def computed(tasks):
    """A store that was really computed."""
    place = tasks.parent / "results"
    assert cli.main(["run", *NAMES, "--tasks", str(tasks), "--results", str(place), "--quiet"]) == 0
    return place


@pytest.fixture
def theirs(computed, tmp_path):
    """A copy, which a test may change."""
    return Path(shutil.copytree(computed, tmp_path / "theirs"))


@pytest.fixture
def call(tasks, capsys):
    def call(folder, *words):
        code = cli.main(["verify", str(folder), "--tasks", str(tasks), "--quiet", *words])
        return code, *capsys.readouterr()

    return call


def without(tasks: Path, place: Path, *names: str) -> Path:
    """A copy of the tasks that lacks some."""
    folder = Path(shutil.copytree(tasks, place / "tasks"))
    for name in names:
        (folder / "tiny" / f"{name}.yaml").unlink()
    return folder


def runs_of(folder: Path, task: str) -> list[Run]:
    return [run for run in Store(folder).runs() if run.task == task]


def record(folder: Path, run: Run) -> Path:
    return folder / run.digest / run.code / str(run.seed) / "run.json"


def change(folder: Path, run: Run, **fields) -> None:
    path = record(folder, run)
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def change_curve(folder: Path, run: Run, name: str, factor: float, at: int) -> None:
    """Multiplies one value of a curve, and stores the record anew as if nothing had happened."""
    store = Store(folder)
    arrays = store.arrays(run)
    arrays[name] = arrays[name].copy()
    arrays[name][at] *= factor
    store.write(run, arrays)


def where(run: Run) -> str:
    return f"{run.digest}/{run.code}/{run.seed}"


def failing(report: verify.Report) -> dict[str, list[str]]:
    return {check.check: [fault.message for fault in check.faults] for check in report.failed}


# -- what is right -----------------------------------------------------------------------------------------------------


def test_what_was_computed_verifies(computed, call):
    code, out, err = call(computed, "--cells", "100", "--seed", "1", "--format", "json")
    document = json.loads(out)
    # the numbers of `long` at its end: its five, and its outcome
    assert (code, err, document["passed"], document["verified"]) == (0, "", True, False), out
    extent = document["extent"]
    assert (extent["numbers"] - extent["numbers_again"], extent["absent"]) == (4 * 6, 0)
    assert extent["runs"] == extent["runs_again"] == len(list(Store(computed).runs())) and extent["steps"] == 210
    said = {check["check"]: check for check in document["checks"]}
    assert list(said) == ["records", "cells", "tasks", "seeds", "code", "provenance", "numbers", "rerun"]
    assert {check["result"] for check in said.values()} == {"passed"}
    runs, cells = list(Store(computed).runs()), {run.digest for run in Store(computed).runs()}
    assert said["records"]["found"] == f"{len(runs)} of {len(runs)} runs can be read"
    assert said["tasks"]["found"] == f"{len(cells)} cells are asked by 3 tasks here"
    # all but `at_start` and `test_loss` of `long`, which leave no curve
    numbers = extent["numbers"]
    agree = f"{numbers - 4 * 2} numbers agree with their curves; 8 have no curve that tells them"
    assert said["numbers"]["found"] == agree
    # of 300 steps the first 200, and up to the next record
    assert said["rerun"]["found"].startswith(
        f"{len(runs)} runs of {len(cells)} cells, 210 steps: equal but for rounding"
    )


def test_the_seed_chooses_the_cells_and_is_told(computed, tasks, monkeypatch):
    chosen = []

    def rerun(store, wanted, **_):
        chosen.append([cell.digest for cell, _ in wanted])
        assert all({run.digest for run in runs} == {cell.digest} for cell, runs in wanted)
        return verify_rerun.Rerun(1, 1, "", ())

    monkeypatch.setattr(verify_rerun, "rerun", rerun)
    reports = [verify.verify(str(computed), seed=seed, tasks=[str(tasks)]) for seed in (1, 1, 2, 3, None)]
    assert chosen[0] == chosen[1] and len(chosen[0]) == 3 and len({tuple(sorted(digests)) for digests in chosen}) > 1
    assert reports[0].checks[-1].found.endswith("(--cells 3 --seed 1)")
    assert "--seed None" not in reports[-1].checks[-1].found


def last_line(folder, tasks) -> str:
    return verify.line(verify.verify(str(folder), cells=0, tasks=[str(tasks)]))


def test_its_boards_beside_ones_own(computed, theirs, tasks, monkeypatch, capsys):
    """The line that a verified folder ends with, typed."""
    monkeypatch.chdir(computed.parent)
    said = last_line(theirs, tasks)
    assert said.endswith("` shows its boards beside yours")
    words = shlex.split(said.split("`")[1])
    assert words == ["tangentbench", "compare", str(theirs), "results", "--tasks", str(tasks)]
    assert cli.main([*words[1:], "--format", "markdown"]) == 0
    out = capsys.readouterr().out
    assert "tiny/arena" in out and "| gd |" in out and "| momentum |" in out


def test_numbers_that_no_board_ranks_beside_ones_own(computed, theirs, tasks, monkeypatch):
    for run in runs_of(theirs, "tiny/arena"):
        shutil.rmtree(theirs / run.digest, ignore_errors=True)
    monkeypatch.chdir(computed.parent)
    assert last_line(theirs, tasks).endswith("` shows its numbers beside yours")


@pytest.mark.parametrize("own", ["none", "itself", "others"])
def test_a_page_where_there_is_nothing_of_ones_own_beside(computed, theirs, tasks, tmp_path, monkeypatch, capsys, own):
    """No results folder, the very folder that was verified, and one without a cell of it; typed."""
    monkeypatch.chdir(tmp_path)
    name = "theirs"
    if own == "itself":
        theirs.rename("results")
        name = "results"
    elif own == "others":
        Store("results", create=True)
    said = last_line(name, tasks)
    assert said.endswith("` shows it as a page")
    words = shlex.split(said.split("`")[1])
    where = [] if own == "itself" else ["--results", "theirs"]
    assert words == ["tangentbench", "report", *where, "--tasks", str(tasks)]
    assert cli.main([*words[1:], "tiny/*"]) == 0 and (tmp_path / "report" / "index.html").exists()


def test_a_page_of_other_code_and_tier(theirs, tasks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for digest in Store(theirs).digests():
        (code,) = Store(theirs).codes(digest)
        (theirs / digest / code).rename(theirs / digest / "e15e")
    for path in theirs.rglob("run.json"):
        put(path, code="e15e", tier="smoke")
    words = shlex.split(last_line("theirs", tasks).split("`")[1])
    assert words[2:] == ["--results", "theirs", "--tasks", str(tasks), "--tier", "smoke", "--any-code"]


def test_a_page_of_a_file_names_it(theirs, tasks, tmp_path, monkeypatch):
    """A page of the suite and of a folder has no task of a file; typed, alone and beside others."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(tasks / "tiny" / "long.yaml", "mine.yaml")

    def typed(*places) -> tuple[list[str], set[str]]:
        """The command, and the tasks that it takes."""
        words = shlex.split(verify.line(verify.verify("theirs", cells=0, tasks=places)).split("`")[1])
        return words, {task.id for task in cli._tasks(arguments.parser().parse_args(words[1:]))}

    words, found = typed("mine.yaml", str(tasks))  # no run of it
    assert words == ["tangentbench", "report", "--results", "theirs", "--tasks", str(tasks)] and "mine" not in found
    for run in runs_of(theirs, "tiny/long"):
        change(theirs, run, task="mine")
    words, found = typed("mine.yaml", str(tasks))
    assert words == ["tangentbench", "report", "*", "mine.yaml", "--results", "theirs", "--tasks", str(tasks)]
    assert {"mine", *NAMES, "quadratic/rates"} <= found
    for run in list(Store(theirs).runs()):
        if run.task != "mine":
            shutil.rmtree(theirs / run.digest, ignore_errors=True)
    words, found = typed("mine.yaml")
    assert words == ["tangentbench", "report", "mine.yaml", "--results", "theirs"] and found == {"mine"}


def test_nothing_is_run_again_if_none_is_asked_for(computed, call, monkeypatch):
    monkeypatch.setattr(verify_rerun, "rerun", None)
    code, out, _ = call(computed, "--cells", "0")
    assert code == 0 and "not asked for" in out and f"\n{computed} holds together; none of its " in out
    assert " numbers were computed again; `" in out.splitlines()[-1] and " is verified" not in out


def test_how_far_it_was_checked_is_said(computed, tasks, call):
    """The last line claims no more than was computed again."""
    runs = list(Store(computed).runs())
    some = call(computed, "--cells", "1", "--seed", "1")[1].splitlines()[-1]
    assert f" of {len(runs)} runs; " in some and " is verified up to step " in some
    extent = verify.verify(str(computed), cells=1, seed=1, tasks=[str(tasks)]).extent
    assert f"; {extent.numbers_again or 'none'} of its {extent.numbers} numbers were computed again; `" in some
    every = call(computed, "--cells", "100", "--whole")[1].splitlines()[-1]
    numbers = sum(map(verify_numbers.count, runs))
    assert every.startswith(f"{computed} is verified: all {numbers} numbers came out the same; `")


# -- what is none ------------------------------------------------------------------------------------------------------


def test_what_is_no_results_folder_is_told_apart(tmp_path, call):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").touch()
    (tmp_path / "empty").mkdir()
    Store(tmp_path / "new", create=True)
    (tmp_path / "file").touch()
    for name, expected, message in (
        ("none", 1, "there is no results folder"),
        ("file", 1, "is a file, and no results folder"),
        ("foreign", 1, "is no results folder: it holds no tangentbench.json"),
        ("empty", 4, "holds no runs"),
        ("new", 4, "holds no runs"),
    ):
        code, out, err = call(tmp_path / name)
        assert (code, out) == (expected, "") and message in err and err.count("\n") == 1


# -- what is damaged or changed ----------------------------------------------------------------------------------------


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "run.json: it is damaged (JSONDecodeError"),
        (lambda path: truncated(path.with_name("arrays.npz")), "its arrays.npz is missing or truncated"),
        (lambda path: path.with_name("arrays.npz").unlink(), "its arrays.npz is missing or truncated"),
        (lambda path: flip(path.with_name("arrays.npz")), "arrays.npz: "),
        (lambda path: path.unlink(), "there is no run.json"),
        (lambda path: path.write_text(path.read_text().replace('"seed": ', '"seed": 1')), "names another cell"),
        (lambda path: put(path, scalars={"train_loss": "0.1"}), "scalars: train_loss is '0.1', expected a number"),
        (lambda path: put(path, seconds={"run": None}), "seconds: run is None, expected a number"),
        (lambda path: put(path, tier="desktop"), "tier 'desktop' is none"),
        (lambda path: put(path, status="fine"), "got status 'fine'"),
        (lambda path: put(path, cell={"version": 1}), "its cell is none: stream: Field required"),
    ],
)  # fmt: skip
def test_a_record_that_is_not_whole(theirs, tasks, damage, message):
    run = runs_of(theirs, "tiny/holds")[0]
    damage(record(theirs, run))
    report = verify.verify(str(theirs), cells=0, tasks=[str(tasks)])
    (found,) = failing(report)["records"]
    assert message in found and set(failing(report)) == {"records"} and report.exit_code == 3
    assert verify.line(report).startswith(f"{theirs} does not verify: records: {run.digest}/{run.code}/{run.seed}: ")


def flip(path: Path) -> None:
    """Changes one byte of an array, and no size."""
    content = bytearray(path.read_bytes())
    content[300] ^= 0xFF
    path.write_bytes(bytes(content))


def put(path: Path, **fields) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_cell_that_was_changed(theirs, tasks):
    run = runs_of(theirs, "tiny/holds")[0]
    change(theirs, run, cell={**run.cell, "method": {**run.cell["method"], "learning_rate": {"critical": 0.3}}})
    report = verify.verify(str(theirs), cells=0, tasks=[str(tasks)])
    (found,) = failing(report).pop("cells")
    assert found.startswith("its cell was changed: what it describes has the digest ")


def test_a_plug_in_is_no_excuse_for_a_changed_cell(theirs, tasks):
    run = runs_of(theirs, "tiny/holds")[0]
    made = {**run.provenance, "plug_ins": ["alien 1.0"]}
    change(theirs, run, cell={**run.cell, "precision": "float64"}, provenance=made)
    assert "cells" in failing(verify.verify(str(theirs), cells=0, tasks=[str(tasks)]))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("version: 1", "version: 2"), "it is of version 1 of tiny/holds, which is at version 2 here"),
        (("steps: 6", "steps: 7"), "tiny/holds does not ask this at tier laptop, though its version is the same"),
    ],
)
def test_a_record_of_another_task(computed, tasks, tmp_path, edit, message):
    folder = Path(shutil.copytree(tasks, tmp_path / "tasks"))
    (folder / "tiny" / "fails.yaml").unlink()  # whose cells are the same
    path = folder / "tiny" / "holds.yaml"
    path.write_text(path.read_text().replace(*edit))
    report = verify.verify(str(computed), cells=0, tasks=[str(folder)])
    assert failing(report) == {"tasks": [message] * 2} and report.exit_code == 3  # one for each of its two cells


def test_runs_of_a_task_that_is_not_known_are_told_and_fail_nothing(computed, tasks, tmp_path, capsys):
    folder = without(tasks, tmp_path, "holds", "fails")  # whose cells are the same
    number = len(runs_of(computed, "tiny/holds"))
    said = f"{number} runs of 1 task not known here (tiny/holds): give their folder or files with --tasks"
    words = ["verify", str(computed), "--tasks", str(folder), "--cells", "100", "--whole", "--quiet"]
    assert cli.main([*words, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["passed"], document["verified"], document["extent"]["unknown"]) == (True, False, number)
    (found,) = (check for check in document["checks"] if check["check"] == "tasks")
    assert found["result"] == "in part" and found["found"].endswith(f" by 2 tasks here; {said}")
    report = verify.verify(str(computed), cells=100, whole=True, tasks=[str(folder)])
    others = [run for run in Store(computed).runs() if run.task != "tiny/holds"]
    assert report.extent.runs_again == len(others) and report.extent.numbers == report.extent.numbers_again
    line = verify.line(report)
    assert f"; {number} runs of tasks not known here; `" in line and " is verified: " not in line


def test_runs_of_a_task_that_is_not_known_are_checked_as_far_as_they_can_be(theirs, tasks, tmp_path):
    folder = without(tasks, tmp_path, "holds", "fails")  # whose cells are the same
    run = runs_of(theirs, "tiny/holds")[0]
    change(theirs, run, scalars={"train_loss": 0.1})
    assert set(failing(verify.verify(str(theirs), cells=0, tasks=[str(folder)]))) == {"numbers"}


@pytest.mark.parametrize("lie", [{"task": "nowhere"}, {"task": "nowhere", "tier": "paper"}, {"tier": "paper"}], ids=str)
def test_a_run_that_names_another_task_is_still_of_the_one_that_asks_for_its_cell(theirs, tasks, lie):
    """A forger who calls a bad run another task's: boards show it by its cell, so it is checked, and run again."""
    runs = runs_of(theirs, "tiny/arena")
    for run in runs:
        change(theirs, run, **lie)
    change_curve(theirs, runs[0], "loss", 1.01, at=3)
    report = verify.verify(str(theirs), cells=100, tasks=[str(tasks)])
    assert report.extent.unknown == 0 and where(runs[0]) in [fault.where for fault in report.checks[-1].faults]


def test_tasks_of_several_folders_and_files(computed, tasks, tmp_path, capsys):
    """A folder, and a file that was run by its path and is called by its stem."""
    theirs = Path(shutil.copytree(computed, tmp_path / "theirs"))
    more = tmp_path / "elsewhere" / "mine.yaml"
    more.parent.mkdir()
    more.write_text((tasks / "tiny" / "holds.yaml").read_text().replace("steps: 6", "steps: 7"))
    assert cli.main(["run", str(more), "--results", str(theirs), "--quiet"]) == 0
    one = Path(shutil.copytree(tasks, tmp_path / "one"))
    other = tmp_path / "other"
    (other / "tiny").mkdir(parents=True)
    (one / "tiny" / "holds.yaml").rename(other / "tiny" / "holds.yaml")
    (one / "tiny" / "fails.yaml").unlink()  # whose cells are the same
    words = ["verify", str(theirs), "--cells", "0", "--quiet", "--format", "json"]

    def unknown(*places) -> int:
        capsys.readouterr()
        assert cli.main([*words, *(word for place in places for word in ("--tasks", str(place)))]) == 0
        return json.loads(capsys.readouterr().out)["extent"]["unknown"]

    counts = [len(runs_of(theirs, name)) for name in ("tiny/holds", "mine")]
    assert min(counts) > 0 and unknown(one) == sum(counts)
    assert unknown(one, other) == unknown(other, one) == counts[1]
    assert unknown(one, other, more) == unknown(more, other, one) == unknown(one, one, other, more, more) == 0


def test_places_of_tasks_that_cannot_be_used(computed, tasks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tasks, tmp_path / "one")
    shutil.copytree(tasks, tmp_path / "two")
    for places, message in (
        (["none"], "none: no such folder"),
        (["none.yaml"], "none.yaml: no such file"),
        (["one", "two"], "exists already (see one/"),
    ):
        words = [word for place in places for word in ("--tasks", place)]
        assert cli.main(["verify", str(computed), *words, "--quiet"]) == 1
        out, err = capsys.readouterr()
        assert not out and message in err and err.count("\n") == 1


def test_where_no_task_is_known_nothing_verifies(computed, capsys):
    assert cli.main(["verify", str(computed)]) == 3
    out, err = capsys.readouterr()
    assert "no run here is of a task here" in out
    assert err.startswith(f"{computed} does not verify: tasks: ") and err.endswith(" (and rerun)\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("made", "check", "message"),
    [
        ({"device": "NVIDIA H100"}, "code", "its code digest contradicts its device: NVIDIA H100, and cpu here"),
        ({"versions": {"jax": "0.1"}}, "code", "its code digest contradicts its versions: jax 0.1, and jax "),
        (
            {"variables": {"JAX_ENABLE_X64": "1"}},
            "code",
            "its code digest contradicts its variables: JAX_ENABLE_X64 1, ",
        ),
        ({"package": {"commit": "--upload-pack"}}, "provenance", "its commit '--upload-pack' is none"),
        ({"argv": ["tangentbench", "run", "/srv/x"]}, "provenance", "its command line holds a path"),
        ({"python": None, "dataset": None}, "provenance", "its provenance has no python, dataset"),
    ],
)
def test_a_provenance_that_cannot_be(theirs, tasks, made, check, message):
    run = runs_of(theirs, "tiny/holds")[0]
    change(theirs, run, provenance={**run.provenance, **made})
    (found,) = failing(verify.verify(str(theirs), cells=0, tasks=[str(tasks)]))[check]
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train_loss": 0.1}, "train_loss is 0.1, and "),
        ({"train_loss": None}, "train_loss is None, and "),
        ({"best_loss": 0.0}, "its scalars are not those of its metrics: best_loss"),
        ({"peak_loss": 1.0}, "peak_loss is 1.0, and "),
        ({"end_over_start": 1e-9}, "end_over_start is 1e-09, and "),
        ({"work_to_target": 6.0}, "work_to_target is 6.0, and "),
        ({"work_to_target": None}, "work_to_target is None, and "),
    ],
)
def test_a_number_that_its_curve_denies(theirs, tasks, fields, message):
    run = runs_of(theirs, "tiny/long")[0]
    change(theirs, run, scalars={**run.scalars, **fields})
    (found,) = failing(verify.verify(str(theirs), cells=0, tasks=[str(tasks)]))["numbers"]
    assert found.startswith(message)


def test_a_number_of_steps_that_its_curve_denies(theirs, tasks):
    run = runs_of(theirs, "tiny/long")[0]
    change(theirs, run, steps=299)
    (found,) = failing(verify.verify(str(theirs), cells=0, tasks=[str(tasks)]))["numbers"]
    assert found == "it has 299 steps, and its loss ends at another"


def test_an_end_that_its_loss_denies(theirs, tasks):
    """The training loss of the last weights, which the task does not ask for as a curve."""
    run = runs_of(theirs, "tiny/holds")[0]
    change(theirs, run, scalars={"train_loss": run.scalars["train_loss"] * 0.999})
    (found,) = failing(verify.verify(str(theirs), cells=0, tasks=[str(tasks)]))["numbers"]
    assert found.startswith("train_loss is ") and found.endswith(" on its curve")


@pytest.mark.parametrize("outcome", ["catapult", "monotone", "divergent", None])
def test_an_outcome_that_its_curve_denies(theirs, tasks, outcome):
    run = runs_of(theirs, "tiny/long")[0]
    change(theirs, run, outcome=outcome)
    (found,) = failing(verify.verify(str(theirs), cells=0, tasks=[str(tasks)]))["numbers"]
    assert found == f"its outcome is {outcome}, and unconverged on its curve"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda arrays: arrays | {"thesis": np.zeros(3)}, "it has arrays that nothing asks for: thesis"),
        (lambda arrays: arrays | {"loss": arrays["loss"].astype(complex)}, "its array loss is of complex128"),
        (lambda arrays: arrays | {"loss": arrays["loss"][:, None]}, "its array loss is of float64, 2-dimensional"),
        (lambda arrays: arrays | {"train_loss": arrays["train_loss"][1:]}, "its array train_loss has 10 values for"),
        (lambda arrays: {k: v for k, v in arrays.items() if k != "loss"}, "it has no curve of loss"),
        (
            lambda arrays: arrays | {k: np.delete(arrays[k], 5) for k in ("loss", "loss_steps")},
            "its loss_steps leave steps out",
        ),
        (
            lambda arrays: arrays | {k: np.delete(arrays[k], 5) for k in ("train_loss", "record_steps")},
            "its record_steps are not those of a record every 30 steps",
        ),
    ],
)
def test_curves_that_are_not_those_of_its_run(theirs, tasks, edit, message):
    """A peak that was cut out among them."""
    run, store = runs_of(theirs, "tiny/long")[0], Store(theirs)
    store.write(run, edit(store.arrays(run)))
    (found,) = failing(verify.verify(str(theirs), cells=0, tasks=[str(tasks)]))["numbers"]
    assert found.startswith(message)


def test_an_end_that_the_loss_does_not_explain(theirs, tasks):
    """A run that was cut off where it was best, all its numbers made to fit."""
    run, store = runs_of(theirs, "tiny/long")[0], Store(theirs)
    arrays = store.arrays(run)
    arrays |= {name: arrays[name][:61] for name in ("loss", "loss_steps")}
    arrays |= {name: arrays[name][:3] for name in ("train_loss", "record_steps")}
    end = float(arrays["loss"][-1])
    scalars = run.scalars | {"train_loss": end, "end_over_start": end / float(arrays["loss"][0])}
    store.write(replace(run, steps=60, scalars=scalars), arrays)
    (found,) = failing(verify.verify(str(theirs), cells=0, tasks=[str(tasks)]))["numbers"]
    assert found == "it ended after 60 of 300 steps, and its loss does not say why"


@pytest.mark.parametrize("last", [True, False])
def test_a_seed_that_was_taken_out(theirs, tasks, last):
    """The worst of a method's scoring seeds, say."""
    runs = [run for run in runs_of(theirs, "tiny/arena") if run.role == "score" and run.cell["method"]["name"] == "gd"]
    out = sorted(runs, key=lambda run: run.seed)[-1 if last else 0]
    shutil.rmtree(record(theirs, out).parent)
    report = verify.verify(str(theirs), cells=0, tasks=[str(tasks)])
    (fault,) = failing(report)["seeds"]
    assert fault == f"seed {out.seed} of tiny/arena absent, and others are there" and report.extent.absent == 1


def test_a_method_whose_scores_were_all_taken_out(theirs, tasks):
    """Its tuning chose a point, so a board that lacks it is not all that the task asks for."""
    runs = [run for run in runs_of(theirs, "tiny/arena") if run.role == "score" and run.cell["method"]["name"] == "gd"]
    for run in runs:
        shutil.rmtree(record(theirs, run).parent)
    report = verify.verify(str(theirs), cells=0, tasks=[str(tasks)])
    assert report.extent.absent == len(runs) == 3 and not report.failed and not report.extent.whole


def test_a_method_that_tuning_left_out_lacks_no_score(theirs, tasks):
    for run in runs_of(theirs, "tiny/arena"):
        if run.cell["method"]["name"] == "gd":
            if run.role == "score":
                shutil.rmtree(record(theirs, run).parent)
            else:
                change(theirs, run, status="error", outcome=None, scalars={})
    assert verify.verify(str(theirs), cells=0, tasks=[str(tasks)]).extent.absent == 0


def test_fewer_seeds_than_the_task_asks_for_are_told(tasks, tmp_path, capsys):
    words = ["--tasks", str(tasks), "--quiet"]
    assert cli.main(["run", "tiny/holds", "--seeds", "2", "--results", str(tmp_path / "few"), *words]) == 0
    report = verify.verify(str(tmp_path / "few"), cells=100, whole=True, tasks=[str(tasks)])
    assert not report.failed and report.extent.absent == 2 and not report.extent.whole
    assert ", and 2 runs that its tasks ask for absent; `" in verify.line(report)


def test_a_board_that_was_forged(theirs, tasks):
    """Every number a thousand times better, every metric called by a name that is unknown here, of another device."""
    store = Store(theirs)
    runs = [(run, store.arrays(run)) for run in store.runs()]
    for digest in store.digests():
        (code,) = store.codes(digest)
        (theirs / digest / code).rename(theirs / digest / "e15e")
    for run, arrays in runs:
        cell = {**run.cell, "metrics": [{**m, "name": f"alien_{m['name']}"} for m in run.cell["metrics"]]}
        scalars = {label: None if value is None else value / 1000 for label, value in run.scalars.items()}
        curves = {name: array if name.endswith("_steps") else array / 1000 for name, array in arrays.items()}
        made = {**run.provenance, "device": "NVIDIA H100"}
        store.write(replace(run, cell=cell, code="e15e", scalars=scalars, provenance=made), curves)
    found = failing(verify.verify(str(theirs), cells=100, whole=True, tasks=[str(tasks)]))
    assert len(found["tasks"]) == len(runs)
    assert set(found["tasks"]) == {"its cell is not the one that its digest names here"}


# -- what is hostile ---------------------------------------------------------------------------------------------------


def bomb(path: Path, run: Run) -> None:
    """A curve that nobody asked for: a megabyte of zeros in a kilobyte."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("thesis.npy", "w") as file:
        np.lib.format.write_array(file, np.zeros(2**17))
    put(path.with_name("run.json"), arrays_bytes=path.stat().st_size)


def large(path: Path, run: Run) -> None:
    """A file that takes no place on the disk."""
    with path.open("ab") as file:
        file.truncate(2**30)
    put(path.with_name("run.json"), arrays_bytes=2**30)


@pytest.mark.parametrize(
    ("name", "harm", "message"),
    [
        ("run.json", lambda path, run: (path.unlink(), os.mkfifo(path)), "run.json: it is no regular file"),
        ("run.json", lambda path, run: (path.unlink(), path.symlink_to("/dev/zero")), "run.json: it is no regular"),
        ("run.json", lambda path, run: os.truncate(path, 2**30), "more than a record"),
        ("arrays.npz", bomb, "it holds less than it expands to"),
        ("arrays.npz", large, "its arrays.npz has 1073741824 bytes; 300 steps give at most "),
    ],
)
def test_files_that_would_hang_or_fill_the_memory(theirs, tasks, name, harm, message):
    run = runs_of(theirs, "tiny/long")[0]
    harm(record(theirs, run).with_name(name), run)
    (found,) = failing(verify.verify(str(theirs), cells=0, tasks=[str(tasks)]))["records"]
    assert message in found


def test_names_that_a_terminal_would_obey(theirs, tasks, tmp_path, capsys):
    folder = without(tasks, tmp_path, "holds", "fails")
    run = runs_of(theirs, "tiny/holds")[0]
    shutil.copytree(theirs / run.digest / run.code, theirs / run.digest / "\x1b[2Jcode")
    assert Store(theirs).codes(run.digest) == [run.code]
    change(theirs, run, task="\x1b]0;thesis\x07\x9b", provenance={**run.provenance, "device": "\x1b[31mcpu"})
    for fmt in ("table", "csv", "json"):
        words = ["verify", str(theirs), "--tasks", str(folder), "--quiet", "--cells", "0", "--format", fmt]
        code = cli.main(words)
        out, err = capsys.readouterr()
        assert code == 3 and "]0;thesis" in out
        assert not set("\x1b\x07\x9b") & set(out + err)


# -- what only a rerun can tell ----------------------------------------------------------------------------------------


def test_numbers_that_were_made_up(theirs, call):
    long, short = runs_of(theirs, "tiny/long"), runs_of(theirs, "tiny/holds")
    change_curve(theirs, long[0], "loss", 1 + 1e-8, at=150)
    change(theirs, long[1], scalars={**long[1].scalars, "at_start": long[1].scalars["at_start"] * (1 + 1e-8)})
    change(theirs, long[2], scalars={**long[2].scalars, "test_loss": 0.001})  # at the end, which is not run again
    change(theirs, short[1], provenance={**short[1].provenance, "dataset": "0" * 16})
    change_curve(theirs, short[2], "loss", 1.01, at=3)
    code, out, err = call(theirs, "--cells", "100", "--format", "json")
    assert code == 3 and " does not verify: rerun: " in err
    checks = {check["check"]: check for check in json.loads(out)["checks"]}
    assert [name for name, check in checks.items() if check["result"] == "failed"] == ["rerun"]
    found = {fault["where"]: fault["message"] for fault in checks["rerun"]["faults"]}
    expected = [
        (long[0], "run again, its loss is "),
        (long[1], "run again, its at_start is "),
        (short[1], "run again, it had other data"),
        (short[2], "run again, its loss is "),
    ]
    assert set(found) == {where(run) for run, _ in expected}
    for run, message in expected:
        assert found[where(run)].startswith(message), message
    found = verify_rerun.rerun(Store(theirs), [(cell_of(long[2]), [runs_of(theirs, "tiny/long")[2]])], whole=True)
    assert found.steps == 300 and [fault.where for fault in found.faults] == [where(long[2])]
    assert found.faults[0].message.endswith("; stored is 0.001")


def test_runs_of_other_code_may_differ_by_the_margins(theirs, tasks, monkeypatch):
    """As from another device: 1% is within a loss's margin of 5%, a fifth is not."""
    for digest in Store(theirs).digests():
        (code,) = Store(theirs).codes(digest)
        (theirs / digest / code).rename(theirs / digest / "e15e")
    for path in theirs.rglob("run.json"):
        made = json.loads(path.read_text())
        put(path, code="e15e", provenance={**made["provenance"], "device": "NVIDIA H100"})
    close, far = runs_of(theirs, "tiny/long")[:2]
    change_curve(theirs, close, "loss", 1.01, at=50)
    change_curve(theirs, far, "loss", 1.2, at=50)
    report = verify.verify(str(theirs), cells=100, tasks=[str(tasks)])
    (check,) = report.failed
    assert [fault.where for fault in check.faults] == [f"{far.digest}/e15e/{far.seed}"]
    assert report.checks[4].found == "e15e, other code than the current"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"xla_flags": "--xla_cpu_enable_fast_math=true"}, "made with other XLA_FLAGS than here"),
        ({"variables": {"JAX_ENABLE_X64": "1"}}, "made with other JAX_ENABLE_X64 than here"),
        ({"xla_flags": "--xla_x=1", "versions": {"jax": "0.1"}}, "e15e, other code than the current"),
        ({"xla_flags": "--xla_x=1", "package": {"version": "0", "commit": None}}, "e15e, other code than the current"),
        ({"xla_flags": "--xla_x=1", "variables": ["a stranger's"]}, "e15e, other code than the current"),
        ({}, "e15e, other code than the current"),
    ],
    ids=str,
)
def test_runs_that_other_variables_make_other_code(theirs, tasks, changes, said):
    """Only where nothing else tells them from the current code."""
    for run in list(Store(theirs).runs()):
        change(theirs, run, code="e15e", provenance={**run.provenance, **changes})
    for digest in Store(theirs).digests():
        (code,) = Store(theirs).codes(digest)
        (theirs / digest / code).rename(theirs / digest / "e15e")
    found = verify.verify(str(theirs), cells=0, tasks=[str(tasks)]).checks[4].found
    assert (
        found.removeprefix("e15e, ").startswith(said.removeprefix("e15e, ")) and "other code than the current" in found
    )


def test_a_run_that_cannot_be_made_is_an_error(tasks, tmp_path, call):
    """Its data and its model do not fit: whoever stored it did not compute it."""
    (cell,) = load.cells(load.load_task("broken/outputs", folder=tasks))
    run = Run(
        task=cell.task, cell=cell.model_dump(mode="json", exclude={"coords", "seeds", "limits", "role", "task"}),
        coords={}, digest=cell.digest, code=provenance.code_digest(), seed=0, tier="laptop", role="claim", status="ok",
        scalars={"train_loss": 0.1}, provenance={**provenance.provenance(["tangentbench"]), "dataset": "0" * 16},
    )  # fmt: skip
    store = Store(tmp_path / "made_up", create=True)
    store.write(run)
    code, _, err = call(store.root)
    assert code == 2 and "run again, it ended with error: " in err
    for status, expected in (("ok", 2), ("error", 3)):  # of what has no number, none can be run again
        store.write(replace(run, status=status, scalars={"train_loss": 0.1} if status == "ok" else {}))
        assert call(store.root)[0] == expected


# -- how numbers are compared ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [
        (1.0, 1.0 + 1e-5, False), (1.0, 1.001, True), (np.nan, np.nan, False), (np.inf, np.inf, False),
        (np.inf, -np.inf, True), (np.inf, 1.0, True), (np.nan, 1.0, True), (0.0, 0.0, False), (0.0, 1e-9, True),
    ],
)  # fmt: skip
def test_tolerance(a, b, apart):
    assert bool(verify_rerun.Tolerance(1e-4).apart(np.float64(a), np.float64(b))) == apart


def test_how_far_a_cell_is_run_again(tasks):
    (cell, _) = load.cells(load.load_task("tiny/long", folder=tasks))

    def steps(**changes) -> int:
        return verify_rerun._shortened(cell.model_copy(update=changes), [], whole=False).stop["steps"]

    assert steps() == 210 and verify_rerun._shortened(cell, [], whole=True).stop["steps"] == 300
    assert steps(record={"every": 1}) == 200 and steps(record={"every": 300}) == 300
    assert steps(stop={**cell.stop, "steps": 150}) == 150 and steps(stop={**cell.stop, "steps": 0}) == 0
    assert steps(method={**cell.method, "schedule": {"name": "cosine"}}) == 300
    assert steps(bisect={"along": "method.learning_rate.critical"}) == 300


def test_runs_that_did_not_end_are_told(theirs, tasks, call):
    """What was interrupted is counted as such, and does not look like runs of strangers."""
    for run in list(Store(theirs).runs()):
        path = record(theirs, run)
        written = json.loads(path.read_text())
        path.write_text(json.dumps({**written, "status": "interrupted", "outcome": None, "scalars": {}}))
    number = sum(1 for _ in Store(theirs).runs())
    _, out, err = call(theirs)
    assert f", {number} interrupted" in out
    assert "no run here ended; the same command continues" in out + err and "no run here is of a task" not in out
