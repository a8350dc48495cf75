"""The store: what is written is read back, and nothing that goes wrong costs more than the run concerned."""

import errno
import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tangentbench.runners import results
from tangentbench.runners.locks import batch_lock
from tangentbench.runners.results import CorruptRun, Run, Store, StoreError

BOARDS = (
    "records",
    "results",
    "provenance",
    "statistics",
    "claim_data",
    "verdicts",
    "arenas",
    "tables",
    "plots",
    "locks",
)


def make_run(**changes) -> Run:
    base = Run(
        task="quadratic/single_example",
        cell={"method": {"name": "gd"}, "model": {"name": "wide", "width": 64}},
        coords={"model.width": 64},
        digest="0123456789abcdef01234567",
        code="fedcba9876543210",
        seed=3,
        tier="smoke",
        role="claim",
        status="ok",
        outcome="monotone",
        scalars={"train_loss": 0.25, "test_loss": None},
        certificates={"critical_rate": 1e-9},
        steps=100,
        work=6400,
        seconds={"compile": 1.0, "run": 0.5},
        provenance={"python": "3.12.1"},
    )
    return replace(base, **changes)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "results", create=True)


def folder(store: Store, run: Run) -> Path:
    return store.root / run.digest / run.code / str(run.seed)


def test_a_run_comes_back_as_it_was_written(store):
    run, curve = make_run(message="naïve"), np.array([1.0, np.inf, np.nan])
    store.write(run, {"train_loss": curve, "spectrum": np.arange(3, dtype=np.float32)})
    assert store.read(run.digest, run.code, run.seed) == run
    arrays = Store(store.root).arrays(run)
    np.testing.assert_array_equal(arrays["train_loss"], curve)
    assert arrays["spectrum"].dtype == np.float32
    assert store.digests() == [run.digest] and store.codes(run.digest) == [run.code]
    assert store.seeds(run.digest, run.code) == [3]
    assert sorted(os.listdir(folder(store, run))) == ["arrays.npz", "run.json"]


def test_missing_runs_are_none(store, tmp_path):
    assert store.read("aa", "bb", 0) is None
    assert store.codes("aa") == [] and store.arrays(make_run()) == {} and list(store.runs()) == []
    assert list(Store(tmp_path / "not there").runs()) == []
    assert not (tmp_path / "not there").exists()


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32("-inf")])
def test_a_scalar_that_is_not_finite_is_refused_by_name(store, value):
    with pytest.raises(ValueError, match="test_loss is .*stored as None"):
        store.write(make_run(scalars={"test_loss": value}))
    with pytest.raises(ValueError, match="residual"):
        store.write(make_run(certificates={"residual": value}))
    assert store.digests() == []


def test_numpy_scalars_become_numbers(store):
    store.write(make_run(scalars={"train_loss": np.float32(0.5)}))
    text = (folder(store, make_run()) / "run.json").read_text()
    assert json.loads(text)["scalars"] == {"train_loss": 0.5}
    with pytest.raises(ValueError, match="array words has dtype"):
        store.write(make_run(), {"words": np.array(["a"])})


@pytest.mark.parametrize("changes", [{"status": "fine"}, {"outcome": "great"}, {"digest": "../../etc"}, {"code": ""}])
def test_a_run_says_only_what_the_vocabulary_has(changes):
    with pytest.raises(ValueError, match="expected"):
        make_run(**changes)


def test_a_run_written_again_is_replaced_as_a_whole(store):
    store.write(make_run(), {"loss": np.ones(3)})
    store.write(make_run(status="timeout", outcome=None, scalars={}))
    assert store.read(make_run().digest, make_run().code, 3).status == "timeout"
    assert store.arrays(make_run()) == {}


