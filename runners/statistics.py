"""Intervals, rank correlation, slopes and rank sets: numpy and `scipy.special` only.

`scipy.stats` takes seconds to import and the boards are printed from stored runs in less; its functions are the oracles
of the tests instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.special import bdtr, bdtri, betaincinv, nctdtrinc, stdtrit


class Interval(NamedTuple):
    """An estimate with its confidence interval; an unbounded side is ±inf."""

    value: float
    low: float
    high: float


def t_interval(values: Sequence[float] | Float[ndarray, " seeds"], level: float = 0.95) -> Interval:
    """Mean of the values with Student's t interval, mean ± t_{n−1} · s/√n.

    Args:
        values: one finite estimate per seed.
        level: coverage for normal values.

    Returns:
        Mean, low, high; unbounded for a single value, a point for equal values.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    sample = _finite(values)
    mean = float(sample.mean())
    if sample.size == 1:
        return Interval(mean, -np.inf, np.inf)
    if np.ptp(sample) == 0:
        # the mean of equal floats can differ from them in the last bit, and the interval must not
        return Interval(float(sample[0]), float(sample[0]), float(sample[0]))
    half = float(stdtrit(sample.size - 1, 0.5 + level / 2) * sample.std(ddof=1) / np.sqrt(sample.size))
    return Interval(mean, mean - half, mean + half)


def clopper_pearson(hits: int, trials: int, level: float = 0.95) -> Interval:
    """Share hits/trials with its exact binomial interval (Clopper and Pearson 1934, Biometrika 26).

    Raises:
        ValueError: there is no trial, or `hits` is not between 0 and `trials`.
    """
    if trials < 1 or not 0 <= hits <= trials:
        raise ValueError(f"got {hits} hits in {trials} trials; expected 0 <= hits <= trials and at least one trial")
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, trials - hits + 1, tail))
    high = 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, 1 - tail))
    return Interval(hits / trials, low, high)


def smallest_seen(interval: Interval, n: int, *, power: float = 0.8, level: float = 0.95) -> float:
    """How far outside a region the truth must lie for n seeds to say so: `fails`, with probability `power`.

    A claim fails where Student's interval leaves its region. If the true mean lies a distance D beyond an edge, that
    happens with probability P(T > t_{n-1}), T noncentral t with noncentrality D √n/s; s is taken from the interval.
    What is nearer than D may have been missed. On a log scale hand over the interval of the logarithms.

    Args:
        interval: of `t_interval`, at this level.
        n: number of values that it was made of, at least 2.

    Raises:
        ValueError: fewer than two values, or a power that is not between (1 − level)/2 and 1.
    """
    if n < 2 or not (1 - level) / 2 < power < 1:
        raise ValueError(
            f"needs two or more values and a power between {(1 - level) / 2:g} and 1; got {n} and {power:g}"
        )
    quantile = stdtrit(n - 1, 0.5 + level / 2)
    standard_error = (interval.high - interval.low) / 2 / quantile
    return float(standard_error * nctdtrinc(n - 1, 1 - power, quantile))


def share_seen(edge: float, n: int, *, power: float = 0.8, level: float = 0.95) -> float:
    """As `smallest_seen` for a share that should be at least `edge`: the distance below it at which n trials say so.

    The verdict is `fails` for at most k hits, the largest k whose interval (`clopper_pearson`) ends below the edge; the
    share p at which that has probability `power` solves P(Bin(n, p) ≤ k) = `power`. Infinite where no k is enough.
    """
    failing = [hits for hits in range(n + 1) if clopper_pearson(hits, n, level).high < edge]
    return edge - float(bdtri(failing[-1], n, power)) if failing else np.inf


