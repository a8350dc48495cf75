"""Comparisons of planted stores: what moved is found, and its direction; what cannot be compared is refused."""

import csv
import importlib.util
import io
import json
import os
import re
import subprocess
import sys

import pandas
import pytest

from tangentbench import runners
from tangentbench.runners import cli, compare_tables, comparison, noise, schedule, sides, tables
from tangentbench.runners.results import Store, StoreError
from tangentbench.tasks import load

from . import suite_files
from .boards import make_cell
from .planted import METRICS, RATES, cells, plant, scaled, usual


@pytest.fixture
def compared(tmp_path):
    """Plants two stores, compares them, and gives the comparison."""

    def compare(after=usual, *, before=usual, asked=None, now=None, **shared):
        a, b = tmp_path / "a", tmp_path / f"b{len(list(tmp_path.glob('b*')))}"
        if not a.exists():
            plant(a, asked or cells(), before)
        plant(b, now or asked or cells(), after, **shared)
        return comparison.between(str(a), f"dir:{b}", "results")

    return compare


def verdicts(found, kind="metric"):
    """{(cell, metric): verdict} of one kind of row."""
    return {(row.cell, row.metric): row.verdict for row in found.rows if row.kind == kind}


def only(found, kind):
    (row,) = [row for row in found.rows if row.kind == kind]
    return row


CELLS = [f"value={rate}" for rate in RATES]


# -- metrics -----------------------------------------------------------------------------------------------------------


def test_equal_runs_are_equivalent_to_the_last_bit(compared):
    found = compared()
    assert set(verdicts(found).values()) == {"equivalent"} and len(verdicts(found)) == 6
    assert all(row.identical and row.change == 0 for row in found.rows if row.kind == "metric")
    assert not found.regressed and found.level == 0.99
    assert [row for row in found.rows if row.kind not in ("metric", "speed")] == []


@pytest.mark.parametrize(
    ("metric", "factor", "verdict"),
    [
        ("test_loss", 1.1, "worse"),
        ("test_loss", 0.9, "better"),
        ("agop_alignment", 1.1, "better"),
        ("agop_alignment", 0.9, "worse"),
        ("distance", 1.1, "changed"),
        ("distance", 0.9, "changed"),
        ("test_loss", 1.03, "equivalent"),
    ],
)
def test_a_metric_biased_by_two_margins_is_found(compared, metric, factor, verdict):
    found = compared(scaled(**{metric: factor}))
    for (_, name), got in verdicts(found).items():
        assert got == (verdict if name == metric else "equivalent")
    assert found.regressed == (verdict in ("worse", "changed"))
    row = next(row for row in found.rows if row.metric == metric)
    assert row.change == pytest.approx(factor - 1, abs=0.01) and row.low <= row.change <= row.high
    assert (row.seeds_before, row.seeds_after, row.paired) == (8, 8, True)
    # the margin is relative to the size before, what is negligible included
    extra = 0.005 / 0.6 if metric == "agop_alignment" else 0.0
    assert row.margin == pytest.approx(0.05 + extra, rel=0.02)


def test_pairs_find_what_distributions_cannot(compared):
    """On another device the same bias is lost in the spread of the seeds."""
    found = compared(scaled(test_loss=1.1), provenance={"device": "other"})
    assert {v for (_, name), v in verdicts(found).items() if name == "test_loss"} == {"undecided"}
    assert not any(row.paired for row in found.rows if row.kind == "metric")
    assert not [row for row in found.rows if row.kind == "speed"] and "other devices" in found.notes[0]


def test_other_seeds_are_compared_by_distribution(compared):
    found = compared(scaled(test_loss=100.0), now=cells(seeds=list(range(100, 108))))
    rows = [row for row in found.rows if row.metric == "test_loss"]
    assert {(row.verdict, row.paired) for row in rows} == {("worse", False)}
    assert verdicts(found)[CELLS[0], "distance"] == "undecided"


def test_only_common_seeds_are_paired(compared):
    found = compared(scaled(test_loss=1.1), now=cells(seeds=list(range(2, 20))))
    row = next(row for row in found.rows if row.metric == "test_loss")
    assert (row.verdict, row.seeds_before, row.seeds_after) == ("worse", 6, 6)