DAMAGED = {
    **{text: text.encode() for text in ("", "{", '{"schema": 1}', "[]", '{"schema": 99}', "\0\0\0", "null")},
    "no text": b"\xff\xfe{}",
    "too deep": b"[" * 100_000,
}
SPOILT = {
    "half of it": lambda text: text[: len(text) // 2],
    "no number": lambda text: text.replace(b"0.25", b"NaN"),
    "no mapping": lambda text: text.replace(b'"certificates": {', b'"certificates": null, "kept": {'),
    "another type": lambda text: text.replace(b'"message": ""', b'"message": 0'),
}


@pytest.mark.parametrize("damage", [*DAMAGED, *SPOILT])
def test_a_damaged_record_warns_with_its_name_and_counts_as_missing(store, damage):
    run, other = make_run(), make_run(seed=4)
    for each in (run, other):
        store.write(each)
    path = folder(store, run) / "run.json"
    whole = path.read_bytes()
    path.write_bytes(SPOILT[damage](whole) if damage in SPOILT else DAMAGED[damage])
    assert path.read_bytes() != whole
    with pytest.warns(CorruptRun, match="run.json: it .*counts as missing") as caught:
        assert store.read(run.digest, run.code, run.seed) is None
        assert list(store.runs()) == [other]
    assert not any("\n" in str(warning.message) for warning in caught)
    store.write(run)
    assert store.read(run.digest, run.code, run.seed) == run


def test_a_record_in_another_runs_folder_is_not_that_run(store):
    store.write(make_run())
    folder(store, make_run()).rename(folder(store, make_run(seed=4)))
    with pytest.warns(CorruptRun, match="names another cell"):
        assert store.read(make_run().digest, make_run().code, 4) is None


@pytest.mark.parametrize("kept", [0, 100, None])
def test_truncated_or_lost_arrays_make_the_run_missing(store, kept):
    run = make_run()
    store.write(run, {"loss": np.ones(100)})
    path = folder(store, run) / "arrays.npz"
    if kept is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.warns(CorruptRun, match="arrays.npz"):
            assert store.arrays(run) == {}
    with pytest.warns(CorruptRun, match="missing or truncated"):
        assert store.read(run.digest, run.code, run.seed) is None


def test_arrays_damaged_inside_are_named_and_the_scalars_stay(store):
    run = make_run()
    store.write(run, {"loss": np.ones(100)})
    path = folder(store, run) / "arrays.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:400] + b"?" * 8 + whole[408:])
    assert store.read(run.digest, run.code, run.seed) == run
    with pytest.warns(CorruptRun, match="arrays.npz: .*; its arrays count as missing") as caught:
        assert store.arrays(run) == {}
    assert "\n" not in str(caught[0].message)
    store.write(run, {"loss": np.ones(100)})
    assert store.arrays(run)["loss"].sum() == 100


@pytest.mark.parametrize("name", ["run.json", "arrays.npz"])
def test_a_folder_in_place_of_a_file_is_one_line_and_stays(store, name):
    run = make_run()
    store.write(run, {"loss": np.ones(3)})
    path = folder(store, run) / name
    path.unlink()
    (path / "mine").mkdir(parents=True)
    if name == "run.json":
        with pytest.raises(StoreError, match="cannot read .*run.json: Is a directory"):
            store.read(run.digest, run.code, run.seed)
    else:
        with pytest.warns(CorruptRun, match="arrays.npz is missing or truncated"):
            assert store.read(run.digest, run.code, run.seed) is None
        with pytest.warns(CorruptRun, match="arrays.npz: .*Is a directory"):
            assert store.arrays(run) == {}
    with pytest.raises(StoreError, match="cannot write the run in .*: Is a directory") as caught:
        store.write(run, {"loss": np.ones(3)})
    assert "\n" not in str(caught.value) and (path / "mine").is_dir()


def test_what_may_not_be_read_is_one_line_and_not_taken_for_missing(store, monkeypatch):
    """Otherwise it would be computed again and written over. Patched, because permissions do not bind every user."""
    run = make_run()
    store.write(run, {"loss": np.ones(3)})

    def refused(*args, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    asked = {
        (Path, "read_bytes"): lambda: store.read(run.digest, run.code, run.seed),
        (Path, "open"): lambda: store.arrays(run),
        (results.os, "scandir"): store.digests,
        (Path, "read_text"): lambda: Store(store.root),
    }
    for (owner, name), ask in asked.items():
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, refused)
            with pytest.raises(StoreError, match="cannot (read|use) .*: Permission denied$") as caught:
                ask()
        assert "\n" not in str(caught.value)
    assert store.read(run.digest, run.code, run.seed) == run


def test_a_full_disk_costs_nothing_that_was_stored(store, monkeypatch):
    store.write(make_run(), {"loss": np.ones(3)})

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(results.os, step, full)
            with pytest.raises(StoreError, match="No space left") as caught:
                store.write(make_run(steps=7), {"loss": np.zeros(3)})
        assert "\n" not in str(caught.value)
    assert store.read(make_run().digest, make_run().code, 3) == make_run()
    assert store.arrays(make_run())["loss"].sum() == 3
    assert sorted(os.listdir(folder(store, make_run()))) == ["arrays.npz", "run.json"]


@pytest.mark.skipif(os.name == "nt", reason="this system's folders have no such permissions")
def test_a_store_without_permission_is_one_line():
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as above:  # pytest's own folders are closed to all but their owner
        os.chmod(above, 0o755)
        store = Store(Path(above) / "results", create=True)
        store.root.chmod(0o555)
        try:
            if user == 0:
                os.seteuid(65534)  # permissions do not bind root: be nobody for a moment
            with pytest.raises(StoreError, match="Permission denied"):
                store.write(make_run())
        finally:
            os.seteuid(user)
            store.root.chmod(0o755)
        store.write(make_run())


def test_a_path_that_cannot_hold_a_run_is_one_line(store):
    (store.root / make_run().digest).write_text("in the way")
    with pytest.raises(StoreError, match="cannot write the run"):
        store.write(make_run())


def test_foreign_folders_and_newer_stores_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="not empty .* choose an empty or new folder"):
        Store(tmp_path, create=True)
    with pytest.raises(StoreError, match="is a file"):
        Store(tmp_path / "thesis.tex", create=True)
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "tangentbench.json").write_text('{"schema": 2}')
    with pytest.raises(StoreError, match="schema 2 and this version reads 1"):
        Store(newer)
    for text in ("{", "", "[]", '{"schema"', "{}"):
        (newer / "tangentbench.json").write_text(text)
        with pytest.raises(StoreError, match="cannot read"):
            Store(newer)
    (newer / "tangentbench.json").unlink()
    (newer / "tangentbench.json").mkdir()
    with pytest.raises(StoreError, match="cannot use the results folder .*: Is a directory"):
        Store(newer)
    with pytest.raises(StoreError, match="cannot use the results folder"):
        Store(tmp_path / "thesis.tex" / "below", create=True)


