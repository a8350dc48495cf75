"""What is asked for is removed, and nothing else: runs of the current code never are."""

import os
import time

import pytest

from tangentbench.runners import cleaning, cli, provenance
from tangentbench.runners.results import Store

from .planted import cells, plant


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store with runs of two codes, two temporary files of which one is old, and a compiled program."""
    monkeypatch.setattr(provenance, "code_digest", lambda kind=None: "c0de")
    monkeypatch.setenv("TANGENTBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "program-cache").write_bytes(b"x" * 2**20)
    here = {key: value for key, value in provenance.provenance([]).items() if key != "package"}
    root = plant(tmp_path / "store", cells()[:1], code="c0de", provenance=here)
    plant(root, cells(), code="0ther", provenance=here)
    folder = root / cells()[0].digest / "c0de"
    for name, age in ((".tmp-old", 7200), (".tmp-new", 0)):
        (folder / name).write_text("half")
        os.utime(folder / name, (time.time() - age,) * 2)
    return Store(root)


def count(store: Store, code: str) -> int:
    return len(list(store.runs(code)))


def left(store: Store) -> set[str]:
    return {path.name for path in store.root.rglob(".tmp-*")}


def test_without_a_wish_nothing_is_removed(store, capsys):
    before = count(store, "c0de"), count(store, "0ther")
    assert cli.main(["clean", "--results", str(store.root), "--format", "csv"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith(f"runs of other sources,{before[1]},") and "clean --stale" in said[1]
    assert said[2].startswith("what interrupted writes left,1,")
    assert said[3].startswith('"compiled programs, of all results folders",1,1.0,')
    assert (count(store, "c0de"), count(store, "0ther")) == before and left(store) == {".tmp-old", ".tmp-new"}


def test_only_what_is_asked_for_goes(store):
    mine = count(store, "c0de")
    assert mine > 0 and count(store, "0ther") > 0
    assert cli.main(["clean", "--stale", "--results", str(store.root)]) == 0
    assert count(store, "c0de") == mine and count(store, "0ther") == 0
    assert len(store.digests()) == 1, "folders of cells that have no run are gone"
    assert left(store) == {".tmp-old", ".tmp-new"} and cleaning.parts(str(store.root))[2].paths
    cli.main(["clean", "--compiled", "--results", str(store.root)])
    assert not cleaning.parts(str(store.root))[2].paths and count(store, "c0de") == mine


def test_marks_of_tiers_keep_no_folder_and_stay_beside_runs(store):
    for cell, code in ((cells()[0], "c0de"), (cells()[0], "0ther"), (cells()[1], "0ther")):
        store.mark(cell.digest, code, "laptop")
    assert cli.main(["clean", "--stale", "--results", str(store.root)]) == 0
    first = cells()[0].digest
    assert store.digests() == [first] and store.codes(first) == ["c0de"] and store.tiers(first, "c0de") == ["laptop"]


@pytest.mark.parametrize(
    "changed",
    [
        {"device": "NVIDIA H100"},
        {"xla_flags": "--xla_cpu_x=1"},
        {"versions": {"jax": "0.9"}},
        {"variables": {"JAX_DEFAULT_MATMUL_PRECISION": "high"}},
    ],
)
def test_what_is_current_elsewhere_stays(store, changed):
    """The code digest covers device, flags, versions and variables: elsewhere these runs are the current ones."""
    plant(store.root, cells(), code="e15e", provenance={**provenance.provenance([]), **changed})
    there = count(store, "e15e")
    assert cli.main(["clean", "--stale", "--results", str(store.root)]) == 0
    assert (count(store, "e15e"), count(store, "0ther")) == (there, 0) and there > 0


def test_the_folder_of_programs_may_hold_other_things(store, tmp_path):
    """`TANGENTBENCH_CACHE` may name any folder, even the user's home."""
    home = tmp_path / "cache"
    (home / "thesis").mkdir()
    (home / "thesis" / "valid.tex").touch()
    (home / "notes.txt").touch()
    (home / "valid").mkdir()
    (home / "program-atime").touch()
    assert cli.main(["clean", "--compiled", "--results", str(store.root)]) == 0
    assert sorted(path.name for path in home.iterdir()) == ["notes.txt", "thesis"]


def test_what_a_writer_may_still_use_stays(store):
    assert cli.main(["clean", "--temporary", "--results", str(store.root)]) == 0
    assert left(store) == {".tmp-new"}


def test_mistakes_are_one_line_and_1(tmp_path, capsys):
    assert cli.main(["clean", "--results", str(tmp_path / "none")]) == 1
    assert "there is no results folder" in capsys.readouterr().err
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").touch()
    assert cli.main(["clean", "--stale", "--temporary", "--results", str(tmp_path / "foreign")]) == 1
    assert "holds no tangentbench.json" in capsys.readouterr().err
    assert (tmp_path / "foreign" / "thesis.tex").exists()
    assert cli.main(["clean", "--compiled", "--results", str(tmp_path / "none")]) == 0
