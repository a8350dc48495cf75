"""Intervals and ranks against scipy.stats, textbooks and their own coverage; variants that are wrong must be caught."""

import math

import numpy as np
import pytest
from scipy import stats

from tangentbench.runners.statistics import (
    clopper_pearson,
    kendall_tau,
    loglog_slope,
    median_interval,
    rank_sets,
    share_seen,
    smallest_seen,
    spearman_rho,
    t_interval,
)


def misses(covered: list[bool], level: float) -> float:
    """How far the observed coverage lies above the declared one, in standard errors of the simulation."""
    return float(np.mean(covered) - level) / math.sqrt(level * (1 - level) / len(covered))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20220511)


def test_t_interval_is_the_textbook_one(rng):
    values = rng.normal(3.0, 2.0, 8)
    expected = stats.t.interval(0.95, 7, loc=values.mean(), scale=stats.sem(values))
    got = t_interval(values)
    assert got.value == pytest.approx(values.mean(), rel=1e-14)
    assert (got.low, got.high) == pytest.approx(expected, rel=1e-12)


def test_t_interval_covers_and_the_normal_quantile_does_not(rng):
    samples = rng.normal(size=(4000, 5))
    covered = [low <= 0 <= high for _, low, high in map(t_interval, samples)]
    assert abs(misses(covered, 0.95)) < 4
    half = 1.96 * samples.std(axis=1, ddof=1) / math.sqrt(5)
    assert misses(list(np.abs(samples.mean(axis=1)) <= half), 0.95) < -10


def test_t_interval_of_equal_values_is_exactly_that_value():
    # the mean of eight 0.1 is 0.1 + 1.4e-17, which would lie outside a region that ends at 0.1
    assert t_interval([0.1] * 8) == (0.1, 0.1, 0.1)
    assert t_interval([2.0]) == (2.0, -math.inf, math.inf)


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [1.0, math.inf]])
def test_t_interval_refuses_what_has_no_mean(bad):
    with pytest.raises(ValueError, match="finite"):
        t_interval(bad)


@pytest.mark.parametrize("n", [4, 8, 16])
def test_the_smallest_effect_seen_is_seen_that_often(rng, n):
    """Planted truths at that distance beyond an edge of 0: four in five samples say `fails`; half the width is too
    optimistic, as it is found in little more than half of them."""
    spread = 3.0
    standard = t_interval([0.0, 1.0])
    half = stats.t.ppf(0.975, n - 1) * spread / math.sqrt(n)
    distance = smallest_seen(standard._replace(low=-half, high=half), n)

    def seen(truth):
        return [high < 0 for _, _, high in map(t_interval, rng.normal(-truth, spread, size=(4000, n)))]

    assert abs(misses(seen(distance), 0.8)) < 4
    assert misses(seen(half), 0.8) < -10


def test_the_smallest_effect_seen_of_equal_values_is_none():
    assert smallest_seen(t_interval([0.5] * 8), 8) == 0.0
    for n, power in ((1, 0.8), (8, 0.02), (8, 1.0)):
        with pytest.raises(ValueError, match="two or more values"):
            smallest_seen(t_interval([0.5] * 8), n, power=power)


def test_the_smallest_share_seen(rng):
    """Eight trials refute 0.6 by at most one hit; a planted share at that distance gives so few in four of five."""
    assert [clopper_pearson(hits, 8).high < 0.6 for hits in range(3)] == [True, True, False]
    share = 0.6 - share_seen(0.6, 8)
    assert 0.05 < share < 0.15
    fails = [clopper_pearson(int(hits), 8).high < 0.6 for hits in rng.binomial(8, share, size=4000)]
    assert abs(misses(fails, 0.8)) < 4
    assert share_seen(0.3, 3) == math.inf


@pytest.mark.parametrize(("hits", "trials"), [(0, 8), (8, 8), (3, 8), (1, 3), (17, 100)])
def test_clopper_pearson_against_scipy(hits, trials):
    expected = stats.binomtest(hits, trials).proportion_ci(method="exact")
    got = clopper_pearson(hits, trials)
    assert got == pytest.approx((hits / trials, expected.low, expected.high), abs=1e-12)


def test_clopper_pearson_textbook_value_and_nonsense():
    # all of eight: the lower end is 0.025^(1/8)
    assert clopper_pearson(8, 8).low == pytest.approx(0.025 ** (1 / 8), rel=1e-12)
    with pytest.raises(ValueError, match="0 <= hits"):
        clopper_pearson(3, 2)


def test_median_interval_covers_where_the_percentile_bootstrap_does_not(rng):
    samples = rng.lognormal(size=(3000, 8))
    covered = [low <= 1 <= high for _, low, high in map(median_interval, samples)]
    # interpolation between order statistics is approximate, a few tenths of a percent at most
    assert -4 < misses(covered, 0.95) < 6
    draws = rng.integers(0, 8, size=(400, 8))
    bootstrap = np.quantile(np.median(samples[:1000, draws], axis=2), [0.025, 0.975], axis=1)
    naive = (bootstrap[0] <= 1) & (bootstrap[1] >= 1)
    assert naive.mean() < np.mean(covered)


def test_median_interval_lies_between_the_exact_ones():
    values = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
    got = median_interval(values)
    assert got.value == 12.0
    # (x1, x8) covers 99.2% and (x2, x7) 93.0%: 95% is between them, close to the inner one
    assert 1.0 < got.low < 2.0 and 64.0 < got.high < 128.0
    assert got.low - 1.0 == pytest.approx((128.0 - got.high) / 64.0)