def _write_many(root: str, value: float) -> None:
    store = Store(root, create=True)
    for length in range(1, 40):
        store.write(make_run(scalars={"value": value}), {"loss": np.full(length, value)})


def test_two_processes_writing_one_run_leave_a_valid_pair(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write_many, args=(str(tmp_path / "shared"), float(k))) for k in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    store = Store(tmp_path / "shared")
    run = store.read(make_run().digest, make_run().code, 3)
    assert run is not None
    np.testing.assert_array_equal(store.arrays(run)["loss"], np.full(39, run.scalars["value"]))


def test_ten_times_the_runs_take_ten_times_the_time(store):
    """Processor time, and as a ratio: a quadratic reader would take a hundred times."""
    cell = {"method": {"name": "gd"}, "dataset": {f"option_{k}": k for k in range(40)}}
    store.write(make_run(seed=0, cell=cell))
    text = (folder(store, make_run(seed=0)) / "run.json").read_text()
    assert text.count('"seed": 0,') == 1
    seconds = []
    for few, many in ((1, 300), (300, 3000)):
        for seed in range(few, many):
            place = folder(store, make_run(seed=seed))
            place.mkdir()
            (place / "run.json").write_text(text.replace('"seed": 0,', f'"seed": {seed},'))
        start = time.process_time()
        assert len(list(store.runs())) == many
        seconds.append(time.process_time() - start)
    assert seconds[1] < 30 * seconds[0]