def test_rows_that_cannot_err_do_not_widen_the_others(compared):
    assert compared(scaled(test_loss=1.1)).level == pytest.approx(1 - 0.01 / 2)


def test_a_lost_value_is_never_equivalent(compared, tmp_path):
    def some(cell, seed):
        return {"scalars": {**usual(cell, seed)["scalars"], "test_loss": None}} if seed < 2 else {}

    found = compared(some)
    row = next(row for row in found.rows if row.metric == "test_loss")
    assert row.verdict == "undecided" and row.note == "2 of 8 seeds without a value after (no test_loss)"
    back = comparison.between(str(tmp_path / "b0"), str(tmp_path / "a"), "results")
    row = next(row for row in back.rows if row.metric == "test_loss")
    assert row.verdict == "equivalent" and row.note == "2 of 8 seeds without a value before (no test_loss)"


def test_survivors_are_not_better(compared):
    """Two seeds lose their value; that the others are better than before is no improvement."""

    def fewer(cell, seed):
        scalars = scaled(test_loss=0.7)(cell, seed)["scalars"]
        return {"scalars": {**scalars, "test_loss": None}} if seed < 2 else {"scalars": scalars}

    assert verdicts(compared(scaled(test_loss=0.7)))[CELLS[0], "test_loss"] == "better"
    assert verdicts(compared(fewer))[CELLS[0], "test_loss"] == "undecided"


def test_all_values_lost_or_gained(compared, tmp_path):
    def none(cell, seed):
        return {"scalars": {"test_loss": None, "agop_alignment": None, "distance": None}}

    found = compared(none)
    assert [verdicts(found)[CELLS[0], name] for name in ("test_loss", "agop_alignment", "distance")] == [
        "worse", "worse", "changed",
    ]  # fmt: skip
    found = comparison.between(str(tmp_path / "b0"), str(tmp_path / "a"), "results")
    assert [verdicts(found)[CELLS[0], name] for name in ("test_loss", "agop_alignment")] == ["better", "better"]


# -- outcomes, statuses, streams ---------------------------------------------------------------------------------------


def test_a_seed_that_diverges_is_worse_and_one_that_returns_is_better(compared, tmp_path):
    found = compared(lambda cell, seed: {"outcome": "divergent"} if seed == 3 else {})
    row = next(row for row in found.rows if row.kind == "outcome")
    assert (row.verdict, row.before, row.after) == ("worse", "8 monotone", "1 divergent, 7 monotone")
    assert found.regressed and verdicts(found)[CELLS[0], "test_loss"] == "undecided"
    back = comparison.between(str(tmp_path / "b0"), str(tmp_path / "a"), "results")
    assert set(verdicts(back, "outcome").values()) == {"better"} and not back.regressed


@pytest.mark.parametrize(("seeds", "verdict"), [(1, "undecided"), (4, "changed")])
def test_another_outcome_counts_once_half_of_the_seeds_have_it(compared, seeds, verdict):
    found = compared(lambda cell, seed: {"outcome": "catapult"} if seed < seeds else {})
    assert set(verdicts(found, "outcome").values()) == {verdict}


def test_outcomes_of_other_seeds_are_chance_until_counts_exclude_it(compared):
    def some(limit):
        return lambda cell, seed: {"outcome": "divergent"} if seed % 100 < limit else {}

    other = cells(seeds=list(range(100, 116)))
    found = compared(some(3), asked=cells(seeds=list(range(16))), now=other)
    assert set(verdicts(found, "outcome").values()) == {"undecided"}


def test_outcomes_of_other_seeds_that_all_diverge(compared):
    other = cells(seeds=list(range(100, 116)))
    found = compared(lambda cell, seed: {"outcome": "divergent"}, asked=cells(seeds=list(range(16))), now=other)
    assert set(verdicts(found, "outcome").values()) == {"worse"}


def test_a_failed_run_is_worse(compared):
    failing = {"status": "timeout", "outcome": None, "scalars": {}, "message": "over 60 s"}
    found = compared(lambda cell, seed: failing if seed == 0 else {})
    row = next(row for row in found.rows if row.kind == "status")
    assert (row.verdict, row.after, row.note) == ("worse", "7 ok, 1 timeout", "over 60 s")


