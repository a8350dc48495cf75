"""Arenas: tuning on validation data, scores that failures cannot flatter, rank sets, missing runs shown as missing."""

import json
import math
import re
from pathlib import Path

import pytest

from tangentbench.runners.arenas import Row, _order, board, choose
from tangentbench.runners.page_boards import arena_board
from tangentbench.runners.tables import arena_note, leaderboard_table
from tangentbench.tasks import load
from tangentbench.tasks.registry import METHODS
from tangentbench.tasks.spec import Leaderboard

from .boards import SEEDS, make_cell, make_run, make_task

EXAMPLES = Path(__file__).parents[1] / "tasks" / "examples"
TUNE_SEEDS = [1_000_000, 1_000_001, 1_000_002]
METRICS = [{"name": "test_loss", "label": "test_loss"}, {"name": "validation_loss", "label": "validation_loss"}]
RULES = Leaderboard(
    metric="test_loss", validation_metric="validation_loss", target=0.5, budget=1000, tune_seeds=3,
    reference={"method": "gd", "score": 2.0},
)  # fmt: skip
NAMES = ("gd", "momentum", "adam")


def tune_cells(names=NAMES):
    return [
        make_cell(role="tune", seeds=TUNE_SEEDS, metrics=METRICS, method={"name": name, **point})
        for name in names
        for point in METHODS[name].grid
    ]


def score_cell(task, method, point):
    return make_cell(role="score", seeds=SEEDS, metrics=METRICS, method={"name": method, **point})


def place(cell) -> int:
    """The index of a cell's point in its method's grid."""
    rest = {name: value for name, value in cell.method.items() if name != "name"}
    return METHODS[cell.method["name"]].grid.index(rest)


class Runs:
    """Grid point 2 is best on validation data; test scores are a method's own number with some spread."""

    def __init__(self, **changes):
        self.scores = {"gd": 2.0, "momentum": 1.0, "adam": 4.0}
        self.changes = changes
        self.asked = set()

    def __call__(self, cell, seed):
        self.asked.add((cell.role, seed))
        name = cell.method["name"]
        change = self.changes.get(name, lambda cell, seed: {})(cell, seed)
        if change is None:
            return None
        if cell.role == "tune":
            scalars = {"validation_loss": 1.0 + abs(place(cell) - 2), "test_loss": -100.0 * place(cell)}
        else:
            loss = self.scores[name] * math.exp(0.05 * math.sin(7 * seed + len(name)))
            scalars = {"test_loss": loss, "validation_loss": 0.0, "work_to_target": 100.0 * (seed + 1)}
        base = {"scalars": scalars, "seconds": {"compile": 9.0, "run": 1.0 + seed}}
        return make_run(cell, seed, **{**base, **change})


TASK = make_task(leaderboard=RULES)


def boarded(runs, names=NAMES, **options):
    arena = board(TASK, tune_cells(names), runs, score_cell=score_cell, **options)
    return arena, {row.method: row for row in arena.rows}


def test_the_choice_is_the_best_median_on_validation_data():
    runs = Runs()
    choice = choose(TASK, tune_cells(), runs)["gd"]
    assert (choice.state, choice.index, choice.validation, choice.edge) == ("chosen", 2, 1.0, False)
    assert choice.point == METHODS["gd"].grid[2]
    assert runs.asked == {("tune", seed) for seed in TUNE_SEEDS}


def test_equal_points_go_to_the_first_and_the_edge_is_marked():
    flat = Runs(gd=lambda cell, seed: {"scalars": {"validation_loss": 1.0}})
    choice = choose(TASK, tune_cells(), flat)["gd"]
    assert (choice.index, choice.edge) == (0, True)


@pytest.mark.parametrize(
    "failure",
    [
        {"outcome": "divergent"},
        {"status": "timeout", "outcome": None},
        {"scalars": {"validation_loss": None}},
    ],
)
def test_a_point_that_failed_on_one_tuning_seed_is_out(failure):
    """The median of the other two seeds would still have chosen it."""
    runs = Runs(gd=lambda cell, seed: failure if cell.role == "tune" and place(cell) == 2 and seed % 3 == 1 else {})
    assert any(seed % 3 == 1 for seed in TUNE_SEEDS)
    assert choose(TASK, tune_cells(), runs)["gd"].index == 1


def test_a_median_is_not_a_mean():
    def outlier(cell, seed):
        value = 1.0 + abs(place(cell) - 2) + (1000.0 if place(cell) == 2 and seed == TUNE_SEEDS[0] else 0.0)
        return {"scalars": {"validation_loss": value}} if cell.role == "tune" else {}

    assert choose(TASK, tune_cells(), Runs(gd=outlier))["gd"].index == 2


