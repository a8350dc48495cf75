"""Who is to blame: planted effects of code, environment, precision, alone, together or of none; what is not run."""

from dataclasses import replace

import pytest

from tangentbench.runners import attribution, compare_tables, comparison, provenance, sides
from tangentbench.runners.changes import Margin
from tangentbench.runners.noise import NOTHING, Noise
from tangentbench.runners.results import StoreError

from .planted import cells, plant, usual

MADE = {
    "package": {"commit": "a" * 40, "dirty": False},
    "versions": {"jax": "0.10.2", "optax": "0.2.8"},
    "python": "3.11.9",
    "xla_flags": "",
}
CHANGES = {
    "code": {"package": {"commit": "b" * 40, "dirty": False}},
    "environment": {"versions": {"jax": "0.11.0", "optax": "0.2.8"}},
    "precision": {},
}
CELL = "value=0.1"


class World:
    """Stores in which test_loss is multiplied by a factor for every set of factors of change, and, for a side that is
    stored, by what no run records."""

    def __init__(self, folder, loss, differ, *, redraws=(), fields=None, stale=(1.0, 1.0)):
        self.folder, self.loss, self.redraws, self.fields = folder, loss, set(redraws), fields
        self.ran = []
        self.before = self.side(frozenset(), "A", stale[0])
        self.after = self.side(frozenset(differ), "B", stale[1])

    def side(self, factors, name="", stale=1.0):
        made = dict(MADE)
        for factor in factors:
            made |= CHANGES[factor]

        def values(cell, seed):
            drawn = usual(cell, seed + 1000 * bool(factors & self.redraws))
            moved = drawn["scalars"]["test_loss"] * self.loss(factors, seed) * stale
            more = self.fields(factors) if self.fields else {}
            return {**drawn, "scalars": drawn["scalars"] | {"test_loss": moved}, **more}

        asked = cells((0.1,), precision="float64" if "precision" in factors else "float32")
        folder = self.folder / (name or "-".join(sorted(factors)) or "none")
        plant(folder, asked, values, code="c0de" + "".join(sorted(f[0] for f in factors)), provenance=made)
        return sides.resolve(str(folder), "results")

    def rerun(self, factors, pairs):
        assert pairs and all(pair.before for pair in pairs)
        self.ran.append(set(factors))
        return self.side(factors)

    def causes(self, noise=NOTHING):
        return attribution.attribute(self.before, self.after, self.rerun, noise)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "code_digest_at", lambda commit: commit)
    return lambda *args, **options: World(tmp_path, *args, **options)


def product(**factors):
    def loss(chosen, seed):
        found = 1.0
        for name, factor in factors.items():
            found *= factor if name in chosen else 1.0
        return found

    return loss


def only(causes):
    (cause,) = causes
    assert (cause.row.cell, cause.row.metric) == (CELL, "test_loss")
    return cause


@pytest.mark.parametrize("guilty", ["code", "environment", "precision"])
def test_the_guilty_factor_is_named(world, guilty):
    planted = world(product(**{guilty: 1.2}), ["code", "environment", "precision"])
    cause = only(planted.causes())
    assert cause.cause == guilty and planted.ran == [set(), {"code"}, {"environment"}, {"precision"}]
    assert [*cause.effects] == ["code", "environment", "precision", "unrecorded"]
    for factor, row in cause.effects.items():
        assert row.verdict == ("worse" if factor == guilty else "equivalent")
        assert row.change == pytest.approx(0.2 if factor == guilty else 0.0, abs=1e-9)
        assert row.low <= row.change <= row.high


def test_one_difference_is_measured_too(world):
    planted = world(product(code=1.2), ["code"])
    cause = only(planted.causes())
    assert cause.cause == "code" and planted.ran == [set(), {"code"}]
    assert cause.effects["code"].change == pytest.approx(0.2) and cause.effects["unrecorded"].verdict == "equivalent"


@pytest.mark.parametrize("differ", [["code"], ["code", "environment"]])
@pytest.mark.parametrize("stale", [(1.0, 1.3), (1 / 1.3, 1.0)], ids=["B", "A"])
def test_what_no_run_records_is_not_blamed_on_the_code(world, differ, stale):
    """A side was stored where something made its loss other than it is when it is run again, whatever the factors."""
    planted = world(product(), differ, stale=stale)
    cause = only(planted.causes())
    assert cause.row.change == pytest.approx(0.3)
    assert cause.cause == "unrecorded" and cause.effects["unrecorded"].change == pytest.approx(0.3)
    assert {cause.effects[factor].verdict for factor in differ} == {"equivalent"}