def test_an_interrupted_run_is_no_failure(compared):
    stopped = {"status": "interrupted", "outcome": None, "scalars": {}}
    found = compared(lambda cell, seed: stopped if seed == 0 else {})
    assert not [row for row in found.rows if row.kind == "status"] and not found.regressed


def test_a_moved_stream_is_found_and_ends_the_pairs(compared):
    def other(cell, seed):
        return usual(cell, seed + 50)

    found = compared(other)
    row = only(found, "streams")
    assert (row.verdict, row.note) == ("changed", "the same seeds start elsewhere") and found.regressed
    assert not any(row.paired for row in found.rows if row.kind == "metric")
    assert set(verdicts(found).values()) <= {"undecided", "equivalent"}


def test_other_data_are_a_moved_stream(compared):
    found = compared(lambda cell, seed: {"provenance": {"dataset": "elsewhere"}})
    assert only(found, "streams").note == "other data on 8 of 8 seeds"


def test_a_biased_start_is_no_moved_stream(compared):
    found = compared(lambda cell, seed: {"start": 1.1 * usual(cell, seed)["start"]})
    assert not [row for row in found.rows if row.kind == "streams"]


def test_streams_of_a_task_without_training_show_in_its_start(compared):
    asked = [make_cell({"width": 4}, metrics=[{**METRICS[0], "at": "start"}])]
    shown = {"steps": 0, "outcome": None}
    found = compared(lambda c, s: usual(c, s + 50) | shown, before=lambda c, s: usual(c, s) | shown, asked=asked)
    assert only(found, "streams").verdict == "changed"


# -- cells -------------------------------------------------------------------------------------------------------------


def test_cells_of_one_side_are_rows(compared):
    found = compared(asked=cells((0.1, 0.2)), now=cells((0.2, 0.4)))
    rows = {row.cell: (row.verdict, row.note[:8]) for row in found.rows if row.kind == "cell"}
    assert rows == {"value=0.1": ("missing", "only in "), "value=0.4": ("missing", "only in ")}
    assert len(verdicts(found)) == 3 and not found.regressed


def test_a_changed_task_is_not_compared_and_a_further_metric_is_no_change(compared):
    found = compared(now=[*cells((0.1,), version=2), *cells((0.2,))])
    row = only(found, "cell")
    assert (row.verdict, row.note) == ("incomparable", "the task changed: version")


def test_a_task_whose_cells_all_changed_is_named(compared):
    found = compared(now=cells(version=2))
    rows = [row for row in found.rows if row.kind == "cell"]
    assert [row.verdict for row in rows] == ["incomparable"] * 2 and not verdicts(found) and not found.regressed
    assert "cells that mean something else now are not compared: family/task" in found.notes
    for fmt in ("table", "markdown"):
        text = compare_tables.text(found, fmt)
        assert "not compared" in text and "the task changed: version" in text and "what moved" not in text


def test_a_further_metric_changes_no_task(compared):
    more = {"name": "train_loss", "label": "train_loss", "at": "end"}
    found = compared(scaled(test_loss=1.1), now=cells(metrics=[*METRICS, more]))
    assert not [row for row in found.rows if row.kind == "cell"] and len(verdicts(found)) == 6
    assert verdicts(found)[CELLS[0], "test_loss"] == "worse"
    # but a metric that means something else now is left out
    changed = [{**METRICS[0], "at": "schedule"}, *METRICS[1:]]
    found = compared(now=cells(metrics=changed))
    assert (CELLS[0], "test_loss") not in verdicts(found)


def test_tuning_has_no_rows(compared):
    assert not verdicts(compared(scaled(test_loss=2.0), asked=[*cells(), *cells((0.7,), role="tune")])).get(
        ("value=0.7", "test_loss")
    )