def test_incomplete_tuning_chooses_nothing():
    lost = (5, TUNE_SEEDS[1])
    runs = Runs(gd=lambda cell, seed: None if cell.role == "tune" and (place(cell), seed) == lost else {})
    choice = choose(TASK, tune_cells(), runs)["gd"]
    assert (choice.state, choice.point, choice.detail) == ("not run", None, "1 of 18 tuning runs missing")
    diverged = choose(TASK, tune_cells(), Runs(gd=lambda cell, seed: {"outcome": "divergent"}))["gd"]
    assert (diverged.state, diverged.detail) == ("no stable point", "18 divergent")
    broken = choose(TASK, tune_cells(), Runs(gd=lambda cell, seed: {"status": "error"}))["gd"]
    assert (broken.state, broken.detail) == ("failed", "18 error")
    skipped = {"status": "skipped", "outcome": None, "message": "fetch it by hand"}
    choice = choose(TASK, tune_cells(), Runs(gd=lambda cell, seed: skipped))["gd"]
    assert (choice.state, choice.detail) == ("skipped", "fetch it by hand")


def test_the_board_is_sorted_ranked_and_relative_to_the_reference():
    arena, rows = boarded(Runs())
    assert [row.method for row in arena.rows] == ["momentum", "gd", "adam"]
    assert [(row.rank_low, row.rank_high) for row in arena.rows] == [(1, 1), (2, 2), (3, 3)]
    row = rows["momentum"]
    assert row.state == "scored" and row.score == pytest.approx(1.0, rel=0.05)
    assert row.low < row.score < row.high and row.relative == pytest.approx(row.score / 2.0)
    assert (row.work, row.reached, row.seconds) == (450.0, 8, 4.5)
    assert (arena.metric, arena.direction, arena.reference, arena.target) == ("test_loss", "lower", "gd", 0.5)


def test_a_new_entrant_changes_no_score():
    before = boarded(Runs(), names=("gd", "momentum"))[1]
    after = boarded(Runs())[1]
    for name, row in before.items():
        for field in ("score", "low", "high", "relative", "work", "point"):
            assert getattr(after[name], field) == getattr(row, field)


def test_where_higher_is_better_the_best_is_the_highest():
    rules = RULES.model_copy(update={"metric": "agop_alignment"})

    def value(cell, seed):
        score = {"gd": 0.5, "momentum": 0.9, "adam": 0.1}[cell.method["name"]] + 0.01 * math.sin(3 * seed)
        return {"scalars": {"validation_loss": 1.0, "agop_alignment": score}}

    runs = Runs(**dict.fromkeys(NAMES, value))
    arena = board(make_task(leaderboard=rules), tune_cells(), runs, score_cell=score_cell)
    assert arena.direction == "higher"
    assert [(row.method, row.rank_low) for row in arena.rows] == [("momentum", 1), ("gd", 2), ("adam", 3)]
    assert all(row.low < row.score < row.high for row in arena.rows)


def test_failed_seeds_are_worse_than_any_score_and_shown():
    """Dropped, the two failures would leave the best method of all on top."""

    def failing(cell, seed):
        failed = {0: {"outcome": "divergent"}, 1: {"status": "out_of_memory", "outcome": None, "scalars": {}}}
        return failed.get(seed, {}) if cell.role == "score" else {}

    arena, rows = boarded(Runs(momentum=failing))
    row = rows["momentum"]
    assert row.score == pytest.approx(1.0, rel=0.06) and row.high is None and row.low is not None
    assert sorted(row.failures) == [("divergent", 1), ("out_of_memory", 1)]
    assert (row.rank_low, row.rank_high) == (3, 3)
    assert (row.reached, row.seeds) == (6, 8)
    # with every seed failed there is no score, only the reason
    _, rows = boarded(Runs(gd=lambda cell, seed: {"outcome": "divergent"} if cell.role == "score" else {}))
    assert (rows["gd"].state, rows["gd"].score, rows["gd"].failures) == ("failed", None, (("divergent", 8),))


def test_rows_are_sorted_by_the_ranks_they_show():
    """Ranks compare means of logarithms: two seeds at a millionth win them, and leave the median the worse one."""

    def two_far_below(cell, seed):
        loss = 1.2 * (1e-6 if seed in (0, 1) else 1.0)
        return {"scalars": {"test_loss": loss, "validation_loss": 1.0}} if cell.role == "score" else {}

    def one_failed(cell, seed):
        return {"outcome": "divergent"} if cell.role == "score" and seed == 0 else {}

    runs = Runs(gd=two_far_below, momentum=one_failed)
    arena, rows = boarded(runs)
    # the best median of all has a failed seed, and ranks and stands last
    assert rows["momentum"].score < rows["gd"].score < rows["adam"].score
    assert [row.method for row in arena.rows] == ["gd", "adam", "momentum"]
    assert [row.rank_low for row in arena.rows] == sorted(row.rank_low for row in arena.rows)
    assert (rows["momentum"].rank_low, rows["momentum"].rank_high) == (3, 3)
    # without ranks, as where a run is missing, a row stands below all that have one
    arena, rows = boarded(Runs(momentum=lambda cell, seed: None if cell.role == "score" and seed == 7 else {}))
    assert [row.method for row in arena.rows] == ["gd", "adam", "momentum"] and rows["momentum"].rank_low is None


