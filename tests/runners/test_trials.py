"""`validate --run`: a task runs or not, its claims hold or not, and what they are worth where nothing is trained."""

import json

import numpy as np
import pytest

from tangentbench.runners import cache, cli, schedule, trials
from tangentbench.tasks import load

from . import suite_files
from .tiny import outcomes, part, tiny_cell

WORTH = """method: {name: momentum, learning_rate: {critical: 0.5}}
sweep: {method.learning_rate.critical: [1e-9, 0.25, 0.5]}
stop: {steps: 30}
seeds: 3
metrics: [relative_parameter_distance, train_loss, {name: hessian_norm_max, at: start}]
claims:
  - id: weights_move
    says: Training moves the weights
    where: {method.learning_rate.critical: 0.5}
    threshold: {metric: relative_parameter_distance, at_least: 1e-6}
  - id: idle
    says: Training is not even tried
    control: weights_move
    where: {method.learning_rate.critical: 0.25}
  - id: loss_is_small
    says: The loss is a number
    where: {method.learning_rate.critical: 0.5}
    threshold: {metric: train_loss, at_most: 1e6}
  - id: bent
    says: A network is not linear
    where: {method.learning_rate.critical: 0.5}
    threshold: {metric: hessian_norm_max, at_least: 1e-6}
  - id: hardly_moves
    says: At next to no rate the weights stay
    where: {method.learning_rate.critical: 1e-9}
    threshold: {metric: relative_parameter_distance, at_most: 1e-6}
  - id: moves
    says: At a rate they do not
    control: hardly_moves
    where: {method.learning_rate.critical: 0.5}
"""
RANKED = """claims:
  - id: ordered
    says: Where the loss is low in validation it is low in the test
    rank_correlation: {metric: validation_loss, against: test_loss, at_least: 0.5, methods_at_least: 4}
  - id: by_training
    says: Where the loss is low in training it is low in the test
    control: ordered
    metric: train_loss
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the command printed for a few tasks at once, by task and row, and its exit code."""
    folder = suite_files.write(tmp_path_factory.mktemp("trials"))
    (folder / "tiny" / "worth.yaml").write_text(suite_files.HEAD.format(title="What is it worth") + WORTH)
    (folder / "tiny" / "start.yaml").write_text(
        suite_files.HEAD.format(title="Nothing is trained")
        + "metrics: [{name: train_loss, at: start}]\nseeds: 3\nclaims:\n"
        + "  - {id: finite, says: x, threshold: {metric: train_loss, at_most: 1e6}}\n"
    )
    arena = (folder / "tiny" / "arena.yaml").read_text().replace("[gd, momentum]", "[gd, momentum, adam, lion]")
    ranked = arena.replace("metrics: [validation_loss,", "metrics: [train_loss, validation_loss,") + RANKED
    (folder / "tiny" / "ranked.yaml").write_text(ranked)
    names = ("tiny/worth", "tiny/start", "tiny/arena", "tiny/ranked", "broken/outputs")
    given = [load.load_task(folder / f"{name}.yaml") for name in names]
    done = trials.run([task.path for task in given], "laptop")
    return {trial.rows[0]["task"]: ({row["what"]: row for row in trial.rows}, trial.exit_code) for trial in done}


def test_the_null_method_leaves_the_weights_alone():
    """Against the same run with a rate: only that one moves."""
    cell = tiny_cell(method=part("method", "momentum", learning_rate={"critical": 0.5}))
    (still,), (moving,) = outcomes(trials.nullified(cell)), outcomes(cell)
    assert still.steps == moving.steps == 12
    assert still.scalars["parameter_distance"] == 0.0 and moving.scalars["parameter_distance"] > 1e-3
    assert np.ptp(still.arrays["loss"][:-1]) == 0.0 and still.arrays["loss"][0] == moving.arrays["loss"][0]
    searched = tiny_cell(bisect={"along": "method.learning_rate.value", "between": [0.1, 9.0]})
    assert trials.nullified(searched).bisect is None


def test_the_reference_is_plain_gradient_descent_at_the_rate_of_the_task():
    cell = tiny_cell(method=part("method", "sgd", learning_rate={"critical": 0.5}, batch_size=2))
    plain = tiny_cell(method=part("method", "gd", learning_rate={"critical": 0.5}))
    assert trials.referenced(cell) == plain and trials.referenced(plain) == plain
    searched = {"bisect": {"along": "method.learning_rate.value", "between": [0.1, 9.0]}}
    adam = tiny_cell(method=part("method", "adam", learning_rate={"value": 0.01}), **searched)
    assert trials.referenced(adam) == plain, "a rate of Adam is none of gradient descent"
    heavy = tiny_cell(method=part("method", "momentum", learning_rate={"value": 0.3}), **searched)
    assert trials.referenced(heavy) == tiny_cell(**searched)
    untrained = tiny_cell(method={}, stop={"steps": 0})
    assert trials.referenced(untrained) is untrained and trials.nullified(untrained) is untrained


