"""Whatever is in a task file, `validate` ends soon, and says where each mistake is.

`python -m pytest -m fuzz` tries ten times as many files as the tests usually do.
"""

import time
from collections import Counter
from pathlib import Path

import pytest

from tangentbench.tasks import load, notes

from . import fuzz

SECONDS = 1.0  # of processor time: what else runs on a machine is no fault of the loader
USUAL, MANY = range(200), range(200, 2200)
PARTS = 10
FIRST = Path(__file__).parents[1] / "examples" / "first_task.yaml"


def listed(pattern: str, number: int, separator: str = ", ") -> str:
    return separator.join(pattern.format(i=i) for i in range(number))


LARGE = {  # what is put in place of what; each took seconds or minutes before there was a bound
    "values of an axis": ("[32, 128, 512]", f"[{listed('{i}', 39_000, ',')}]"),
    "equal values": ("[32, 128, 512]", f"[{listed('7', 39_000, ',')}]"),
    "cells": ("[32, 128, 512]", f"[{listed('1{i:04}', 4000, ',')}]"),
    "unknown options": ("model: {", f"model: {{{listed('widht{i}: 1', 12_000)}, "),
    "unknown metrics": ("metrics: [", f"metrics: [{listed('hessian_nom{i}', 12_000)}, "),
    "axes": ("  model.width: [32", f"{listed('  model.x{i}: [1]', 5000, chr(10))}\n  model.width: [32"),
    "wrong axes": ("  model.width: [32", f"{listed('  model.x{i}: [1]', 900, chr(10))}\n  model.width: [32"),
    "claims": ("claims:\n", "claims:\n" + listed("  - {{id: c{i}, sys: x, thershold: {{}}}}\n", 5000, "")),
    "models": ("    - {label: linear output}\n", listed("    - {{label: l{i}, deth: 1}}\n", 5000, "")),
    "a word": ("sphere", "sphere" * 30_000),
    "an exponent": ("500", "5" + "0" * 100_000),
}


def check(about: str, raw: bytes, path: Path) -> str:
    """What became of a file; fails where `validate` has no good answer."""
    path.write_bytes(raw)
    began = time.process_time()
    found = load.check([str(path)])
    noted = [] if found else notes.notes(str(path), str(path))
    took = time.process_time() - began
    lines = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n") + 1
    for problem in (*(problem for _, problem in found), *noted):
        said = f"{about}: {str(problem)[:2000]}"
        assert problem.file == str(path), said
        assert 1 <= problem.line <= lines and problem.col >= 1, said
        assert problem.message.strip() and "\n" not in str(problem), said
        assert (length := len(str(problem))) < 2000, f"{said} ({length} characters)"
    assert took < SECONDS, f"{about}: {took:.1f} s"
    return "refused" if found else "valid"


def check_mutant(number: int, folder: Path) -> str:
    name, raw = fuzz.mutant(number)
    return check(f"mutant {number}, of {name}", raw, folder / f"{number}.yaml")


@pytest.fixture(scope="module", autouse=True)
def schema(tmp_path_factory):
    """Built once, before anything is timed."""
    load.check(["quadratic/single_example"])


@pytest.mark.parametrize("part", range(PARTS))
def test_mutants(part, tmp_path):
    ended = Counter(check_mutant(number, tmp_path) for number in USUAL[part::PARTS])
    assert ended["refused"] > ended["valid"]  # most mutations are mistakes


@pytest.mark.parametrize("what", LARGE)
def test_a_large_file(what, tmp_path):
    old, new = LARGE[what]
    text = FIRST.read_text()
    assert old in text
    ended = check(what, text.replace(old, new).encode(), tmp_path / "large.yaml")
    assert ended == ("valid" if what == "cells" else "refused")


@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(PARTS))
def test_many_mutants(part, tmp_path):
    ended = Counter(check_mutant(number, tmp_path) for number in MANY[part::PARTS])
    assert ended["refused"] > ended["valid"] > 0


def test_mutants_differ_and_can_be_made_again():
    made = [fuzz.mutant(number) for number in USUAL]
    assert made[:20] == [fuzz.mutant(number) for number in USUAL[:20]]
    assert len({raw for _, raw in made}) > 170
    assert len({name for name, _ in made}) == len(load.suite())


@pytest.mark.parametrize(
    "answer",
    [
        lambda file: [load.Problem(file, 0, 0, "a place that nobody can find")],
        lambda file: [load.Problem(file, 10**6, 1, "a line that is not there")],
        lambda file: [load.Problem("other.yaml", 1, 1, "another file")],
        lambda file: [load.Problem(file, 1, 1, "two\nlines")],
        lambda file: time.sleep(0) or [x for x in range(10**7) if x < 0] or [load.Problem(file, 1, 1, "late")],
        lambda file: [][0],
    ],
)  # fmt: skip
def test_a_bad_answer_is_noticed(answer, tmp_path, monkeypatch):
    monkeypatch.setattr(load, "check", lambda names: [(name, problem) for name in names for problem in answer(name)])
    monkeypatch.setattr(f"{__name__}.SECONDS", 0.05)
    with pytest.raises((AssertionError, IndexError)):
        check_mutant(0, tmp_path)
