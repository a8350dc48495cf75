"""Every kind of claim: planted truth holds, a planted counterexample fails, noise is undecided."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tangentbench.runners.statistics import Interval
from tangentbench.runners.tables import claims_table
from tangentbench.runners.verdicts import VERDICTS, Region, Rejection, evaluate, exit_code, verdict_counts
from tangentbench.tasks import load

from .boards import SEEDS, make_cell, make_run, make_task, runs_of

WIDTHS = [32, 64, 128, 256]
BAND = {"metric": "m", "along": "model.width", "within": [-0.65, -0.35]}
RNG = np.random.default_rng(7)
NOISE = RNG.normal(size=(len(SEEDS), 64))


def noise(cell, seed: int) -> float:
    """A fixed normal draw per coordinates and seed."""
    place = sum(map(ord, repr(sorted(cell.coords.items())))) % 64
    return float(NOISE[seed, place])


def one(claim, cells, values, **options):
    (verdict,) = evaluate(make_task({"id": "claim", **claim}), cells, runs_of(values), **options)
    return verdict


WIDE = [make_cell({"model.width": width}) for width in WIDTHS]


@pytest.mark.parametrize(
    ("region", "interval", "expected"),
    [
        (Region(0, 1), Interval(0.5, 0.0, 1.0), "holds"),
        (Region(0, 1), Interval(0.5, -0.1, 0.9), "undecided"),
        (Region(0, 1), Interval(1.5, 1.1, 1.9), "fails"),
        (Region(0, 1), Interval(1.5, 1.0, 1.9), "undecided"),
        (Region(0, 1), Interval(0.5, -5, 5), "undecided"),
        (Region(0.5, math.inf), Interval(1, 0.5, 1.5), "holds"),
        (Region(-math.inf, 0.5), Interval(1, 0.6, 1.5), "fails"),
        (Region(-math.inf, 0.5), Interval(1, -math.inf, math.inf), "undecided"),
    ],
)
def test_inside_holds_disjoint_fails_and_the_rest_is_undecided(region, interval, expected):
    assert region.judge(interval) == expected


@pytest.mark.parametrize(
    ("power", "spread", "expected"), [(-0.5, 0.02, "holds"), (0.0, 0.02, "fails"), (-0.5, 1.0, "undecided")]
)
def test_exponent(power, spread, expected):
    def values(cell, seed):
        return cell.coords["model.width"] ** power * math.exp(spread * noise(cell, seed))

    verdict = one({"exponent": BAND}, WIDE, values)
    assert verdict.verdict == expected
    assert verdict.value == pytest.approx(power, abs=0.5 if spread == 1 else 0.02)
    assert (verdict.seeds, verdict.missing, verdict.region) == (8, "", "[-0.65, -0.35]")
    # what a noncentral t says of eight seeds: half the interval's width times 1.3828
    assert verdict.detectable == pytest.approx(1.3828 * (verdict.high - verdict.low) / 2, rel=1e-3)


def test_an_exponent_without_a_positive_value_cannot_hold_on_the_other_seeds():
    def values(cell, seed):
        return 0.0 if seed == 2 and cell.coords["model.width"] == 64 else cell.coords["model.width"] ** -0.5

    verdict = one({"exponent": BAND}, WIDE, values)
    assert verdict.verdict == "undecided" and verdict.seeds == 7 and verdict.value == pytest.approx(-0.5)
    assert verdict.missing == "1 of 8 seeds left out: 1 a value is not positive"
    assert verdict.reason == "cannot hold: 1 of 8 seeds gave no value (1 a value is not positive)"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (lambda cell, seed: cell.coords["model.width"] + 0.1 * noise(cell, seed), "holds"),
        (lambda cell, seed: -cell.coords["model.width"] + 0.1 * noise(cell, seed), "fails"),
        (lambda cell, seed: noise(cell, seed), "undecided"),
    ],
)
def test_monotone(values, expected):
    claim = {"monotone": {"metric": "m", "along": "model.width", "direction": "increasing", "at_least": 0.1}}
    assert one(claim, WIDE, values).verdict == expected


def test_monotone_turns_with_its_direction_and_orders_labels_by_the_sweep():
    claim = {"monotone": {"metric": "m", "along": "model", "direction": "decreasing", "at_least": 0.5}}
    cells = [make_cell({"model": name}) for name in ("zeta", "alpha", "mid")]
    verdict = one(claim, cells, lambda cell, seed: {"zeta": 3.0, "alpha": 2.0, "mid": 1.0}[cell.coords["model"]])
    assert (verdict.verdict, verdict.value, verdict.low, verdict.high) == ("holds", 1.0, 1.0, 1.0)
    # numbers are ordered by size, however the sweep lists them
    batches = [make_cell({"method.batch_size": size}) for size in (512, 5, 50)]
    claim["monotone"]["along"] = "method.batch_size"
    assert one(claim, batches, lambda cell, seed: -float(cell.coords["method.batch_size"])).value == 1.0


@pytest.mark.parametrize(
    ("region", "level", "expected"),
    [
        ({"at_least": 0.5}, 1.0, "holds"),
        ({"at_least": 0.5}, 0.0, "fails"),
        ({"at_least": 0.5}, 0.5, "undecided"),
        ({"at_most": 0.5}, 0.0, "holds"),
        ({"at_most": 0.5}, 1.0, "fails"),
        ({"within": [0.9, 1.1]}, 1.0, "holds"),
        ({"within": [0.9, 1.1]}, 2.0, "fails"),
    ],
)
def test_threshold(region, level, expected):
    claim = {"threshold": {"metric": "m", **region}}
    assert one(claim, [make_cell()], lambda cell, seed: level + 0.05 * noise(cell, seed)).verdict == expected


def test_a_threshold_on_the_log_scale_is_a_geometric_mean():
    values = [10.0 ** -(9 + seed % 3) for seed in SEEDS]
    claim = {"threshold": {"metric": "m", "at_most": 1e-8, "scale": "log"}}
    verdict = one(claim, [make_cell()], lambda cell, seed: values[seed])
    assert verdict.verdict == "holds"
    assert verdict.value == pytest.approx(np.exp(np.mean(np.log(values))))
    assert verdict.detectable == pytest.approx(math.sqrt(verdict.high / verdict.low) ** 1.3828, rel=1e-3)
    # an error of exactly zero has no logarithm, and is no reason to leave the best seed out
    verdict = one(claim, [make_cell()], lambda cell, seed: 0.0)
    assert (verdict.verdict, verdict.scale, verdict.seeds) == ("holds", "linear", 8)
    # equal values stay on the region's edge, which exp(log(x)) may miss
    edge = {"threshold": {"metric": "m", "at_most": 0.1, "scale": "log"}}
    assert one(edge, [make_cell()], lambda cell, seed: 0.1).verdict == "holds"


def test_a_verdict_holds_no_number_that_json_lacks():
    claim = {"threshold": {"metric": "m", "at_least": 1e-3, "scale": "log"}}
    verdict = one(claim, [make_cell()], lambda cell, seed: 10.0 ** (307 if seed else 200))
    assert verdict.verdict == "holds" and verdict.low < verdict.value < 1e307
    assert (verdict.high, verdict.detectable) == (None, None)  # 10^325
    assert json.loads(claims_table([verdict], "json"))["claims"][0]["high"] is None


PAIR = [make_cell({"method.batch_size": size}) for size in (5, 512)]


def contrast(**options):
    between = [{"method.batch_size": 5}, {"method.batch_size": 512}]
    return {"contrast": {"metric": "m", "between": between, **options}}


@pytest.mark.parametrize(("shift", "expected"), [(1.0, "holds"), (-1.0, "fails"), (0.5, "undecided")])
def test_a_contrast_is_paired(shift, expected):
    """What seeds share is a hundred times the difference: unpaired, nothing could be decided."""

    def values(cell, seed):
        shared = 100.0 * NOISE[seed, 0]
        return shared + 0.1 * noise(cell, seed) + (shift if cell.coords["method.batch_size"] == 5 else 0.0)

    verdict = one(contrast(**{"as": "difference", "at_least": 0.5}), PAIR, values)
    assert verdict.verdict == expected
    assert verdict.value == pytest.approx(shift, abs=0.2)


@pytest.mark.parametrize(("factor", "expected"), [(2.0, "holds"), (0.5, "fails"), (1.5, "undecided")])
def test_a_ratio_is_averaged_as_a_logarithm(factor, expected):
    def values(cell, seed):
        mine = math.exp(0.05 * noise(cell, seed))
        return mine * 10.0**seed * (factor if cell.coords["method.batch_size"] == 5 else 1.0)

    verdict = one(contrast(**{"as": "ratio", "at_least": 1.5}), PAIR, values)
    assert verdict.verdict == expected
    logs = [math.log(values(PAIR[0], seed) / values(PAIR[1], seed)) for seed in SEEDS]
    assert verdict.value == pytest.approx(math.exp(np.mean(logs)))


@pytest.mark.parametrize(("hits", "expected"), [(8, "holds"), (0, "fails"), (5, "undecided")])
def test_outcome(hits, expected):
    claim = {"outcome": {"is": ["catapult", "dead"], "at_least": 0.6}}

    def values(cell, seed):
        return {"outcome": ("catapult", "dead")[seed % 2] if seed < hits else "divergent"}

    verdict = one(claim, [make_cell()], values)
    assert verdict.verdict == expected
    assert verdict.value == hits / 8
    # fails with one hit of eight at most: a share p has P(Bin(8, p) <= 1) = 0.8 at 0.1044
    assert verdict.detectable == pytest.approx(0.6 - 0.1044, abs=1e-4)
    most = {"outcome": {"is": ["catapult", "dead"], "at_most": 0.4}}
    assert one(most, [make_cell()], values).detectable == pytest.approx(0.6 - 0.1044, abs=1e-4)


def test_an_outcome_counts_finished_runs_only():
    claim = {"outcome": {"is": ["divergent"], "at_least": 0.4}}
    statuses = {seed: {"status": why, "outcome": None} for seed, why in enumerate(["timeout", "error", "error"])}
    verdict = one(claim, [make_cell()], lambda cell, seed: statuses.get(seed, {"outcome": "divergent"}))
    assert (verdict.value, verdict.seeds, verdict.verdict) == (1.0, 5, "undecided")  # the others might have done else
    assert verdict.missing == "3 of 8 seeds left out: 2 error, 1 timeout"
    assert verdict.reason == "cannot hold: 3 of 8 seeds gave no value (2 error, 1 timeout)"


@pytest.mark.parametrize(("place", "expected"), [(4.0, "holds"), (2.0, "fails"), (3.92, "undecided")])
def test_boundary(place, expected):
    claim = {"boundary": {"within": [3.92, 4.08]}}
    verdict = one(claim, [make_cell()], lambda cell, s: {"scalars": {"boundary": place + 0.01 * noise(cell, s)}})
    assert verdict.verdict == expected and verdict.metric == "boundary"


@pytest.mark.parametrize(
    ("power", "expected"), [(0.0, "rejected"), (-0.5, "not rejected"), (-0.3, "rejected"), (-0.9, "not rejected")]
)
def test_a_control_is_rejected_where_the_claim_fails(power, expected):
    """A slope below the band fails as a claim, and does not show that the dependence is gone."""
    task = make_task(
        {"id": "scales", "exponent": BAND, "where": {"model": "wide"}},
        {"id": "narrow", "control": "scales", "where": {"model": "narrow"}},
    )
    cells = [make_cell({"model": model, "model.width": width}) for model in ("wide", "narrow") for width in WIDTHS]
    values = runs_of(
        lambda cell, s: cell.coords["model.width"] ** (power if cell.coords["model"] == "narrow" else -0.5)
    )
    claim, control = evaluate(task, cells, values)
    assert (claim.verdict, claim.control) == ("holds", False)
    assert (control.verdict, control.control, control.kind) == (expected, True, "exponent")
    assert claim.region == "[-0.65, -0.35]" and control.region == "[-0.65, -0.35], rejected > -0.35"
    assert (control.region_low, control.region_high) == (claim.region_low, claim.region_high)
    assert control.value == pytest.approx(power)


@pytest.mark.parametrize(
    ("region", "interval", "expected"),
    [
        # decay: a weak dependence, above both -0.35 and the region
        (Region(-1, -0.4), (-0.39, -0.36), False),
        (Region(-1, -0.4), (-0.34, -0.30), True),
        (Region(-1, -0.4), (-0.36, -0.30), False),
        (Region(-1, -0.4), (-1.4, -1.2), False),
        (Region(-1, -0.4), (0.3, 0.5), True),
        (Region(-1, -0.3), (-0.34, -0.28), False),
        (Region(-1, -0.3), (-0.29, -0.25), True),
        # what stays: a decay, below both
        (Region(-0.15, 0.3), (0.38, 0.42), False),
        (Region(-0.15, 0.3), (-0.34, -0.20), False),
        (Region(-0.15, 0.3), (-0.50, -0.36), True),
        (Region(-0.5, 0.3), (-0.49, -0.40), False),
        (Region(0, 0.3), (-0.2, -0.1), False),
        # growth: anything below the region
        (Region(0.9, 1.05), (-0.1, 0.1), True),
        (Region(0.9, 1.05), (0.85, 0.89), True),
        (Region(0.9, 1.05), (0.85, 0.91), False),
        (Region(0.9, 1.05), (1.2, 1.3), False),
        # no more than: anything above
        (Region(-math.inf, 0.1), (0.15, 0.3), True),
        (Region(-math.inf, 0.1), (0.05, 0.3), False),
        (Region(-math.inf, 0.1), (-0.6, -0.5), False),
    ],
)
def test_what_rejects_the_control_of_an_exponent(region, interval, expected):
    low, high = interval
    assert Rejection.of(region).rejects(Interval((low + high) / 2, low, high)) is expected


@pytest.mark.parametrize(
    ("within", "power", "expected", "text"),
    [
        ([-1.0, -0.4], -0.375, "not rejected", "[-1, -0.4], rejected > -0.35"),
        ([-1.0, -0.4], -0.325, "rejected", "[-1, -0.4], rejected > -0.35"),
        ([-0.15, 0.3], 0.4, "not rejected", "[-0.15, 0.3], rejected < -0.35"),
        ([-0.15, 0.3], -0.25, "not rejected", "[-0.15, 0.3], rejected < -0.35"),
        ([-0.15, 0.3], -0.45, "rejected", "[-0.15, 0.3], rejected < -0.35"),
        ([0.9, 1.05], 0.0, "rejected", "[0.9, 1.05], rejected < 0.9"),
        ([0.9, 1.05], 1.3, "not rejected", "[0.9, 1.05], rejected < 0.9"),
    ],
)
def test_the_control_of_an_exponent_by_planted_slopes(within, power, expected, text):
    """All of these slopes are outside the claim's region: as claims they fail."""
    task = make_task({"id": "scales", "exponent": {**BAND, "within": within}}, {"id": "same", "control": "scales"})
    claim, control = evaluate(
        task, WIDE, runs_of(lambda cell, s: cell.coords["model.width"] ** power * math.exp(0.002 * noise(cell, s)))
    )
    assert control.high - control.low < 0.02
    assert (claim.verdict, control.verdict, control.region) == ("fails", expected, text)


