"""What runs and what does not: finished runs are never repeated, by whichever process."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tangentbench.runners import schedule
from tangentbench.runners.crew import INTERRUPTED
from tangentbench.runners.locks import batch_lock
from tangentbench.runners.results import Run, Store, StoreError
from tangentbench.runners.schedule import jobs_of, missing

from .tiny import MODEL, part, tiny_cell
from .troubles import calls, trouble_cell

CODE = "c0de"


def stored(store, cell, seed, status="ok", tier="smoke"):
    run = Run(
        task=cell.task, cell=cell.model_dump(mode="json"), coords={}, digest=cell.digest, code=CODE, seed=seed,
        tier=tier, role="claim", status=status,
    )  # fmt: skip
    store.write(run)


# -- planning ---------------------------------------------------------------------------------------------------------


def test_what_is_missing(tmp_path):
    store = Store(tmp_path, create=True)
    cell = tiny_cell(seeds=list(range(7)))
    for seed, status in enumerate(("ok", "error", "timeout", "out_of_memory", "skipped", "interrupted")):
        stored(store, cell, seed, status)
    assert missing([cell], store, CODE) == [(cell, 4), (cell, 5), (cell, 6)]
    assert missing([cell], store, "0ther") == [(cell, seed) for seed in range(7)]
    assert missing([cell], store, CODE, fresh=True) == [(cell, seed) for seed in range(7)]


def test_a_run_that_two_tasks_want_runs_once(tmp_path):
    cell = tiny_cell(seeds=[0, 1])
    again = cell.model_copy(update={"task": "another/task", "seeds": [1, 2]})
    assert missing([cell, again], Store(tmp_path, create=True), CODE) == [(cell, 0), (cell, 1), (again, 2)]


def test_batches_are_numbered_and_named():
    cell, other = tiny_cell(), tiny_cell(task="b/b", stream=1)
    wide = tiny_cell(task="c/c", model=part("model", "wide", **{**MODEL, "width": 6}))
    jobs = jobs_of([(cell, 0), (wide, 0), (other, 0), (cell, 1)])
    assert [(job.number, job.of, job.lanes) for job in jobs] == [
        (1, 2, ((cell, 0), (other, 0), (cell, 1))),
        (2, 2, ((wide, 0),)),
    ]
    assert [job.tasks for job in jobs] == ["b/b and 1 more", "c/c"]


def test_cells_with_other_limits_are_another_batch():
    tight = tiny_cell(limits={"seconds": 1.0, "memory_gib": 4.0})
    roomy = tight.model_copy(update={"stream": 1, "limits": {"seconds": 60.0, "memory_gib": 4.0}})
    assert [job.lanes for job in jobs_of([(tight, 0), (roomy, 0), (tight, 1)])] == [
        ((tight, 0), (tight, 1)),
        ((roomy, 0),),
    ]
    assert schedule.lock_key(tight) != schedule.lock_key(roomy)


def test_runs_of_another_tier_are_noted_as_of_both(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "Crew", None)
    store, cell, own = Store(tmp_path, create=True), tiny_cell(seeds=[0, 1]), tiny_cell(seeds=[0], stream=1)
    for seed in cell.seeds:
        stored(store, cell, seed)
    stored(store, own, 0, tier="laptop")
    assert missing([cell, own], store, CODE) == [] == store.tiers(cell.digest, CODE)  # planning changes nothing
    for _ in range(2):
        assert schedule.execute([cell, own], store, code=CODE, tier="laptop") == 0
        assert store.tiers(cell.digest, CODE) == ["laptop", "smoke"]
    assert store.tiers(own.digest, CODE) == [] == store.tiers(cell.digest, "0ther")


def test_a_store_that_cannot_be_written_is_still_read(tmp_path, monkeypatch):
    store, cell = Store(tmp_path, create=True), tiny_cell(seeds=[0])
    stored(store, cell, 0)

    def refused(*args, **options):
        raise PermissionError

    monkeypatch.setattr(schedule, "Crew", None)
    monkeypatch.setattr(Path, "touch", refused)  # permissions do not bind every user
    assert schedule.execute([cell], store, code=CODE, tier="laptop") == 0
    assert store.tiers(cell.digest, CODE) == []


def test_nothing_to_do_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "Crew", None)
    assert schedule.execute([], Store(tmp_path, create=True), code=CODE, tier="smoke") == 0


def test_a_cpu_has_two_workers_and_an_accelerator_one(monkeypatch):
    monkeypatch.setattr(schedule.os, "cpu_count", lambda: 8)
    found = []
    for kind in ("cpu", "NVIDIA H100"):
        monkeypatch.setattr(schedule.provenance, "device_kind", lambda kind=kind: kind)
        found.append(schedule.default_jobs())
    assert found == [2, 1]


# -- running ----------------------------------------------------------------------------------------------------------


def test_more_seeds_compute_only_the_new_ones(stage):
    cell = trouble_cell("fine", stage.log("seeds"), 1)
    assert stage.execute([cell]) == 1
    more = cell.model_copy(update={"seeds": [0, 1, 2]})
    assert stage.execute([cell]) == 0
    assert stage.execute([more]) == 2
    assert calls(stage.log("seeds")) == 3
    assert [run.seed for run in stage.rows(more)] == [0, 1, 2]
    run = stage.rows(more)[0]
    assert (run.task, run.tier, run.role, run.code, run.cell["dataset"]["how"]) == (
        "trouble/fine", "smoke", "claim", stage.CODE, "fine",
    )  # fmt: skip
    assert {"task", "seeds", "limits", "coords", "role"}.isdisjoint(run.cell)
    assert run.provenance["device"] and set(run.seconds) == {"compile", "run"}


def test_batches_run_side_by_side(stage):
    cells = [trouble_cell("fine", stage.log(f"jobs{k}"), 2) for k in range(2)]
    assert stage.execute(cells, jobs=2) == 4
    assert all(run.status == "ok" for cell in cells for run in stage.rows(cell))


def test_a_crew_keeps_its_workers(stage):
    with schedule.Crew() as crew:
        processes = []
        for k in range(2):
            assert stage.execute([trouble_cell("fine", stage.log(f"crew{k}"))], crew=crew) == 1
            with crew.member() as worker:
                processes.append(worker.process)
        assert processes[0] is processes[1] and processes[0].poll() is None
    assert processes[0].poll() is not None


def test_a_batch_that_another_process_runs_is_waited_for(stage):
    cell = trouble_cell("fine", stage.log("locked"))
    done = []
    with batch_lock(stage.store.root, schedule.lock_key(cell)) as held:
        assert held
        thread = threading.Thread(target=lambda: done.append(stage.execute([cell])))
        thread.start()
        time.sleep(2 * schedule.POLL_SECONDS)
        assert thread.is_alive() and not done
        stored(stage.store, cell, 0, tier="laptop")
    thread.join()
    assert done == [0] and calls(stage.log("locked")) == 0
    assert stage.store.tiers(cell.digest, CODE) == ["laptop", "smoke"]


def test_a_run_made_afresh_stays_of_the_tier_that_made_it_first(stage):
    cell = trouble_cell("fine", stage.log("afresh"))
    stored(stage.store, cell, 0, tier="laptop")
    assert stage.execute([cell], fresh=True) == 1
    assert stage.rows(cell)[0].tier == "smoke" and stage.store.tiers(cell.digest, CODE) == ["laptop", "smoke"]


TWICE = """
import json, sys
from tangentbench.runners import schedule
from tangentbench.runners.results import Store
from tangentbench.tasks.spec import Cell
cells = [Cell.model_validate(cell) for cell in json.loads(sys.argv[1])]
print(schedule.execute(cells, Store(sys.argv[2], create=True), code="c0de", tier="smoke", jobs=1))
"""


def test_two_processes_compute_each_run_once(stage, tmp_path):
    cells = [trouble_cell("fine", stage.log("shared"), 2), trouble_cell("fine", stage.log("shared"), 2, at=99)]
    words = [sys.executable, "-c", TWICE, json.dumps([c.model_dump(mode="json") for c in cells]), str(tmp_path)]
    pair = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    counts = [int(process.communicate(timeout=120)[0]) for process in pair]
    assert sum(counts) == 4 == calls(stage.log("shared"))
    assert len(list(Store(tmp_path).runs())) == 4


def test_an_unwritable_store_ends_all_workers_at_once(stage, tmp_path):
    """The first thread still computes when the row of the second cannot be written."""
    slow, cell = trouble_cell("sleep", stage.log("slow")), trouble_cell("fine", stage.log("in the way"))
    store = Store(tmp_path / "results", create=True)
    (store.root / cell.digest).write_text("in the way")
    began = time.monotonic()
    with pytest.raises(StoreError, match="cannot write the run"):
        schedule.execute([slow, cell], store, code=CODE, tier="smoke", jobs=2)
    assert time.monotonic() - began < 50  # of 60 that the first sleeps
    run = store.read(slow.digest, CODE, 0)
    assert run is None or (run.status, run.message) == ("interrupted", INTERRUPTED)


@pytest.mark.parametrize("obstacle", ["locks", "runs"])
def test_a_store_that_cannot_be_written_is_one_line(stage, tmp_path, obstacle):
    cell = trouble_cell("fine", stage.log("unwritable"))
    store = Store(tmp_path / "results", create=True)
    (store.root / (".locks" if obstacle == "locks" else cell.digest)).write_text("in the way")
    with pytest.raises(StoreError) as caught:
        schedule.execute([cell], store, code=CODE, tier="smoke", jobs=1)
    assert str(store.root) in str(caught.value) and "\n" not in str(caught.value)