def test_runs_that_tuned_a_scored_cell_are_kept_apart(compared):
    """A method's tuning at the chosen point is the same cell as its score, on other seeds."""
    tuned = [cell.model_copy(update={"role": "tune", "seeds": list(range(100, 108))}) for cell in cells()]
    double = scaled(test_loss=2.0)

    def after(cell, seed):
        return (double if cell.role == "tune" else usual)(cell, seed)

    found = compared(after, asked=[*cells(), *tuned])
    assert {verdict for (_, metric), verdict in verdicts(found).items() if metric == "test_loss"} == {"equivalent"}


# -- boards ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def arena(tmp_path):
    """Plants the arena of the tiny suite: `store(name, loss of a method, best grid point)`."""
    folder = suite_files.write(tmp_path / "tasks")
    task = load.load_task("tiny/arena", "smoke", folder)

    def store(name, losses, best=2):
        def values(cell, seed):
            method, point = cell.coords["method"], cell.coords["point"]
            if losses[method] is None:
                return {"outcome": "divergent"} if cell.role == "tune" else None
            level = usual(make_cell(), seed)["scalars"]["distance"]
            scalars = {"validation_loss": 1.0 + abs(point - best), "test_loss": losses[method] * level}
            return {"scalars": scalars}

        tune = load.cells(task, seeds=8)
        score = [cell for cell in tune if cell.coords["point"] == best]
        scored = [cell.model_copy(update={"role": "score", "seeds": list(range(8))}) for cell in score]
        return plant(tmp_path / name, [*tune, *scored], values)

    return store, folder


def test_the_board_comes_first(arena):
    store, folder = arena
    a, b = store("a", {"gd": 1.0, "momentum": 0.5}), store("b", {"gd": 1.0, "momentum": 1.5})
    found = comparison.between(str(a), str(b), "results", folder=folder)
    gd, momentum = [{row.cell: row for row in found.rows if row.kind == "board"}[name] for name in ("gd", "momentum")]
    assert found.rows[0].kind == "board" and [row.method for row in found.arenas[0].rows] == ["gd", "momentum"]
    assert (gd.verdict, gd.identical, momentum.verdict) == ("equivalent", True, "worse")
    assert (momentum.rank_before, momentum.rank_after, gd.rank_before, gd.rank_after) == ("1", "2", "2", "1")
    assert momentum.change == pytest.approx(2.0, rel=1e-6)
    # the ranked metric of the scoring cells is on the board, and not a row again
    assert (momentum.cell, "test_loss") not in verdicts(found)
    assert not [row for row in found.rows if row.metric == "test_loss" and row.kind == "metric"]


def test_another_tuned_point_is_said_and_its_scores_are_compared(arena):
    store, folder = arena
    a, b = store("a", {"gd": 1.0, "momentum": 0.5}), store("b", {"gd": 1.0, "momentum": 0.5}, best=3)
    found = comparison.between(str(a), str(b), "results", folder=folder)
    row = next(row for row in found.rows if row.kind == "board")
    assert row.verdict == "equivalent" and row.note.startswith("tuned to ")
    assert not [row for row in found.rows if row.kind == "cell"]


def test_a_method_that_cannot_be_tuned_any_more_is_worse(arena):
    store, folder = arena
    a, b = store("a", {"gd": 1.0, "momentum": 0.5}), store("b", {"gd": 1.0, "momentum": None})
    for sides_, verdict in (((a, b), "worse"), ((b, a), "better")):
        found = comparison.between(*map(str, sides_), "results", folder=folder)
        row = next(row for row in found.rows if row.kind == "board" and row.cell == "momentum")
        assert row.verdict == verdict and "no stable point" in row.note
        assert found.regressed == (verdict == "worse")


def test_a_board_of_another_suite_is_left_out(arena):
    store, _ = arena
    a = store("a", {"gd": 1.0, "momentum": 0.5})
    found = comparison.between(str(a), str(a), "results")
    assert found.arenas == () and verdicts(found)["method=gd, point=2", "test_loss"] == "equivalent"


# -- speed -------------------------------------------------------------------------------------------------------------


def slower(factor):
    return lambda cell, seed: {"seconds": {"compile": 0.1, "run": 0.2 * factor}}


def noisy(folder, deviation, repeats=20):
    side = sides.resolve(str(plant(folder, cells())), "results")
    noise._write(side, noise.Noise({}, {"family/task": {"deviation": deviation, "repeats": repeats}}))


