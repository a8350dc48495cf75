"""Which moves of verdicts count, and how many are too many."""

from types import SimpleNamespace

import pytest

from benchmarks import stability
from benchmarks.stability import CONTROL, FLIP, MISSING, UNDECIDED, kind_of, moves, stable, table


def verdicts(**by_claim: str):
    return [SimpleNamespace(task="f/t", claim=claim, verdict=verdict) for claim, verdict in by_claim.items()]


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("holds", "holds", ""),
        ("fails", "fails", ""),
        ("not rejected", "not rejected", ""),
        ("holds", "fails", FLIP),
        ("fails", "holds", FLIP),
        ("holds", "undecided", UNDECIDED),
        ("undecided", "fails", UNDECIDED),
        ("rejected", "not rejected", CONTROL),
        ("not rejected", "rejected", CONTROL),
        ("not run", "holds", MISSING),
        ("rejected", "not run", MISSING),
        ("not run", "not run", MISSING),
    ],
)
def test_kinds_of_moves(before, after, kind):
    assert kind_of(before, after) == kind


def test_a_claim_is_no_control():
    with pytest.raises(ValueError, match="a claim and a control"):
        kind_of("holds", "rejected")


def test_moves_are_found_by_task_and_claim():
    before = verdicts(a="holds", b="undecided", c="rejected", d="fails")
    after = verdicts(d="fails", c="not rejected", b="undecided", a="fails")  # in another order
    found = moves(1000, before, after)
    assert [(m.claim, m.before, m.after, m.kind) for m in found] == [
        ("a", "holds", "fails", FLIP), ("c", "rejected", "not rejected", CONTROL),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"different claims: \[\('f/t', 'b'\)\]"):
        moves(1000, before, [v for v in after if v.claim != "b"])


def test_one_flip_is_too_many_and_a_twentieth_may_move():
    def moved(**kinds: int):
        return [stability.Move(1000, "f/t", "a", "", "", kind) for kind, n in kinds.items() for _ in range(n)]

    flip, missing = moved(**{FLIP: 1}), moved(**{MISSING: 1})
    assert stable([], 10) and not stable(flip, 1000) and not stable(missing, 1000)
    edge = moved(**{UNDECIDED: 3, CONTROL: 2})
    assert stable(edge, 100) and not stable(edge, 99)
    shown = table(edge + flip, 100).splitlines()
    assert shown[-5:] == [
        "holds to fails or back: 1 of 100", "to or from undecided: 3 of 100", "control: 2 of 100", "not run: 0 of 100",
        "not stable",
    ]  # fmt: skip
    assert len(shown) == 6 + 5


def test_the_suite_is_asked_from_every_base_seed(monkeypatch, capsys):
    asked = []

    def found(tasks, tier, base_seed, results):
        asked.append((tasks, tier, base_seed, results))
        return verdicts(a="holds" if base_seed < 2000 else "fails", b="rejected")

    monkeypatch.setattr(stability, "verdicts_of", found)
    assert stability.main(["f/t", "--tier", "smoke", "--base-seeds", "1000", "2000", "--results", "r"]) == 1
    assert asked == [(["f/t"], "smoke", base, "r") for base in (0, 1000, 2000)]
    printed = capsys.readouterr().out
    assert "2000  f/t: a  holds → fails" in printed and "1000  f/t" not in printed and "1 of 4" in printed
    assert stability.main(["f/t", "--base-seeds", "1000"]) == 0


def test_verdicts_are_those_of_the_suites_own_runner(tmp_path, monkeypatch):
    """A task that depends on its seeds: other base seeds, other numbers, from runs that were computed."""
    from tests.runners import suite_files

    monkeypatch.chdir(tmp_path)
    suite_files.write(tmp_path / "tasks")
    path = str(tmp_path / "tasks" / "tiny" / "holds.yaml")
    first = stability.verdicts_of([path], "laptop", 0, "results")
    other = stability.verdicts_of([path], "laptop", 7, "results")
    assert [v.verdict for v in (*first, *other)] == ["holds", "holds"]
    assert first[0].value != other[0].value and moves(7, first, other) == []