def test_the_control_of_a_contrast_compares_its_own_cells():
    """Same metric, comparison and region; with the claim's cells it would hold instead of being rejected."""
    claim = {"id": "low", **contrast(**{"as": "difference", "at_most": -0.5})}
    other = {"id": "not", "control": "low", "between": [{"method.batch_size": 50}, {"method.batch_size": 512}]}
    cells = [make_cell({"method.batch_size": size}) for size in (5, 50, 512)]

    def values(cell, seed):
        return (-1.0 if cell.coords["method.batch_size"] == 5 else 0.0) + 0.01 * noise(cell, seed)

    held, control = evaluate(make_task(claim, other), cells, runs_of(values))
    assert (held.verdict, control.verdict, control.kind) == ("holds", "rejected", "contrast")
    assert control.value == pytest.approx(0, abs=0.02) and control.region == held.region
    copied = {**other, "between": claim["contrast"]["between"]}
    assert evaluate(make_task(claim, copied), cells, runs_of(values))[1].verdict == "not rejected"


def test_a_control_may_measure_something_else_in_the_same_cell():
    """Same cell and region; with the claim's metric it would hold instead of being rejected."""
    claim = {"id": "high", "threshold": {"metric": "m", "at_least": 0.5}}
    other = {"id": "not", "control": "high", "metric": "b"}
    cells = [make_cell({})]
    runs = runs_of(lambda cell, seed: {"scalars": {"m": 1 + 0.01 * noise(cell, seed), "b": 0.01 * noise(cell, seed)}})
    held, control = evaluate(make_task(claim, other), cells, runs)
    assert (held.verdict, held.metric, control.verdict, control.metric) == ("holds", "m", "rejected", "b")
    assert control.region == held.region
    assert evaluate(make_task(claim, {**other, "metric": "m"}), cells, runs)[1].verdict == "not rejected"


