"""The command line in Python: run, then read the boards as tables."""

import subprocess
import sys

import pandas
import pytest

from tangentbench import runners
from tangentbench.runners.results import StoreError
from tangentbench.tasks.load import TaskFileError, UnknownName

from . import suite_files


def test_what_is_offered_exists():
    assert set(runners.__all__) >= {"run", "leaderboard", "claims"}
    assert all(callable(getattr(runners, name)) for name in runners.__all__)


def test_run_then_read(tmp_path):
    task = str(suite_files.write(tmp_path / "tasks") / "tiny" / "holds.yaml")
    store = tmp_path / "store"
    table = runners.run(task, results=store, seeds=2, base_seed=3)
    assert isinstance(table, pandas.DataFrame)
    rows = table[table.metric == "train_loss"]
    assert sorted(zip(rows["method.learning_rate.critical"], rows.seed, strict=True)) == [
        (0.25, 3), (0.25, 4), (0.5, 3), (0.5, 4),
    ]  # fmt: skip
    assert set(rows.status) == {"ok"} and (rows.value > 0).all() and set(rows.task) == {"holds"}
    files = {path: path.stat().st_mtime_ns for path in store.rglob("run.json")}
    pandas.testing.assert_frame_equal(runners.run([task], results=store, seeds=2, base_seed=3), table)
    assert {path: path.stat().st_mtime_ns for path in store.rglob("run.json")} == files and len(files) == 4
    verdicts = runners.claims(task, results=store, seeds=2, base_seed=3)
    assert list(verdicts.claim) == ["small"]
    assert len(runners.leaderboard(task, results=store)) == 0


def test_mistakes_are_exceptions(tmp_path):
    (tmp_path / "bad.yaml").write_text("title: [\n")
    with pytest.raises(TaskFileError, match="bad.yaml"):
        runners.run(str(tmp_path / "bad.yaml"), results=tmp_path / "store")
    with pytest.raises(UnknownName, match="quadratic/single_example"):
        runners.run("quadratic/single_exampel", results=tmp_path / "store")
    (tmp_path / "file").write_text("")
    task = str(suite_files.write(tmp_path / "tasks") / "tiny" / "holds.yaml")
    with pytest.raises(StoreError, match="is a file"):
        runners.run(task, results=tmp_path / "file")
    assert not (tmp_path / "store").exists()


def test_importing_it_is_light():
    code = "import tangentbench.runners, sys; print([m for m in ('jax', 'numpy', 'pandas') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