def test_times_without_measured_noise_decide_nothing(compared):
    row = only(compared(slower(2.0)), "speed")
    assert (row.verdict, row.floor) == ("undecided", None) and row.change == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("factor", "deviation", "verdict"),
    [(1.5, 0.05, "slower"), (0.6, 0.05, "faster"), (1.02, 0.01, "equivalent"), (1.1, 0.05, "undecided"),
     (1.5, 0.2, "undecided")],
)  # fmt: skip
def test_times_are_judged_against_their_noise(compared, tmp_path, factor, deviation, verdict):
    noisy(tmp_path / "a", deviation)
    found = compared(slower(factor))
    row = only(found, "speed")
    assert row.verdict == verdict and found.regressed == (verdict == "slower")
    assert ("below the noise" in row.note) == (deviation == 0.2 or deviation == 0.05)


def test_more_steps_are_no_slower_kernel(compared, tmp_path):
    noisy(tmp_path / "a", 0.01)
    longer = compared(lambda cell, seed: {"seconds": {"run": 0.4}, "steps": 20})
    row = only(longer, "speed")
    assert row.verdict == "equivalent" and (row.metric, row.before, row.after) == (
        "seconds per step", pytest.approx(0.02), pytest.approx(0.02),
    )  # fmt: skip
    text = compare_tables.text(longer)
    assert "speed · time per step" in text and text.count("20.0 ms/step") == 2


def test_times_say_what_their_change_says(compared):
    """The medians of both sides apart, 1 s before and 0.5 s after, would be of different cells."""
    times = {0.1: (0.1, 0.2), 0.2: (1.0, 1.5), 0.3: (9.0, 0.5)}

    def ran(side):
        def values(cell, seed):
            return {"seconds": {"run": times[cell.method["rate"]][side]}}

        return values

    row = only(compared(ran(1), before=ran(0), asked=cells(times)), "speed")
    assert row.after / row.before - 1 == pytest.approx(row.change) and row.change == pytest.approx(0.5)


def test_of_an_even_number_of_cells_the_middle_two_count(compared):
    row = only(compared(lambda c, s: {"seconds": {"run": 0.2 * (4 if c.method["rate"] == 0.1 else 1)}}), "speed")
    assert row.change == pytest.approx(1.0) and row.after / row.before == pytest.approx(2.0)


def test_a_run_without_steps_is_timed_whole(compared):
    still = {"steps": 0, "outcome": None}
    found = compared(lambda c, s: still, before=lambda c, s: still)
    assert only(found, "speed").metric == "seconds per run" and "0.20 s" in compare_tables.text(found)


def test_a_store_against_itself_is_as_fast(compared, tmp_path):
    compared()
    found = comparison.between(str(tmp_path / "a"), str(tmp_path / "a"), "results")
    row = only(found, "speed")
    assert row.verdict == "equivalent" and row.identical and row.change == row.low == row.high == 0
    assert only(compared(code="other"), "speed").verdict == "undecided", "equal times of other runs are luck"


# -- which sides -------------------------------------------------------------------------------------------------------