def test_a_claim_that_needs_no_training_is_worth_nothing(found):
    rows, code = found["worth"]
    assert code == 3  # its control is not rejected
    assert rows["smoke tier"]["as written"] == rows["laptop tier"]["as written"] == "9 ok"
    assert rows["smoke tier"]["remark"].endswith("s of 30 s")
    moves = rows["weights_move"]
    written, plain = (moves[key].split() for key in ("as written", "reference"))
    assert written[0] == plain[0] == "holds" and float(written[1]) > float(plain[1]) > 0.01  # momentum moves them more
    assert (moves["null"], moves["remark"]) == ("fails 0", "")
    assert rows["idle (control)"]["as written"].startswith("not rejected")
    assert rows["idle (control)"]["null"] == "rejected 0" and rows["idle (control)"]["remark"] == ""
    assert rows["loss_is_small"]["remark"] == "holds where nothing is trained, too: alone it is worth nothing"
    assert rows["hardly_moves"]["remark"] == "holds where nothing is trained, too: its control decides"
    assert rows["moves (control)"]["as written"].startswith("rejected")
    assert rows["bent"]["null"] == rows["bent"]["as written"] and rows["bent"]["null"].startswith("holds")
    assert rows["bent"]["remark"] == "measured before training, whatever the method"


def test_where_nothing_is_trained_there_is_no_method(found):
    rows, code = found["start"]
    assert code == 0 and rows["finite"]["as written"].startswith("holds")
    assert rows["finite"]["null"] == rows["finite"]["reference"] == "nothing is trained"


def test_an_arena_against_its_reference_and_no_training(found):
    rows, code = found["arena"]
    score, target = rows["test_loss"], rows["target 0.500"]
    assert code == 0 and score["reference"].startswith("gd ") and score["remark"].startswith("frozen at 0.500")
    untrained, trained = (float(score[key].split()[-1]) for key in ("null", "reference"))
    assert untrained > trained > 0
    assert target["null"] == ("reached" if untrained <= 0.5 else "not reached") and " of 3 seeds" in target["reference"]


def test_claims_of_an_arena_under_no_training(found):
    """All methods leave the weights alone, and then none is ahead of another."""
    rows, code = found["ranked"]
    assert code in (0, 3) and rows["ordered"]["as written"].split()[0] in ("holds", "fails", "undecided")
    assert rows["ordered"]["null"] == "fails 0" and rows["by_training (control)"]["null"] == "rejected 0"
    assert rows["ordered"]["as written"] != rows["ordered"]["null"]


def test_every_tier_is_timed_with_nothing_compiled(tmp_path, monkeypatch):
    """Neither what the tier before compiled nor what an earlier command did makes it seem cheap."""
    monkeypatch.setenv("TANGENTBENCH_CACHE", str(tmp_path / "cache"))
    crews = []

    class Recorded(schedule.Crew):
        def __init__(self, variables=None):
            crews.append(variables)
            super().__init__(variables)

    monkeypatch.setattr(schedule, "Crew", Recorded)
    (trial,) = trials.run([str(suite_files.write(tmp_path / "suite") / "tiny" / "holds.yaml")], "laptop")
    assert trial.exit_code == 0
    assert len(crews) == 2 and all(cache.folder(variables) is None for variables in crews)
    assert not (tmp_path / "cache").exists()


def test_a_task_that_does_not_run_is_tried_no_further(found):
    rows, code = found["outputs"]
    assert code == 2 and list(rows) == ["smoke tier"]
    assert (
        rows["smoke tier"]["as written"] == "1 error"
        and "general_quadratic has one output" in rows["smoke tier"]["remark"]
    )


@pytest.mark.parametrize(("value", "direction", "reached"), [(0.4, "lower", True), (0.6, "lower", False),
                                                            (0.4, "higher", False), (0.6, "higher", True)])  # fmt: skip
def test_reaches(value, direction, reached):
    assert trials._reaches(value, 0.5, direction) == reached


def test_too_slow_is_said():
    assert trials._cost(29.0, "smoke", []) == "29.0 s of 30 s"
    assert trials._cost(31.0, "smoke", []) == "31.0 s of 30 s: too slow for this tier, make it smaller"


def test_the_command(tmp_path, monkeypatch, capsys):
    """Runs only what is valid, and ends with the worst of the exit codes."""
    folder = suite_files.write(tmp_path)
    asked = []

    def run(names, tier, **options):
        asked.append((list(names), tier, options["jobs"]))
        row = dict(zip(trials.COLUMNS, ("holds", "small", "holds", "holds", "holds", "why"), strict=True))
        return [trials.Trial((row,), code) for code in (0, 3, 2)]

    monkeypatch.setattr(trials, "run", run)
    words = ["validate", str(folder / "tiny" / "holds.yaml"), "--run", "--tier", "smoke", "--jobs", "1", "--quiet"]
    assert cli.main(words) == 2
    assert asked == [([words[1]], "smoke", 1)] and "as written" in capsys.readouterr().out
    assert cli.main([*words, "--format", "json"]) == 2
    assert [row["remark"] for row in json.loads(capsys.readouterr().out)["runs"]] == ["why"] * 3
    assert cli.main([*words, "--format", "csv"]) == 2
    assert capsys.readouterr().out.splitlines()[0] == ",".join(trials.COLUMNS)
    (folder / "tiny" / "holds.yaml").write_text("title: 1\n")
    assert cli.main(words) == 1 and len(asked) == 3
    assert cli.main(["validate", words[1]]) == 1 and len(asked) == 3