def test_an_undecided_control_is_not_rejected():
    task = make_task(
        {"id": "big", "threshold": {"metric": "m", "at_least": 0.5}, "where": {"a": 1}},
        {"id": "same", "control": "big", "where": {"a": 2}},
    )
    cells = [make_cell({"a": 1}), make_cell({"a": 2})]
    verdicts = evaluate(task, cells, runs_of(lambda cell, seed: 0.5 + noise(cell, seed)))
    assert verdicts[1].verdict == "not rejected" and exit_code(verdicts) == 3
    # before its runs are there a control says nothing, and breaks nothing
    verdicts = evaluate(task, cells, runs_of(lambda cell, seed: None))
    assert [v.verdict for v in verdicts] == ["not run", "not run"] and exit_code(verdicts) == 0
    # but one that ran and has no value to show is a broken control
    lost = {"scalars": {"m": None}, "outcome": "divergent"}
    verdicts = evaluate(task, cells, runs_of(lambda cell, seed: lost))
    assert (verdicts[1].seeds, verdicts[1].finished, exit_code(verdicts)) == (0, 8, 3)


def test_fewer_than_three_seeds_decide_nothing():
    claim = {"threshold": {"metric": "m", "at_least": 0.5}}
    lost = {"scalars": {"m": None}, "outcome": "divergent"}
    verdict = one(claim, [make_cell()], lambda cell, seed: 1.0 if seed < 2 else lost)
    assert (verdict.verdict, verdict.value, verdict.seeds) == ("undecided", None, 2)
    assert verdict.reason == "a verdict needs 3 seeds with a value, got 2"
    assert verdict.missing == "6 of 8 seeds left out: 6 divergent"
    assert one(claim, [make_cell(seeds=range(3))], lambda cell, seed: 1.0).verdict == "holds"