def median_interval(values: Sequence[float] | Float[ndarray, " seeds"], level: float = 0.95) -> Interval:
    """Median with an interval between interpolated order statistics.

    (x_(k), x_(n+1−k)) covers the median of any continuous law with probability 1 − 2·P(Bin(n, ½) < k). The ends are
    moved between neighbouring order statistics to the level asked for, by the rule of Hettmansperger and Sheather
    (1986, Statistics & Probability Letters 4). Unlike a percentile bootstrap it holds its level at eight seeds.

    Args:
        values: one value per seed; +inf or −inf stands for a seed that is worse than any number.
        level: coverage.

    Returns:
        Median, low, high. Fewer seeds than a range of that coverage needs (six at 95%) give an unbounded interval.

    Raises:
        ValueError: there is no value, or one is NaN.
    """
    sample = np.sort(np.asarray(values, dtype=np.float64))
    if sample.size == 0 or np.isnan(sample).any():
        raise ValueError("a median needs at least one value and no NaN")
    n = sample.size
    median = _between(sample[(n - 1) // 2], sample[n // 2], 0.5)

    def coverage(k: int) -> float:
        return 1 - 2 * float(bdtr(k - 1, n, 0.5))

    if coverage(1) < level:
        return Interval(median, -np.inf, np.inf)
    k = 1
    while k + 1 <= n // 2 and coverage(k + 1) >= level:
        k += 1
    if k + 1 > n // 2:
        return Interval(median, float(sample[k - 1]), float(sample[n - k]))
    outer, inner = coverage(k), coverage(k + 1)
    part = (outer - level) / (outer - inner)
    weight = (n - k) * part / (k + (n - 2 * k) * part)
    return Interval(
        median, _between(sample[k - 1], sample[k], weight), _between(sample[n - k], sample[n - k - 1], weight)
    )


def kendall_tau(x: Sequence[float] | Float[ndarray, " n"], y: Sequence[float] | Float[ndarray, " n"]) -> float:
    """Kendall's τ-b of paired values (Kendall 1945, Biometrika 33); 0 where either is constant.

    Raises:
        ValueError: the lengths differ, there are fewer than two pairs, or a value is not finite.
    """
    a, b = _finite(x), _finite(y)
    if a.shape != b.shape or a.size < 2:
        raise ValueError(f"Kendall's tau needs two or more pairs; got {a.size} and {b.size} values")
    first, second = np.triu_indices(a.size, k=1)
    signs_a, signs_b = np.sign(a[first] - a[second]), np.sign(b[first] - b[second])
    untied = np.sqrt(np.abs(signs_a).sum() * np.abs(signs_b).sum())
    return float((signs_a * signs_b).sum() / untied) if untied else 0.0


def spearman_rho(x: Sequence[float] | Float[ndarray, " n"], y: Sequence[float] | Float[ndarray, " n"]) -> float:
    """Spearman's ρ of paired values: Pearson's correlation of their ranks, ties at the mean of theirs; 0 where either
    is constant (Spearman 1904, American Journal of Psychology 15).

    Raises:
        ValueError: the lengths differ, there are fewer than two pairs, or a value is not finite.
    """
    a, b = _finite(x), _finite(y)
    if a.shape != b.shape or a.size < 2:
        raise ValueError(f"Spearman's rho needs two or more pairs; got {a.size} and {b.size} values")
    u, v = _centred_ranks(a), _centred_ranks(b)
    norm = np.sqrt((u @ u) * (v @ v))
    return float(u @ v / norm) if norm else 0.0


def _centred_ranks(values: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    """How many values are smaller, less how many are larger: twice the mean rank, centred; exact in floats."""
    return np.sign(values[:, None] - values[None, :]).sum(axis=1)


def loglog_slope(x: Sequence[float] | Float[ndarray, " n"], y: Sequence[float] | Float[ndarray, " n"]) -> float:
    """Least-squares slope of log y on log x: the exponent p of y ∝ x^p.

    Raises:
        ValueError: fewer than two different x, or a value that is not finite and positive.
    """
    a, b = _finite(x), _finite(y)
    if a.shape != b.shape or a.size < 2 or np.ptp(a) == 0:
        raise ValueError("a slope needs as many y as x and at least two different x")
    if (a <= 0).any() or (b <= 0).any():
        raise ValueError("a log-log slope needs positive values")
    u, v = np.log(a), np.log(b)
    u = u - u.mean()
    return float(u @ (v - v.mean()) / (u @ u))


def rank_sets(
    scores: Float[ndarray, "methods seeds"],
    *,
    level: float = 0.95,
    lower_is_better: bool = True,
    resamples: int = 4096,
    seed: int = 0,
) -> list[tuple[int, int]]:
    """Simultaneous confidence sets for the ranks of methods scored on the same seeds.

    Mogstad, Romano, Shaikh, Wilhelm (2024, Review of Economic Studies 91), Section 3: where the signs of all pairwise
    differences are decided together at a level, the sets [1 + #{surely better}, p − #{surely worse}] hold for all
    methods at once. The differences are paired by seed and studentised, and the critical value is the quantile of the
    largest |T| over resampled seeds.

    The resampling differs from the paper's: it turns the signs of whole seeds (the wild bootstrap with Rademacher
    weights, under the null) instead of drawing seeds with replacement. Drawn samples of eight seeds often have almost
    no variance, and their largest of 45 studentised differences has a 95% quantile near 9 where 5 is right: nothing
    would ever differ. Turning signs is exact for differences that are symmetric about their mean, at any number of
    seeds; below six it decides nothing at 95%, as no test of signs can.

    A method with a seed that has no finite score ranks below every complete one.

    Args:
        scores: one row per method; NaN or ±inf where a seed failed.
        level: probability that all true ranks lie in their sets.
        lower_is_better: False where a high score is good.
        resamples: sign patterns drawn where there are too many to list them all.
        seed: of that draw, so that a board printed twice is the same board.

    Returns:
        Best and worst rank that cannot be excluded, one pair per method, counted from 1.
    """
    table = np.asarray(scores, dtype=np.float64)
    rows = np.flatnonzero(np.isfinite(table).all(axis=1))
    sets = [(len(rows) + 1, table.shape[0])] * table.shape[0]
    signs = _sign_patterns(table.shape[1], resamples, seed)
    better = _surely_smaller(table[rows] if lower_is_better else -table[rows], signs, level)
    for position, row in enumerate(rows):
        sets[row] = (1 + int(better[:, position].sum()), len(rows) - int(better[position].sum()))
    return sets


def _surely_smaller(
    table: Float[ndarray, "p seeds"], signs: Float[ndarray, "patterns seeds"], level: float
) -> Bool[ndarray, "p p"]:
    """Entry (j, k): the mean of row j is below that of row k in the simultaneous sense of `rank_sets`."""
    p, n = table.shape
    sure = np.zeros((p, p), dtype=bool)
    if p < 2 or n < 2:
        return sure
    first, second = np.triu_indices(p, k=1)
    differences = table[first] - table[second]
    constant = np.ptp(differences, axis=1) == 0
    statistic = np.where(differences[:, 0] == 0, 0.0, np.copysign(np.inf, differences[:, 0]))
    if not constant.all():
        resampled = _studentised(differences[~constant], signs)
        # the pattern without a turn comes first: the sample itself
        statistic[~constant] = resampled[0]
        critical = np.quantile(np.abs(resampled).max(axis=1), level, method="higher")
    else:
        critical = 0.0
    sure[first, second] = statistic < -critical
    sure[second, first] = statistic > critical
    return sure


def _studentised(
    differences: Float[ndarray, "pairs seeds"], signs: Float[ndarray, "patterns seeds"]
) -> Float[ndarray, "patterns pairs"]:
    """Mean over standard error of the differences, with the signs of seeds turned by each pattern."""
    n = differences.shape[1]
    mean = signs @ differences.T / n
    variance = (differences**2).mean(axis=1) - mean**2
    # a turned sample without variance is as far from zero as can be; rounding must not make its variance negative
    least = np.finfo(np.float64).eps * (differences**2).mean(axis=1)
    return mean / np.sqrt(np.maximum(variance, least) / (n - 1))


def _sign_patterns(n: int, resamples: int, seed: int) -> Float[ndarray, "patterns n"]:
    """All patterns of ±1 up to a common sign, or a draw of them; the first is all +1."""
    if n < 1 or 2 ** (n - 1) <= resamples:
        half = np.array(list(product((1.0, -1.0), repeat=max(n - 1, 0))))
        return np.hstack([np.ones((len(half), 1)), half])[:, :n]
    drawn = np.random.Generator(np.random.PCG64(seed)).choice((1.0, -1.0), size=(resamples, n))
    return np.vstack([np.ones((1, n)), drawn])


def _finite(values: Sequence[float] | ndarray) -> Float[ndarray, " n"]:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
        raise ValueError("expected one or more finite values")
    return sample


def _between(start: float, end: float, weight: float) -> float:
    """Linear interpolation that keeps an infinite end infinite and equal ends equal."""
    if start == end or weight == 0:
        return float(start)
    return float((1 - weight) * start + weight * end)