def test_lookup_takes_the_current_code_and_the_newest_other_on_request(store):
    cell = SimpleNamespace(task="other/name", digest="c0ffee", coords={"a": 1}, role="tune", seeds=[0, 1])
    days = {"b2": "2026-11-29T08:00:00+00:00", "a1": "2026-11-30T07:00:00+00:00"}
    for steps, (code, day) in enumerate(days.items(), start=1):
        store.write(make_run(digest="c0ffee", code=code, seed=0, steps=steps, provenance={"started": day}))
    os.utime(store.root / "c0ffee" / "a1", (1, 1))  # as in a copy, whose files are of its own time
    find = store.lookup(lambda c: c.digest, "current")
    assert find(cell, 0) is None
    assert store.lookup(lambda c: c.digest, "b2")(cell, 0).steps == 1
    stale = store.lookup(lambda c: c.digest, "current", any_code=True)(cell, 0)
    assert (stale.steps, stale.code) == (2, "a1")
    assert (stale.task, stale.coords, stale.role) == ("other/name", {"a": 1}, "tune")


def test_the_frame_is_long_and_keeps_failures(store):
    store.write(make_run())
    store.write(make_run(seed=4, status="error", outcome=None, scalars={}, coords={"method": "adam"}))
    frame = store.frame()
    assert list(frame.columns[:9]) == [
        "task", "model.width", "sweep.method", "method", "seed", "status", "outcome", "metric", "value",
    ]  # fmt: skip
    assert len(frame) == 3
    assert frame[frame.metric == "train_loss"].value.item() == 0.25
    assert frame[frame.metric == "test_loss"].value.isna().all()
    assert frame[frame.status == "error"].seed.item() == 4
    assert list(store.frame([]).columns[:3]) == ["task", "method", "seed"]


HOLD = """
import sys, time
from tangentbench.runners.locks import batch_lock
with batch_lock(sys.argv[1], "batch") as held:
    print(held, flush=True)
    time.sleep(60)
"""


def test_a_lock_excludes_others_and_dies_with_its_process(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline().strip() == "True"
        with batch_lock(tmp_path, "batch") as held:
            assert not held
        with batch_lock(tmp_path, "another") as held:
            assert held
    finally:
        holder.kill()
        holder.communicate()
    with batch_lock(tmp_path, "batch") as held:
        assert held
        with batch_lock(tmp_path, "batch") as again:
            assert not again


def test_a_lock_key_stays_in_its_folder(tmp_path):
    with pytest.raises(ValueError, match="lock key"), batch_lock(tmp_path, "../out"):
        pass


def test_the_boards_import_nothing_heavy():
    imports = "; ".join(f"import tangentbench.runners.{name}" for name in BOARDS)
    heavy = ("jax", "equinox", "scipy.stats", "sklearn", "pandas", "matplotlib", "rich")
    code = f"import sys; {imports}; print(sorted(set({heavy!r}) & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


# -- a stranger's folder -----------------------------------------------------------------------------------------------


def test_a_record_that_is_no_regular_file_counts_as_missing(store):
    """A pipe would be waited for, a device read without end."""
    run = make_run()
    store.write(run)
    path = store.root / run.digest / run.code / str(run.seed) / "run.json"
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        path.unlink()
        make(path)
        with pytest.warns(CorruptRun, match="it is no regular file"):
            assert store.read(run.digest, run.code, run.seed) is None


def test_arrays_that_are_no_regular_file_or_expand_count_as_missing(store):
    run = make_run()
    store.write(run, {"loss": np.zeros(2**17)})
    path = store.root / run.digest / run.code / str(run.seed) / "arrays.npz"
    np.savez_compressed(path, loss=np.zeros(2**17))
    with pytest.warns(CorruptRun, match="it holds less than it expands to"):
        assert store.arrays(run) == {}
    path.unlink()
    os.mkfifo(path)
    with pytest.warns(CorruptRun, match="it is no regular file"):
        assert store.arrays(run) == {}


def test_a_marker_that_is_a_pipe_is_no_marker(tmp_path):
    os.mkfifo(tmp_path / results.MARKER)
    with pytest.raises(StoreError, match="it is no regular file"):
        Store(tmp_path)


def test_folders_that_are_called_like_no_code_are_none(store):
    run = make_run()
    store.write(run)
    (store.root / run.digest / "\x1b[2J" / "3").mkdir(parents=True)
    assert store.codes(run.digest) == [run.code] and len(list(store.runs())) == 1