@pytest.mark.parametrize("why", [None, "interrupted", "skipped"])
@pytest.mark.parametrize("value", [1.0, 0.0])
def test_no_verdict_before_every_seed_was_run(why, value):
    """As after another tier, of which this one shares the cell but wants more seeds: some alone decide nothing."""
    waiting = why and {"status": why, "outcome": None}
    claims = {"id": "big", "threshold": {"metric": "m", "at_least": 0.5}}, {"id": "same", "control": "big"}
    found = evaluate(make_task(*claims), [make_cell()], runs_of(lambda cell, seed: value if seed < 7 else waiting))
    for verdict in found:
        assert (verdict.verdict, verdict.value, verdict.low, verdict.seeds) == ("not run", None, None, 7)
        assert (verdict.reason, verdict.missing) == ("", f"1 of 8 seeds left out: 1 {why or 'not run'}")
    assert exit_code(found) == 0


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        ({"scalars": {"m": 1.0}, "outcome": "divergent"}, "2 of 8 seeds diverged"),
        ({"scalars": {"m": None}}, "2 of 8 seeds gave no value (2 no m)"),
        ({"scalars": {"m": None}, "outcome": "dead"}, "2 of 8 seeds gave no value (2 dead)"),
        ({"status": "error", "outcome": None}, "2 of 8 seeds gave no value (2 error)"),
        ({"status": "timeout", "outcome": None}, "2 of 8 seeds gave no value (2 timeout)"),
        ({"status": "out_of_memory", "outcome": None}, "2 of 8 seeds gave no value (2 out of memory)"),
    ],
)
def test_a_seed_that_ended_without_a_value_is_not_dropped(lost, reason):
    """What the other seeds say neither holds nor rejects."""
    task = make_task(
        {"id": "big", "threshold": {"metric": "m", "at_least": 0.5}, "where": {"a": 1}},
        {"id": "small", "control": "big", "where": {"a": 2}},
    )
    cells = [make_cell({"a": 1}), make_cell({"a": 2})]

    def values(cell, seed):
        return lost if seed in (2, 5) else 1.0 if cell.coords["a"] == 1 else 0.0

    claim, control = evaluate(task, cells, runs_of(values))
    assert (claim.seeds, control.seeds) == (6, 6) and claim.missing.startswith("2 of 8 seeds left out: 2 ")
    assert (claim.verdict, claim.reason) == ("undecided", f"cannot hold: {reason}")
    assert (control.verdict, control.reason) == ("not rejected", f"cannot be rejected: {reason}")