def test_ranks_decide_the_order_where_medians_say_otherwise():
    def row(method, score, low, high):
        return Row(method, "scored", score=score, rank_low=low, rank_high=high)

    rows = [row("a", 1.0, 2, 3), row("b", 2.0, 1, 1), row("c", 0.5, 2, 3), Row("d", "not run")]
    assert [row.method for row in sorted(rows, key=lambda row: _order(row, 1))] == ["b", "c", "a", "d"]
    assert [row.method for row in sorted(rows, key=lambda row: _order(row, -1))] == ["b", "a", "c", "d"]


def test_work_that_never_reached_the_target_is_censored_not_dropped():
    def slow(cell, seed):
        work = 10.0 if seed < 3 else None
        return {} if cell.role == "tune" else {"scalars": {"test_loss": 1.0, "work_to_target": work}}

    _, rows = boarded(Runs(adam=slow))
    assert (rows["adam"].work, rows["adam"].reached, rows["adam"].seeds) == (None, 3, 8)


def test_missing_scores_are_not_run_and_unranked():
    arena, rows = boarded(
        Runs(
            gd=lambda cell, seed: None if cell.role == "score" else {},
            adam=lambda cell, seed: None if cell.role == "score" and seed == 7 else {},
        )
    )
    assert (rows["gd"].state, rows["gd"].score, rows["gd"].rank_low) == ("not run", None, None)
    assert rows["gd"].detail == "8 of 8 scoring runs missing" and "\ngd: 8 of 8 scoring" in arena_note(arena)
    assert json.loads(leaderboard_table([arena], "json"))[0]["rows"][-1]["detail"] == rows["gd"].detail
    assert "gd: 8 of 8 scoring runs missing" in arena_board(arena, "x")["note"]
    assert (rows["adam"].state, rows["adam"].seeds, rows["adam"].expected_seeds) == ("incomplete", 7, 8)
    assert rows["adam"].detail == "1 of 8 scoring runs missing" and rows["adam"].rank_low is None
    assert (rows["momentum"].rank_low, rows["momentum"].rank_high) == (1, 1)
    assert arena.rows[-1].method == "gd"


def test_the_arenas_of_the_suite_have_boards_before_anything_ran():
    arenas = [task for task in load.find() if task.leaderboard is not None]
    assert arenas
    for task in arenas:
        arena = board(task, load.cells(task), lambda cell, seed: None)
        assert {row.state for row in arena.rows} == {"not run"}
        assert arena.reference in {row.method for row in arena.rows}


def test_the_point_chosen_is_one_that_the_suite_can_score():
    """Tuning cells of a loaded task come in the order of the method's grid."""
    task = next(task for task in load.find(["arena"]))

    def runs(cell, seed):
        wanted = (
            cell.method["name"] == "adam" and cell.method["learning_rate"] == METHODS["adam"].grid[3]["learning_rate"]
        )
        scalars = {"validation_loss": 0.0 if wanted else 1.0, "validation_error": 0.0 if wanted else 1.0}
        return make_run(cell, seed, scalars=scalars)

    choice = choose(task, load.cells(task), runs)["adam"]
    assert (choice.index, choice.point) == (3, METHODS["adam"].grid[3])
    cell = load.score_cell(task, "adam", choice.point)
    assert cell.role == "score" and cell.method["learning_rate"] == METHODS["adam"].grid[3]["learning_rate"]


def test_a_batch_that_is_cut_to_the_data_is_shown_as_it_ran(tmp_path):
    """The grid of sgd has batches of 32, and here there are 20 examples."""
    text = (EXAMPLES / "arena.yaml").read_text()
    file = tmp_path / "small.yaml"
    file.write_text(re.sub(r"train: \d+", "train: 20", text))
    task = load.load_task(file)
    assert task.leaderboard is not None

    def runs(cell, seed):
        names = (task.leaderboard.metric, task.leaderboard.validation_metric)
        return make_run(cell, seed, scalars=dict.fromkeys(names, 0.5))

    rows = {row.method: row for row in board(task, load.cells(task), runs).rows}
    assert METHODS["sgd"].grid[0]["batch_size"] == 32
    assert rows["sgd"].point == {**METHODS["sgd"].grid[0], "batch_size": 20}
    assert rows["gd"].point == METHODS["gd"].grid[0]


def test_stale_runs_are_counted_and_a_task_without_an_arena_has_no_board():
    assert boarded(Runs(), code="newer")[1]["gd"].stale == 8
    assert boarded(Runs(), code="current")[1]["gd"].stale == 0
    with pytest.raises(ValueError, match="has no leaderboard"):
        board(make_task(), [], Runs(), score_cell=score_cell)