def refused(*arguments):
    with pytest.raises(StoreError) as error:
        comparison.between(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_mixed_tiers_are_refused(tmp_path):
    a = plant(tmp_path / "a", cells(), tier="smoke")
    b = plant(tmp_path / "b", cells(), tier="laptop")
    assert "is of tier smoke" in refused(str(a), str(b), "results")
    assert "no runs at tier laptop; it has smoke" in refused(str(a), str(b), "results", "laptop")
    plant(b, cells((0.5,)), tier="smoke")
    assert "laptop and smoke; choose one with --tier" in refused(str(a), str(b), "results")
    assert "no cell in common" in refused(str(a), str(b), "results", "smoke")


def test_a_run_that_two_tiers_share_is_of_both(tmp_path, monkeypatch):
    """A cell is the same at both where its task says nothing about tiers; what smoke alone has stays smoke's."""
    monkeypatch.setattr(schedule, "Crew", None)  # nothing is computed
    few = cells(seeds=[0, 1])
    a = plant(tmp_path / "a", cells(), tier="laptop")
    plant(a, [*few, *cells((0.7,))], tier="smoke")
    b = plant(tmp_path / "b", cells(), tier="laptop")
    assert schedule.execute(cells(), Store(a), code="c0de", tier="laptop") == 0
    side = sides.resolve(str(a), "results", "laptop")
    assert {(run.digest, run.seed) for run in side.runs} == {(c.digest, seed) for c in cells() for seed in c.seeds}
    found = comparison.between(str(a), str(b), "results", "laptop")
    assert found.tier == "laptop" and set(verdicts(found).values()) == {"equivalent"}
    assert all(row.seeds_before == 8 for row in found.rows if row.kind == "metric")
    assert "laptop and smoke; choose one with --tier" in refused(str(a), str(b), "results")
    assert len(sides.resolve(str(a), "results", "smoke").runs) == 8 * 3
    assert len(sides.resolve("commit:" + "a" * 40, a, "laptop").runs) == 8 * 2


def test_a_store_of_one_tier_has_all_its_runs_at_another_that_asked_for_them(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "Crew", None)
    a, b = plant(tmp_path / "a", cells(), tier="smoke"), plant(tmp_path / "b", cells(), tier="laptop")
    assert "two tiers are never compared" in refused(str(a), str(b), "results")
    assert "no runs at tier laptop; it has smoke" in refused(str(a), str(b), "results", "laptop")
    schedule.execute(cells(), Store(a), code="c0de", tier="laptop")
    assert len(verdicts(comparison.between("commit:" + "a" * 40, str(b), a, "laptop"))) == 6


def test_a_side_that_is_not_there(tmp_path):
    a = str(plant(tmp_path / "a", cells()))
    assert "no results folder" in refused(a, str(tmp_path / "b"), "results")
    assert "no commit is called 'no such'" in refused("commit:no such", a, a)
    assert f"no runs of commit {'b' * 10}" in refused("commit:" + "b" * 40, a, a)
    Store(tmp_path / "empty", create=True)
    assert "has no runs" in refused(a, str(tmp_path / "empty"), "results")


def test_the_newest_code_counts_unless_the_current_has_runs(tmp_path, monkeypatch):
    folder = plant(tmp_path / "a", cells(), code="old", provenance={"started": "2026-11-29T08:00:00+00:00"})
    later = {"started": "2026-11-30T07:00:00+00:00", "package": {"commit": "b" * 40}}
    plant(folder, cells(RATES[:1]), code="new", provenance=later)
    for path in folder.rglob("new"):  # as in a copy, whose files are of its own time
        os.utime(path, (1, 1))
    assert sides.resolve(str(folder), "results").code == "new"
    plant(folder, cells(), code="same", provenance=later)
    message = refused(str(folder), str(folder), "results")
    assert "runs of 2 codes, none of them the current one" in message and f"commit:{'b' * 10} --results" in message
    monkeypatch.setattr(sides.provenance, "code_digest", lambda: "old")
    assert sides.resolve(str(folder), "results").code == "old"


def test_commits_are_found_by_what_runs_say_or_what_their_sources_hash_to(tmp_path, monkeypatch):
    commits = {"main": "a" * 40, "topic": "b" * 40, "docs": "c" * 40, "wip": "d" * 40}
    monkeypatch.setattr(sides.provenance, "commit_of", commits.get)
    monkeypatch.setattr(sides.provenance, "code_digest_at", lambda commit: "two" if commit == "c" * 40 else "unseen")
    folder = tmp_path / "a"
    for code, commit, dirty in (("one", "a", False), ("two", "b", None), ("three", "d", True)):
        plant(folder, cells(), code=code, provenance={"package": {"commit": commit * 40, "dirty": dirty}})
    found = {name: sides.resolve(f"commit:{name}", folder).code for name in ("main", "topic", "docs")}
    assert found == {"main": "one", "topic": "two", "docs": "two"}  # a commit of documents alone has its parent's code
    message = refused("commit:main", "commit:wip", folder)
    assert "only runs of a changed tree of commit dddddddddd" in message and "git switch --detach dddddddddd" in message
    assert "`pip install .` (unless it is installed with -e), then `tangentbench run --tier smoke --res" in message


def test_a_commit_that_only_pins_another_library_has_no_runs_of_its_parent(tmp_path, monkeypatch):
    commits = {"main": "a" * 40, "bump": "b" * 40}
    monkeypatch.setattr(sides.provenance, "commit_of", commits.get)
    monkeypatch.setattr(sides.provenance, "code_digest_at", lambda commit: "same")
    pins = {"a" * 40: "jax==0.10.2\n", "b" * 40: "jax==0.11.0\n"}
    monkeypatch.setattr(sides.provenance, "file_at", lambda commit, name: pins[commit])
    made = {"package": {"commit": "a" * 40, "dirty": False}, "versions": {"jax": "0.10.2"}, "python": "3.11.9"}
    folder = plant(tmp_path / "a", cells(), code="same", provenance=made)
    assert sides.resolve("commit:main", folder).code == "same"
    with pytest.raises(sides.NoRuns):
        sides.resolve("commit:bump", folder)
    made |= {"package": {"commit": "b" * 40, "dirty": False}, "versions": {"jax": "0.11.0"}}
    plant(folder, cells(), code="bumped", provenance=made)
    assert sides.resolve("commit:bump", folder).code == "bumped"
    pins["b" * 40] = pins["a" * 40]
    folder = plant(tmp_path / "b", cells(), code="same", provenance=made | {"versions": {"jax": "0.10.2"}})
    assert sides.resolve("commit:main", folder).code == "same", "equal sources and libraries: the runs are of both"


def test_a_commits_sources_hash_to_its_code_digest(root):
    """In a clean checkout the digest at HEAD is the current one; with changes in the sources it is another."""
    from tangentbench.runners import provenance

    head = provenance.commit_of("HEAD")
    if head is None:
        pytest.skip("not in a git checkout, so there is no commit to hash")
    package = provenance.package()
    found = provenance.code_digest_at(head)
    assert found is not None and len(found) == 16
    if not package["dirty"]:
        assert found == provenance.code_digest()
    assert provenance.commit_of("no-such-revision") is None and provenance.code_digest_at("0" * 40) is None


# -- what is printed ---------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path):
    def values(cell, seed):
        return scaled(test_loss=1.1)(cell, seed) | ({"outcome": "divergent"} if seed == 7 else {})

    return plant(tmp_path / "a", cells()), plant(tmp_path / "b", cells(), values)


def test_every_format_and_the_exit_code(pair, capsys, monkeypatch):
    a, b = map(str, pair)
    monkeypatch.setenv("COLUMNS", "160")
    outputs = {}
    for fmt in tables.FORMATS:
        assert cli.main(["compare", a, b, "--format", fmt]) == 3
        outputs[fmt], err = capsys.readouterr()
        assert err == ""
    document = json.loads(outputs["json"])
    assert document["regressed"] and document["counts"]["worse"] == 4
    rows = list(csv.DictReader(io.StringIO(outputs["csv"])))
    assert len(rows) == len(document["rows"]) and rows[0].keys() == document["rows"][0].keys()
    assert outputs["markdown"].startswith("## tangentbench: a regression (smoke)")
    assert all(len(set(map(_pipes, table))) == 1 for table in _markdown_tables(outputs["markdown"]))
    for text in (outputs["table"], outputs["markdown"]):
        assert "worse" in text and "+10%" in text and "divergent" in text
    assert cli.main(["compare", a, a]) == 0
    assert "no regression" not in capsys.readouterr()[0]


def test_a_change_of_rounding_is_none(compared):
    found = compared(scaled(test_loss=1 + 2.4e-8))
    assert "+~" not in (text := compare_tables.text(found, "markdown")) and "e-" not in text
    assert [compare_tables._percent(value) for value in (2.4e-8, -2.4e-8, 0.0, 0.0123)] == ["~0%", "~0%", "0%", "+1.2%"]


def test_cells_that_are_missing_for_one_reason_are_one_row(compared):
    rates = [0.1 * k for k in range(1, 9)]
    found = compared(asked=cells(rates), now=cells(rates[:3]))
    assert sum(row.verdict == "missing" for row in found.rows) == 5
    text = compare_tables.text(found, "markdown")
    assert "5 cells" in text and text.count("| missing") == 1 and "value=0.7" not in text
    text = compare_tables.text(compared(now=cells(rates[:6])), "markdown")
    assert text.count("| missing") == 2 and "value=0.7" in text


def test_runs_of_another_device_are_said_to_lie_there(compared, tmp_path):
    assert not any("too" in note for note in compared().notes)
    plant(tmp_path / "a", cells(), provenance={"started": "2026-11-29T08:00:00+00:00"})
    plant(tmp_path / "a", cells(), code="gpu", provenance={"device": "H100"})
    found = comparison.between(str(tmp_path / "a"), str(tmp_path / "b0"), "results")
    assert f"{tmp_path / 'a'} has runs on H100, too, which are not compared" in found.notes


def test_margins_are_rounded(compared):
    found = compared(scaled(agop_alignment=0.9))
    margins = re.findall(r"±([^%]*)%", compare_tables.text(found))
    assert len(margins) == 3 and max(map(len, margins)) <= 3, margins  # two metrics, one time


def _pipes(line):
    return line.replace("\\|", "").count("|")


def _markdown_tables(text):
    blocks = [block.splitlines() for block in text.split("\n\n")]
    return [block for block in blocks if block[0].startswith("|")]


def test_long_lists_are_cut_for_reading_only(tmp_path):
    rates = [0.01 * k for k in range(1, 41)]
    a = plant(tmp_path / "a", cells(rates, seeds=[0, 1]))
    b = plant(tmp_path / "b", cells(rates, seeds=[0, 1]), scaled(test_loss=2.0, distance=3.0))
    found = comparison.between(str(a), str(b), "results")
    text = compare_tables.text(found, "markdown")
    assert "and 20 more, with --format csv" in text and len(text) < 65_536  # what a comment on GitHub may have
    assert len(json.loads(compare_tables.text(found, "json"))["rows"]) == 40 * 3 + 1


def test_mistakes_are_one_line_and_1(pair, capsys, tmp_path):
    a, b = map(str, pair)
    for words, hint in (
        ([a], "a second side"),
        ([a, b, "--self"], "leave the second out"),
        ([a, str(tmp_path / "c")], "no results folder"),
        ([a, b, "--tier", "paper"], "has no runs at tier paper"),
        ([a, "--self"], "made by other code"),
    ):
        assert cli.main(["compare", *words]) == 1
        out, err = capsys.readouterr()
        assert out == "" and hint in err and err.count("\n") == 1, words
    task = next(Store(a).runs()).task
    for only, hint in (("nope", f"it has runs of {task}"), (task[:-1], f"did you mean '{task}'?")):
        assert cli.main(["compare", a, b, "--only", only]) == 4
        assert capsys.readouterr().err.endswith(f"has no runs of {only}; {hint}\n")


def test_in_python_it_is_a_table(pair):
    table = runners.compare(*pair)
    assert isinstance(table, pandas.DataFrame) and table.attrs["regressed"]
    assert set(table[table.metric == "test_loss"].verdict) == {"worse"}
    assert {"task", "cell", "metric", "change", "low", "high", "verdict"} <= set(table.columns)


def test_it_is_answered_without_jax_pandas_or_scipy_stats(pair):
    code = f"from tangentbench.runners import cli; cli.main(['compare', {str(pair[0])!r}, {str(pair[1])!r}])"
    code += "\nimport sys; print([m for m in ('jax', 'pandas', 'scipy.stats', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


def test_what_the_benchmark_plants_is_still_there(root, tmp_path):
    """Each planted change applies to the sources as they are, and is valid Python."""
    spec = importlib.util.spec_from_file_location("planted_benchmark", root / "benchmarks" / "planted.py")
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    load.load_task(str(benchmark.TASK), "smoke")
    for number, planted in enumerate(benchmark.PLANTED.values()):
        folder = benchmark.copied(tmp_path / str(number), planted)
        changed = (folder / "tangentbench" / planted[0]).read_text()
        compile(changed, planted[0], "exec")
        assert changed != (root / planted[0]).read_text()
    with pytest.raises(ValueError, match="0 times"):
        benchmark.copied(tmp_path / "wrong", ("tasks/streams.py", "no such text", ""))