def test_a_lost_seed_shields_no_claim_that_fails_and_decides_nothing_beside_one_that_is_not_run():
    failing = {"threshold": {"metric": "m", "at_least": 0.5}}
    diverged = {"scalars": {"m": 1.0}, "outcome": "divergent"}
    assert one(failing, [make_cell()], lambda cell, seed: diverged if seed == 0 else 0.0).verdict == "fails"

    def values(cell, seed):
        return 1.0 if seed else None if cell is PAIR[0] else diverged

    verdict = one(contrast(**{"as": "difference", "within": [-0.1, 0.1]}), PAIR, values)
    assert (verdict.verdict, verdict.missing) == ("not run", "1 of 8 seeds left out: 1 not run")


def test_the_last_trial_of_a_bisection_may_diverge():
    claim = {"boundary": {"within": [3.92, 4.08]}}
    bisect = {"along": "method.learning_rate.critical", "between": [1, 5], "tolerance": 0.01, "leaves": ["divergent"]}
    run = {"scalars": {"boundary": 4.0}, "outcome": "divergent"}
    assert one(claim, [make_cell(bisect=bisect)], lambda cell, seed: run).verdict == "holds"
    assert one(claim, [make_cell()], lambda cell, seed: run).verdict == "undecided"
    nowhere = one(claim, [make_cell(bisect=bisect)], lambda cell, seed: {**run, "scalars": {"boundary": None}})
    assert nowhere.missing == "8 of 8 seeds left out: 8 no boundary"


