"""Shifts against scipy.stats and exact counts, verdicts against their definition, and errors counted by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from tangentbench.runners.changes import FAMILY_ERROR, Margin, family_level, judge, shift, unlike, unrelated

MARGIN = Margin(0.05)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20220512)


def seeded(values, start=0) -> dict[int, float]:
    return {start + k: float(value) for k, value in enumerate(values)}


def test_a_paired_shift_is_students_t_of_log_ratios(rng):
    a = np.exp(rng.normal(size=8))
    b = a * np.exp(rng.normal(0.3, 0.1, 8))
    found = shift(seeded(a), seeded(b), MARGIN, paired=True)
    expected = stats.ttest_rel(np.log(b), np.log(a)).confidence_interval(0.999)
    assert found.ratio and found.interval(0.999) == pytest.approx((expected.low, expected.high), rel=1e-10)
    assert found.share(found.value) == pytest.approx(stats.gmean(b / a) - 1, rel=1e-10)


def test_an_unpaired_shift_is_welchs_t(rng):
    a, b = rng.normal(0, 1, 8), rng.normal(1, 3, 12)
    size = np.abs(a).mean()
    found = shift(seeded(a), seeded(b), MARGIN, paired=False)
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.99)
    assert not found.ratio
    assert found.interval(0.99) == pytest.approx((expected.low / size, expected.high / size), rel=1e-10)


def test_seeds_are_paired_by_number_and_not_by_place(rng):
    """Seed by seed a factor of 1.1 on values over six decades is exact; unpaired, or in the wrong order, it is lost."""
    a = seeded(np.exp(rng.normal(0, 5, 8)))
    b = {seed: 1.1 * value for seed, value in reversed(a.items())} | {99: 1e9}
    level = family_level(300)
    assert judge(shift(a, b, MARGIN, paired=True), MARGIN, "lower", level) == "worse"
    assert judge(shift(a, b, MARGIN, paired=False), MARGIN, "lower", level) == "undecided"
    by_place = dict(zip(a, b.values(), strict=False))
    assert judge(shift(a, by_place, MARGIN, paired=True), MARGIN, "lower", level) == "undecided"


@pytest.mark.parametrize(
    ("factor", "direction", "verdict"),
    [
        (1.10, "lower", "worse"),
        (1.10, "higher", "better"),
        (1.10, "none", "changed"),
        (0.90, "lower", "better"),
        (0.90, "higher", "worse"),
        (0.90, "none", "changed"),
        (1.04, "lower", "equivalent"),
        (1.00, "none", "equivalent"),
    ],
)
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["positive", "signed"])
def test_verdicts_know_the_direction(rng, factor, direction, verdict, sign):
    a = sign * (2 + 0.01 * rng.normal(size=8))
    b = a * factor * (1 + 1e-4 * rng.normal(size=8))
    if sign < 0:  # a negative value that grows in size falls
        verdict = {"better": "worse", "worse": "better"}.get(verdict, verdict)
    found = shift(seeded(a), seeded(b), MARGIN, paired=True)
    assert found.ratio == (sign > 0)
    assert judge(found, MARGIN, direction, 0.999) == verdict


def test_an_interval_across_the_margin_decides_nothing(rng):
    a = np.ones(8)
    for mean, spread in ((1.05, 0.01), (1.2, 0.2), (1.0, 0.2)):
        b = mean + spread * np.array([-1, 1] * 4)
        assert judge(shift(seeded(a), seeded(b), MARGIN, paired=True), MARGIN, "lower", 0.999) == "undecided"


def test_what_is_negligible_is_added_to_the_margin():
    margin = Margin(0.05, 1e-9)
    noise = seeded(np.linspace(1e-14, 5e-14, 8)), seeded(np.linspace(3e-13, 9e-13, 8))
    assert judge(shift(*noise, margin, paired=True), margin, "lower", 0.9999) == "equivalent"
    assert judge(shift(*noise, MARGIN, paired=True), MARGIN, "lower", 0.99) == "worse"
    # around zero the amount itself is the margin: 5% of (0 + 1e-9 / 5%)
    zeros = seeded(np.zeros(8))
    assert judge(shift(zeros, seeded(np.full(8, 0.9e-9)), margin, paired=True), margin, "lower", 0.99) == "equivalent"
    assert judge(shift(zeros, seeded(np.full(8, 1.1e-9)), margin, paired=True), margin, "lower", 0.99) == "worse"


def test_equal_numbers_are_identical_and_one_seed_decides_nothing():
    found = shift({3: 0.1}, {3: 0.1}, MARGIN, paired=True)
    assert found.identical and found.interval(0.9999) == (0.0, 0.0)
    found = shift({3: 0.1}, {3: 0.2}, MARGIN, paired=True)
    assert not found.identical and found.interval(0.5) == (-math.inf, math.inf)
    assert found.share(math.inf) is None
    assert not shift(seeded([1.0, 1.0]), seeded([1.0, 1.0]), MARGIN, paired=False).identical
    assert shift({1: 1.0}, {2: 1.0}, MARGIN, paired=True) is None
    assert shift({}, {2: 1.0}, MARGIN, paired=False) is None


@pytest.mark.parametrize(("seeds", "verdict"), [(2, "undecided"), (3, "changed")])
def test_seeds_that_all_move_alike_must_be_three(seeds, verdict):
    """Catapults counted as 1 before and 2 after: of two seeds half of all comparisons by chance would agree so."""
    found = shift(seeded([1.0] * seeds), seeded([2.0] * seeds), MARGIN, paired=True)
    assert judge(found, MARGIN, "none", 0.99) == verdict


LAWS = {
    "normal": lambda rng, size: rng.normal(1.0, 0.3, size),
    "decades": lambda rng, size: np.exp(3 * rng.normal(size=size)),
    "heavy": lambda rng, size: rng.standard_t(2, size),
    "counts": lambda rng, size: rng.binomial(1, 0.5, size) + 1.0,
    "rare counts": lambda rng, size: rng.binomial(1, 0.05, size) + 1.0,
}


def errors(rng, law, level, rows=20, *, comparisons, seeds=8) -> int:
    """In how many comparisons of runs that follow one law some row is called better, worse or changed."""
    wrong = 0
    for _ in range(comparisons):
        a, b = law(rng, (rows, seeds)), law(rng, (rows, seeds))
        found = (shift(seeded(x), seeded(y, 100), MARGIN, paired=False) for x, y in zip(a, b, strict=True))
        wrong += any(judge(moved, MARGIN, "none", level) == "changed" for moved in found)
    return wrong


@pytest.mark.parametrize("name", LAWS)
def test_a_comparison_without_a_change_errs_in_one_of_a_hundred(rng, name):
    allowed = 5
    assert stats.binom.sf(allowed, 100, FAMILY_ERROR) < 1e-3
    assert errors(rng, LAWS[name], family_level(20), comparisons=100) <= allowed


def test_without_the_correction_it_would_err_more_often(rng):
    assert errors(rng, LAWS["decades"], 1 - FAMILY_ERROR, comparisons=100) > 5


def test_a_shift_of_two_margins_is_found_where_seeds_allow(rng):
    """Power: with pairs that scatter by 2%, eight seeds find 10% in one of forty rows nearly always."""
    found = 0
    for _ in range(100):
        a = np.exp(rng.normal(size=8))
        b = a * np.exp(rng.normal(math.log(1.1), 0.01, 8))
        moved = shift(seeded(a), seeded(b), MARGIN, paired=True)
        found += judge(moved, MARGIN, "lower", family_level(40)) == "worse"
    assert found >= 95


def test_unrelated_is_for_other_draws_and_not_for_a_bias(rng):
    hits = {"same": 0, "biased": 0, "rounded": 0, "other": 0}
    for _ in range(100):
        a = 1 + 0.1 * rng.normal(size=8)
        sides = {
            "same": a,
            "biased": 1.1 * a,
            "rounded": a * (1 + 1e-6 * rng.normal(size=8)),
            "other": 1 + 0.1 * rng.normal(size=8),
        }
        for name, b in sides.items():
            hits[name] += unrelated(seeded(a), seeded(b))
    assert hits["same"] == hits["biased"] == hits["rounded"] == 0
    assert hits["other"] >= 90
    constant = seeded(np.full(8, 0.3))
    assert not unrelated(constant, seeded(np.full(8, 0.3 + 1e-7)))
    assert unrelated({0: 1.0}, {0: 1.02}) and not unrelated({0: 1.0}, {0: 1.001})


@pytest.mark.parametrize(("bad_before", "bad_after"), [(0, 8), (8, 0), (1, 5), (3, 3), (0, 0)])
def test_unlike_counts_is_fishers_test(bad_before, bad_after):
    table = [[bad_before, 8 - bad_before], [bad_after, 10 - bad_after]]
    assert unlike(bad_before, 8, bad_after, 10) == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-10)