@pytest.mark.parametrize("stale", [(1.0, 1.3), (1 / 1.3, 1.0)], ids=["B", "A"])
def test_the_code_has_its_own_share(world, stale):
    cause = only(world(product(code=1.2), ["code", "environment"], stale=stale).causes())
    assert cause.row.change == pytest.approx(0.56) and cause.cause == "code and unrecorded"
    assert cause.effects["code"].change == pytest.approx(0.2)
    assert cause.effects["unrecorded"].change == pytest.approx(0.3)


@pytest.mark.parametrize(("stale", "blamed"), [((1 / 1.3, 1.0), "unrecorded"), ((1.0, 1.3), "undecided")])
def test_where_no_factor_differs_a_is_run_once_more(world, stale, blamed):
    """Something is unrecorded if A gives other numbers now than it gave then."""
    planted = world(product(), [], stale=stale)
    cause = only(planted.causes())
    assert cause.cause == blamed and planted.ran == [set()] and [*cause.effects] == ["unrecorded"]
    assert cause.effects["unrecorded"].change == pytest.approx(0.3 if blamed == "unrecorded" else 0.0, abs=1e-6)


@pytest.mark.parametrize("made", [{"variables": {"JAX_ENABLE_X64": "1"}}, {"plug_ins": ["alien 2.0"]}])
def test_variables_and_plug_ins_are_part_of_the_environment(world, monkeypatch, made):
    monkeypatch.setitem(CHANGES, "environment", made)
    planted = world(product(environment=1.2), ["environment"])
    assert only(planted.causes()).cause == "environment" and planted.ran == [set(), {"environment"}]


def test_cells_that_use_a_plug_in_are_not_run_again(world, monkeypatch):
    """A commit's environment has none; what moved in them is blamed on nothing, and others are attributed as ever."""
    monkeypatch.setitem(MADE, "plug_ins", ["alien 1.0"])
    monkeypatch.setitem(CHANGES, "environment", {"plug_ins": ["alien 2.0"]})
    planted = world(product(environment=1.2), ["environment"])
    monkeypatch.setattr(attribution, "digest_of", lambda cell: "of its meaning alone")
    cause = only(planted.causes())
    assert (cause.cause, cause.effects, planted.ran) == ("undecided", {}, [])


def test_effects_too_small_alone_are_blamed_together(world):
    cause = only(world(product(code=1.04, environment=1.04), ["code", "environment"]).causes())
    assert cause.cause == "code × environment" and cause.effects["code"].verdict == "equivalent"


def test_factors_that_do_not_differ_are_not_run(world):
    planted = world(product(code=1.2, precision=1.5), ["code", "environment"])
    assert only(planted.causes()).cause == "code" and planted.ran == [set(), {"code"}, {"environment"}]


def test_nothing_moved_and_nothing_is_run(world):
    planted = world(product(), ["code", "environment", "precision"])
    assert planted.causes() == [] and planted.ran == []


def test_parts_that_add_up_have_no_interaction(world):
    cause = only((planted := world(product(code=1.2, environment=1.3), ["code", "environment", "precision"])).causes())
    assert cause.cause == "code and environment" and len(planted.ran) == 4
    assert list(cause.effects) == ["code", "environment", "precision", "unrecorded"]
    assert cause.row.change == pytest.approx(0.56)


def test_an_interaction_is_found_where_parts_do_not_add_up(world):
    def loss(chosen, seed):
        return 1.4 if {"code", "environment"} <= chosen else 1.0

    planted = world(loss, ["code", "environment"])
    cause = only(planted.causes())
    assert cause.cause == "code × environment" and cause.effects[cause.cause].change == pytest.approx(0.4)
    assert planted.ran == [set(), {"code"}, {"environment"}, {"code", "environment"}], "the stored whole may be stale"


def test_of_three_factors_the_pair_is_named(world):
    def loss(chosen, seed):
        return (1.1 if "code" in chosen else 1.0) * (1.4 if {"environment", "precision"} <= chosen else 1.0)

    planted = world(loss, ["code", "environment", "precision"])
    cause = only(planted.causes())
    assert cause.cause == "code and environment × precision" and len(planted.ran) == 8
    assert cause.effects["environment × precision"].change == pytest.approx(0.4)
    for name in ("code × environment", "code × precision", "code × environment × precision"):
        assert cause.effects[name].verdict == "equivalent"


def test_three_that_only_act_together(world):
    planted = world(lambda chosen, seed: 1.5 if len(chosen) == 3 else 1.0, ["code", "environment", "precision"])
    cause = only(planted.causes())
    assert cause.cause == "code × environment × precision" and cause.effects[cause.cause].change == pytest.approx(0.5)