def test_a_pair_needs_both_of_its_runs():
    def values(cell, seed):
        return {"status": "error", "outcome": None} if cell is PAIR[1] and seed == 0 else 1.0

    verdict = one(contrast(**{"as": "difference", "within": [-0.1, 0.1]}), PAIR, values)
    assert (verdict.verdict, verdict.seeds, verdict.missing) == ("undecided", 7, "1 of 8 seeds left out: 1 error")


def test_where_takes_values_and_lists_and_must_find_one_cell():
    cells = [make_cell({"model.width": width, "method": name}) for width in WIDTHS for name in ("gd", "sgd")]

    def values(cell, seed):
        return cell.coords["model.width"] ** -0.5 if cell.coords["method"] == "gd" else 1.0

    narrow = {"exponent": BAND, "where": {"method": "gd", "model.width": [32, 64, 128]}}
    assert one(narrow, cells, values).verdict == "holds"
    unclear = one({"exponent": BAND}, cells, values)
    assert (unclear.verdict, unclear.seeds) == ("undecided", 0) and "more than one cell" in unclear.reason
    absent = one({"threshold": {"metric": "m", "at_least": 0}, "where": {"method": "lion"}}, cells, values)
    assert "selects 0 cells" in absent.reason


def test_tuning_and_scoring_cells_are_not_evidence():
    claim = {"threshold": {"metric": "m", "at_least": 0.5}}
    cells = [make_cell(), make_cell(role="tune"), make_cell(role="score")]
    assert one(claim, cells, lambda cell, seed: 1.0 if cell.role == "claim" else 0.0).verdict == "holds"


def test_runs_of_other_code_are_counted_as_stale():
    claim = {"threshold": {"metric": "m", "at_least": 0.5}}
    task = make_task({"id": "claim", **claim})

    def find(cell, seed):
        return make_run(cell, seed, scalars={"m": 1.0}, code="older" if seed < 3 else "current")

    assert evaluate(task, [make_cell()], find, code="current")[0].stale == 3
    assert evaluate(task, [make_cell()], find)[0].stale == 0


def test_every_claim_of_the_suite_is_evaluated():
    """With nothing run that is all there is to say: no claim is malformed, none selects a wrong cell."""
    for task in load.find():
        verdicts = evaluate(task, load.cells(task), lambda cell, seed: None)
        assert len(verdicts) == len(task.claims)
        for verdict in verdicts:
            assert (verdict.verdict, verdict.reason) == ("not run", ""), verdict
            assert verdict.missing.endswith("not run") and verdict.tier == "laptop"


