"""Whatever goes wrong in a worker is a row with a status, and the rest goes on."""

import pytest

from .troubles import calls, trouble_cell


@pytest.fixture(scope="module")
def troubled(stage):
    """Every trouble in one call, each in a batch of its own, and a good batch after all of them."""
    broken = {"name": "broken", "label": "broken", "at": "start"}
    cells = {
        "kill": trouble_cell("kill", stage.log("kill"), 3, at=2, again=True),
        "once": trouble_cell("kill", stage.log("once"), 3, at=2),
        "exit": trouble_cell("exit", stage.log("exit"), 2, at=2, again=True),
        "raise": trouble_cell("raise", stage.log("raise"), 2, at=1, again=True),
        "metric": trouble_cell("fine", stage.log("metric"), metrics=[broken]),
        "full": trouble_cell("memory", stage.log("full")),
        "memory": trouble_cell("memory", stage.log("memory"), again=True),
        "unavailable": trouble_cell("unavailable", stage.log("unavailable")),
        "sleep": trouble_cell("sleep", stage.log("sleep"), limits={"seconds": 0.3, "memory_gib": 4.0}),
        "large": trouble_cell("sleep", stage.log("large"), again=True, limits={"seconds": 60.0, "memory_gib": 0.001}),
        "fine": trouble_cell("fine", stage.log("fine"), 2),
    }
    done = stage.execute(list(cells.values()))
    assert done == sum(len(cell.seeds) for cell in cells.values())
    return cells


def test_a_killed_worker_keeps_what_it_had_finished(stage, troubled):
    first, second, third = stage.rows(troubled["kill"])
    assert (first.status, first.outcome) == ("ok", None)
    assert second.status == third.status == "out_of_memory"
    assert "killed (signal 9)" in second.message


def test_what_a_worker_left_that_was_killed_once_is_run_after_all(stage, troubled):
    assert stage.ended(troubled["once"]) == [("ok", "")] * 3
    assert calls(stage.log("once")) == 4  # the third was not begun twice


def test_a_crash_is_an_error_with_its_last_words(stage, troubled):
    (first, _), (status, message) = stage.ended(troubled["exit"])
    assert (first, status) == ("ok", "error")
    assert message == "the worker ended with code 3: the last words"


def test_an_exception_is_an_error_in_one_line(stage, troubled):
    assert stage.ended(troubled["raise"]) == [("error", "ValueError: first line second line")] * 2
    assert stage.ended(troubled["metric"]) == [("error", "RuntimeError: a metric that raises")]


def test_want_of_memory_is_its_own_status(stage, troubled):
    assert stage.ended(troubled["memory"]) == [("out_of_memory", "no room")]
    assert stage.ended(troubled["large"]) == [("out_of_memory", "over 0.001 GiB (limits.memory_gib of the task)")]


def test_what_fails_for_want_of_memory_has_a_worker_that_kept_nothing(stage, troubled):
    assert stage.ended(troubled["full"]) == [("ok", "")] and calls(stage.log("full")) == 2


def test_time_is_limited(stage, troubled):
    assert stage.ended(troubled["sleep"]) == [("timeout", "over 0.3 s (limits.seconds of the task)")]


def test_missing_data_are_skipped(stage, troubled):
    assert stage.ended(troubled["unavailable"]) == [("skipped", "no files (download them)")]


def test_the_rest_goes_on_and_a_print_does_no_harm(stage, troubled):
    assert stage.ended(troubled["fine"]) == [("ok", "")] * 2
    assert calls(stage.log("fine")) == 2


def test_the_scheduler_says_what_happened(stage, troubled):
    said = [event.message for event in stage.events if event.message and event.task == "trouble/exit"]
    assert said[0] == "the worker ended with code 3: the last words; trying once more, run by run"
    assert said[-1] == "error: the worker ended with code 3: the last words"
    assert {event.task: event.message for event in stage.events}["trouble/fine"] == ""
    ends = [event.batch for event in stage.events if event.kind == "end"]
    assert ends == list(range(1, len(troubled) + 1))
    assert {event.of for event in stage.events} == {len(troubled)}


def test_failed_runs_stay_and_skipped_ones_are_tried_again(stage, troubled):
    # the data are there at the second call; everything else is finished, however it ended
    assert stage.execute(list(troubled.values())) == 1
    assert stage.ended(troubled["unavailable"]) == [("ok", "")]
    assert stage.execute(list(troubled.values())) == 0


def test_fresh_runs_everything_again(stage, troubled):
    cell = troubled["once"]
    assert stage.execute([cell], fresh=True) == 3
    assert calls(stage.log("once")) == 7