def test_moved_draws_hide_no_cause(world):
    """Of the whole nothing can be said of unrelated seeds; what leaves the draws alone is seen seed by seed."""
    planted = world(product(code=1.1), ["code", "precision"], redraws=["precision"])
    found = comparison.compare(planted.before, planted.after)
    assert not [row for row in found.rows if row.kind == "metric" and row.verdict != "undecided"]
    causes = {cause.row.metric: cause for cause in planted.causes()}
    assert set(causes) == {"random streams", "test_loss"}
    assert causes["random streams"].cause == "precision" and causes["test_loss"].cause == "code"
    assert causes["test_loss"].effects["code"].change == pytest.approx(0.1)


def test_an_outcome_has_a_cause(world):
    def fields(chosen):
        return {"outcome": "divergent" if "environment" in chosen else "monotone"}

    planted = world(product(), ["code", "environment"], fields=fields)
    causes = {cause.row.metric: cause for cause in planted.causes()}
    assert {cause.cause for cause in causes.values()} == {"environment"}, "its metrics have no values, too"
    cause = causes["outcome"]
    assert cause.effects["code"].verdict == "equivalent" and cause.effects["environment"].verdict == "worse"


def test_an_outcome_that_only_both_have(world):
    def fields(chosen):
        return {"outcome": "divergent" if {"code", "environment"} <= chosen else "monotone"}

    planted = world(product(), ["code", "environment"], fields=fields)
    causes = {cause.row.metric: cause for cause in planted.causes()}
    assert causes["outcome"].cause == "code × environment" and planted.ran[-1] == {"code", "environment"}


@pytest.mark.parametrize(("deviation", "cause"), [(0.01, "code"), (0.2, None)])
def test_a_slower_step_has_a_cause_once_its_noise_is_known(world, deviation, cause):
    def fields(chosen):
        return {"seconds": {"run": 0.2 * (1.5 if "code" in chosen else 1.0)}}

    planted = world(product(), ["code", "environment"], fields=fields)
    noise = Noise({}, {"family/task": {"deviation": deviation, "repeats": 20}})
    found = planted.causes(noise)
    if cause is None:
        assert not found and not planted.ran
        return
    (only,) = found
    assert only.cause == cause and planted.ran == [set(), {"code"}, {"environment"}], "A is timed again, too"
    assert [only.effects[name].verdict for name in ("code", "environment")] == ["slower", "equivalent"]
    assert only.effects["code"].change == pytest.approx(0.5)


def test_a_slow_day_is_not_blamed_on_the_code(world):
    planted = world(product(), ["code", "environment"])
    slow = [replace(run, seconds={"run": 0.4}) for run in planted.after.runs]
    planted.after = replace(planted.after, runs=tuple(slow))
    (cause,) = planted.causes(Noise({}, {"family/task": {"deviation": 0.01, "repeats": 20}}))
    assert cause.row.verdict == "slower" and cause.cause == "unrecorded"


def test_noise_blames_nobody(world):
    """Each factor moves seeds to and fro: no interval is beyond the margin."""
    planted = world(lambda chosen, seed: 1.25 * (1 + 0.9 * (-1) ** seed * len(chosen) / 9), ["code", "environment"])
    assert all(cause.cause == "undecided" for cause in planted.causes())


def test_other_devices_are_refused(world):
    planted = world(product(code=1.2), ["code"])
    other = replace(planted.after, runs=tuple(replace(r, provenance=r.provenance | {"device": "tpu"})
                                              for r in planted.after.runs))  # fmt: skip
    with pytest.raises(StoreError, match="one kind of device"):
        attribution.attribute(planted.before, other, planted.rerun)


def test_code_is_told_by_its_sources(world, monkeypatch):
    planted = world(product(), ["code"])
    pairs = comparison.paired(planted.before, planted.after)[0]
    assert attribution.differing(planted.before, planted.after, pairs) == ["code"]
    monkeypatch.setattr(provenance, "code_digest_at", lambda commit: "same")
    assert attribution.differing(planted.before, planted.after, pairs) == []


def test_predictions_are_products_or_sums():
    a, b, ab = {0: 1.0, 1: 2.0}, {0: 2.0, 1: 6.0}, {0: 3.0, 2: 1.0}
    assert attribution.predicted([(1, a)], Margin(0.05)) == pytest.approx(a)
    assert attribution.predicted([(1, b), (1, ab), (-1, a)], Margin(0.05)) == pytest.approx({0: 6.0})
    signed = {0: -1.0, 1: 2.0}
    assert attribution.predicted([(1, b), (1, a), (-1, signed)], Margin(0.05)) == pytest.approx({0: 4.0, 1: 6.0})


def test_causes_are_printed(world):
    planted = world(product(precision=1.2), ["code", "precision"])
    found = comparison.compare(planted.before, planted.after)
    for fmt in ("table", "markdown"):
        text = compare_tables.text(found, fmt, causes=planted.causes(), width=200)
        assert "who is to blame" in text and "precision changed from float32 to float64" in text
    assert '"cause": "precision"' in compare_tables.text(found, "json", causes=planted.causes())