def test_counts_and_exit_code():
    held = one({"threshold": {"metric": "m", "at_least": 0.5}}, [make_cell()], lambda cell, seed: 1.0)
    verdicts = [held, held, replace(held, verdict="undecided"), replace(held, verdict="rejected", control=True)]
    assert verdict_counts(verdicts) == dict.fromkeys(VERDICTS, 0) | {"holds": 2, "undecided": 1, "rejected": 1}
    assert exit_code(verdicts) == 0
    assert exit_code([*verdicts, replace(held, verdict="fails")]) == 3


def test_verdicts_flip_rarely_and_noise_is_seldom_decided():
    """On the region's edge a t interval decides in 5% of the samples, half of them each way."""
    decided = []
    claim = {"threshold": {"metric": "m", "at_least": 0.0}}
    for sample in np.random.default_rng(3).normal(size=(1500, 8)):
        decided.append(one(claim, [make_cell()], lambda cell, seed, row=sample: float(row[seed])).verdict)
    for word in ("holds", "fails"):
        share = decided.count(word) / len(decided)
        assert abs(share - 0.025) < 4 * math.sqrt(0.025 * 0.975 / len(decided)), word


METHODS = [f"method_{k}" for k in range(12)]
RANKING = {"metric": "m", "against": "b", "at_most": -0.5, "methods_at_least": 10}
NO_POINT = {"status": "ok", "outcome": "divergent", "scalars": {}}


def of_methods(values, claim=None, *more, unscored=(), tuned=lambda cell, seed: 1.0):
    """The verdict of a claim about twelve methods, each tuned in one cell and scored in another."""
    claim = {**RANKING, **(claim or {})}
    task = make_task({"id": "claim", "rank_correlation": claim}, *more, leaderboard=object())
    tune = [make_cell({"method": n}, method={"name": n}, role="tune", seeds=[1000000]) for n in METHODS]
    score = [make_cell({"method": n}, method={"name": n}, role="score") for n in METHODS if n not in unscored]
    runs = runs_of(lambda cell, seed: (tuned if cell.role == "tune" else values)(cell, seed))
    found = evaluate(task, [*tune, *score], runs)
    return found if more else found[0]


def ranked(slope, spread):
    """Metric `m` of a method: a slope times its place, which is metric `b`, plus noise."""

    def values(cell, seed):
        place = METHODS.index(cell.method["name"])
        scalars = {"b": float(place), "m": math.exp(slope * place + spread * noise(cell, seed)), "f": noise(cell, seed)}
        return {"scalars": scalars}

    return values


@pytest.mark.parametrize(
    ("slope", "spread", "expected"),
    [(-1.0, 0.5, "holds"), (1.0, 0.5, "fails"), (0.0, 1.0, "fails"), (-0.2, 2.2, "undecided")],
)
def test_rank_correlation(slope, spread, expected):
    verdict = of_methods(ranked(slope, spread))
    assert (verdict.verdict, verdict.kind, verdict.seeds, verdict.missing) == (expected, "rank_correlation", 8, "")
    # scipy's rho of each seed, and their mean: not the rho of the methods' means, nor of all seeds pooled
    rows = []
    for seed in SEEDS:
        found = [ranked(slope, spread)(make_cell({"method": n}, method={"name": n}), seed)["scalars"] for n in METHODS]
        rows.append([[row["m"] for row in found], [row["b"] for row in found]])
    expected_value = np.mean([stats.spearmanr(*row)[0] for row in rows])
    assert verdict.value == pytest.approx(expected_value, abs=1e-12)
    if expected == "undecided":
        pooled = stats.spearmanr(*np.concatenate(rows, axis=1))[0]
        of_means = stats.spearmanr(*np.mean(rows, axis=0))[0]
        assert abs(pooled - expected_value) > 1e-3 and abs(of_means - expected_value) > 1e-3


def test_methods_that_diverged_are_named_and_left_out_of_every_seed():
    def values(cell, seed):
        if (cell.method["name"], seed) == ("method_3", 5):
            return {"outcome": "divergent", "scalars": {"m": 1.0, "b": 1.0}}
        if cell.method["name"] == "method_3":
            return {"scalars": {"m": 1e9, "b": 1e9}}  # would turn the order
        return ranked(-1.0, 0.0)(cell, seed)

    verdict = of_methods(values)
    assert (verdict.verdict, verdict.value, verdict.seeds) == ("holds", -1.0, 8)
    assert verdict.missing == "without method_3 (divergent)"