def test_median_interval_keeps_failed_seeds_as_the_worst():
    got = median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, math.inf, math.inf])
    assert got.value == 4.5 and got.high == math.inf and got.low < 2
    assert median_interval([1.0] * 3 + [math.inf] * 5).value == math.inf
    assert median_interval([7.0] * 8) == (7.0, 7.0, 7.0)
    assert median_interval([1.0, 2.0, 3.0]) == (2.0, -math.inf, math.inf)
    with pytest.raises(ValueError, match="NaN"):
        median_interval([1.0, math.nan])


def test_kendall_tau_against_scipy_with_ties(rng):
    for _ in range(20):
        x, y = rng.integers(0, 4, 7), rng.integers(0, 4, 7)
        if np.ptp(x) and np.ptp(y):
            assert kendall_tau(x, y) == pytest.approx(stats.kendalltau(x, y)[0], abs=1e-12)
    assert kendall_tau([1, 2, 3], [9, 5, 1]) == -1.0
    # tau-a would call this 2/3: tied values say nothing about the order
    assert kendall_tau([1, 2, 3], [1, 1, 2]) == pytest.approx(2 / math.sqrt(6))
    assert kendall_tau([1, 2, 3], [4, 4, 4]) == 0.0
    with pytest.raises(ValueError, match="pairs"):
        kendall_tau([1], [1])


def test_spearman_rho_against_scipy_with_ties(rng):
    for size in (2, 5, 10, 11):
        for values in (rng.normal(size=(2, size)), rng.integers(0, 4, (2, size))):
            x, y = values
            if np.ptp(x) and np.ptp(y):
                assert spearman_rho(x, y) == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-12)
    # of ranks, not of values; and exactly 1, whatever the rounding of means
    assert spearman_rho([1, 2, 3, 4, 5, 6, 7], np.exp([1, 2, 4, 8, 16, 32, 64])) == 1.0
    assert spearman_rho([1, 2, 3], [9, 5, 1]) == -1.0
    # ranks without ties, by which the first of equals is smaller, would say 1
    assert spearman_rho([1, 2, 3], [1, 1, 2]) == pytest.approx(math.sqrt(3) / 2)
    assert spearman_rho([1, 2, 3], [4, 4, 4]) == 0.0
    with pytest.raises(ValueError, match="pairs"):
        spearman_rho([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="finite"):
        spearman_rho([1, math.nan], [1, 2])


def test_loglog_slope_against_scipy_and_closed_form(rng):
    x = np.array([16.0, 32, 64, 128, 256])
    assert loglog_slope(x, 3 * x**-0.5) == pytest.approx(-0.5, abs=1e-12)
    y = x**-0.5 * rng.lognormal(0, 0.2, 5)
    assert loglog_slope(x, y) == pytest.approx(stats.linregress(np.log(x), np.log(y))[0], rel=1e-12)
    with pytest.raises(ValueError, match="positive"):
        loglog_slope(x, y - y.min())
    with pytest.raises(ValueError, match="different x"):
        loglog_slope([2, 2], [1, 2])


@pytest.mark.parametrize("noise", ["normal", "lognormal"])
def test_rank_sets_of_equal_methods_hold_their_level(rng, noise):
    shared = 3 * rng.normal(size=(600, 1, 8))
    scores = shared + getattr(rng, noise)(size=(600, 6, 8))
    covered = [all(ranks == (1, 6) for ranks in rank_sets(table)) for table in scores]
    # 6 of 128 sign patterns are the largest step below 5%, so the level is never exceeded by more than chance
    assert -3 < misses(covered, 0.95) < 5


def test_rank_sets_need_the_pairs_and_all_comparisons_at_once(rng):
    """Unpaired errors see nothing that seeds share; one comparison at a time finds differences that are not there."""
    seeds = 5 * rng.normal(size=8)
    table = np.array([seeds + 0.05 * rng.normal(size=8) + shift for shift in (0.0, 1.0, 2.0)])
    assert rank_sets(table) == [(1, 1), (2, 2), (3, 3)]
    shuffled = np.array([rng.permutation(row) for row in table])
    assert rank_sets(shuffled) == [(1, 3)] * 3
    null = rng.normal(size=(200, 6, 8))
    first, second = np.triu_indices(6, k=1)
    found = stats.ttest_rel(null[:, first], null[:, second], axis=-1).pvalue < 0.05
    assert misses(list(~found.any(axis=1)), 0.95) < -10


def test_rank_sets_have_power_at_eight_seeds(rng):
    """The bootstrap that draws seeds with replacement leaves all ten tied here."""
    means = np.arange(10.0)[:, None]
    sets = [rank_sets(means + 0.3 * rng.normal(size=(10, 8))) for _ in range(20)]
    assert np.mean([high - low for one in sets for low, high in one]) < 0.2


def test_rank_sets_of_ties_constants_and_failures():
    nan, inf = math.nan, math.inf
    constant = np.array([[1.0] * 8, [1.0] * 8, [2.0] * 8])
    assert rank_sets(constant) == [(1, 2), (1, 2), (3, 3)]
    assert rank_sets(constant, lower_is_better=False) == [(2, 3), (2, 3), (1, 1)]
    failed = np.vstack([constant, [[0.0] * 7 + [nan], [0.0] * 7 + [inf]]])
    assert rank_sets(failed) == [(1, 2), (1, 2), (3, 3), (4, 5), (4, 5)]
    assert rank_sets(np.array([[1.0, 1.1], [5.0, 5.2]])) == [(1, 2), (1, 2)]
    assert rank_sets(np.zeros((1, 8))) == [(1, 1)]
    assert rank_sets(np.zeros((0, 8))) == []


def test_rank_sets_do_not_depend_on_order_or_call(rng):
    table = rng.normal(size=(5, 20)) + np.arange(5)[:, None] * 0.8
    assert rank_sets(table) == rank_sets(table)
    assert rank_sets(table[::-1]) == rank_sets(table)[::-1]