def test_a_method_without_a_stable_rate_is_named():
    verdict = of_methods(ranked(-1.0, 0.0), unscored=["method_0"], tuned=lambda cell, seed: NO_POINT)
    assert (verdict.verdict, verdict.missing) == ("holds", "without method_0 (no stable point)")


def test_too_few_methods_decide_nothing():
    verdict = of_methods(ranked(-1.0, 0.0), unscored=METHODS[:3], tuned=lambda cell, seed: NO_POINT)
    assert (verdict.verdict, verdict.value) == ("undecided", None)
    assert verdict.reason.startswith(
        "needs 10 methods with both values, got 9 methods, without method_0 (no stable point)"
    )
    assert of_methods(ranked(-1.0, 0.0), {"methods_at_least": 9}, unscored=METHODS[:3]).verdict == "holds"


@pytest.mark.parametrize("why", [None, "interrupted", "skipped"])
def test_no_verdict_about_methods_before_all_are_tuned_and_scored(why):
    waiting = why and {"status": why, "outcome": None}
    verdict = of_methods(ranked(-1.0, 0.0), unscored=["method_0"], tuned=lambda cell, seed: waiting)
    assert (verdict.verdict, verdict.value) == ("not run", None)
    last = ranked(-1.0, 0.0)
    verdict = of_methods(
        lambda cell, seed: waiting if (cell.method["name"], seed) == ("method_4", 7) else last(cell, seed)
    )
    assert (verdict.verdict, verdict.missing) == ("not run", f"1 of 8 seeds left out: 1 {why or 'not run'}")


def test_a_failed_run_takes_its_seed_and_not_its_method():
    error = {"status": "error", "outcome": None}
    good = ranked(-1.0, 0.0)
    verdict = of_methods(
        lambda cell, seed: error if (cell.method["name"], seed) == ("method_4", 7) else good(cell, seed)
    )
    assert (verdict.verdict, verdict.seeds, verdict.missing) == ("undecided", 7, "1 of 8 seeds left out: 1 error")


@pytest.mark.parametrize("status", ["error", "timeout", "out_of_memory"])
def test_a_method_whose_tuning_did_not_end_is_not_left_out(status):
    broken = {"status": status, "outcome": None}
    tuned = ranked(-1.0, 0.0), lambda cell, seed: broken
    verdict = of_methods(tuned[0], unscored=["method_0"], tuned=tuned[1])
    why = status.replace("_", " ")
    assert (verdict.verdict, verdict.value, verdict.seeds) == ("undecided", -1.0, 8)
    assert verdict.missing == f"1 of 9 seeds left out: 1 {why}"
    assert verdict.reason == f"cannot hold: 1 of 9 seeds gave no value (1 {why})"
    control = {"id": "not", "control": "claim", "metric": "f"}
    _, other = of_methods(ranked(-1.0, 0.1), {}, control, unscored=["method_0"], tuned=tuned[1])
    assert other.verdict == "not rejected"


def test_a_method_that_diverged_at_every_point_has_no_stable_one_whatever_else_broke():
    def tune(cell, seed):
        return NO_POINT if seed == 1000000 else {"status": "error", "outcome": None}

    task = make_task({"id": "claim", "rank_correlation": RANKING}, leaderboard=object())
    tune_cells = [make_cell({"method": n}, method={"name": n}, role="tune", seeds=[1000000, 1000001]) for n in METHODS]
    score = [make_cell({"method": n}, method={"name": n}, role="score") for n in METHODS[1:]]
    runs = runs_of(lambda cell, seed: (tune if cell.role == "tune" else ranked(-1.0, 0.0))(cell, seed))
    (verdict,) = evaluate(task, [*tune_cells, *score], runs)
    assert (verdict.verdict, verdict.missing) == ("holds", "without method_0 (no stable point)")


def test_the_control_of_a_rank_correlation_ranks_another_metric():
    control = {"id": "not", "control": "claim", "metric": "f"}
    claim, other = of_methods(ranked(-1.0, 0.1), {}, control)
    assert (claim.verdict, other.verdict, other.metric) == ("holds", "rejected", "f")
    assert of_methods(ranked(-1.0, 0.1), {}, {**control, "metric": "m"})[1].verdict == "not rejected"
