"""Outcomes and catapult counts on planted curves, and on rules that are wrong on purpose."""

import numpy as np
import pytest

from tangentbench.tasks.metrics import classify_outcome, count_catapults_gd, count_catapults_sgd, count_spikes, rules

NOISE = 1e-8  # relative rounding noise of the planted curves


def noisy(curve, seed: int = 0) -> np.ndarray:
    curve = np.asarray(curve, float)
    return curve * (1 + NOISE * np.random.default_rng(seed).uniform(-1, 1, curve.shape))


def decay(start: float, end: float, steps: int) -> np.ndarray:
    return np.geomspace(start, end, steps)


def hump(base: float, peak: float, steps: int = 10) -> np.ndarray:
    """From `base` up to `peak` and back to `base`."""
    return np.concatenate([decay(base, peak, steps), decay(peak, base, steps)[1:]])


# -- outcomes ---------------------------------------------------------------------------------------------------------

FALL, PLATEAU = decay(1.0, 1e-3, 60), np.full(60, 0.5)
OUTCOMES = {
    "falls": (FALL, {}, "monotone"),
    "falls with rounding noise": (noisy(FALL), {}, "monotone"),
    "rises within 1%": (np.r_[1.0, 1.0099, FALL], {}, "monotone"),
    "rises to 1% exactly": (np.r_[1.0, 1.01, FALL], {}, "monotone"),
    "rises beyond 1%": (np.r_[1.0, 1.0101, FALL], {}, "catapult"),
    "rises late": (np.r_[decay(1.0, 0.1, 20), hump(0.1, 1.5), FALL], {}, "catapult"),
    "spikes below its start": (np.r_[decay(1.0, 0.1, 20), hump(0.1, 0.9), 1e-3], {}, "monotone"),
    "catapults high": (np.r_[hump(1.0, 9e3), FALL], {}, "catapult"),
    "catapults and never converges": (np.r_[hump(1.0, 9e3), PLATEAU], {"converged": False}, "unconverged"),
    "falls too slowly": (decay(1.0, 0.5, 60), {"converged": False}, "unconverged"),
    "plateau of a live kernel": (np.r_[1.0, PLATEAU], {"converged": False}, "unconverged"),
    "converged above its start": (np.r_[1.0, 3.0, 1.5], {}, "unconverged"),
    "a dead network": (noisy(np.r_[1.0, 30.0, PLATEAU]), {"converged": False, "trace_ratio": 0.0}, "dead"),
    "a small kernel that still learns": (
        decay(1.0, 0.1, 60),
        {"converged": False, "trace_ratio": 1e-7},
        "unconverged",
    ),
    "a kernel just alive": (np.r_[1.0, PLATEAU], {"converged": False, "trace_ratio": 1.1e-6}, "unconverged"),
    "a kernel just dead": (np.r_[1.0, PLATEAU], {"converged": False, "trace_ratio": 0.9e-6}, "dead"),
    "overflows": (np.r_[1.0, 10.0, np.inf], {"converged": False}, "divergent"),
    "is not a number": (np.r_[1.0, np.nan, 0.1], {}, "divergent"),
    "passes the limit": (np.r_[1.0, 1.1e4, 1e-3], {}, "divergent"),
    "stays within the limit": (np.r_[1.0, 0.9e4, 1e-3], {}, "catapult"),
    "starts small against its targets": (np.r_[1e-3, 0.9e4, 1e-4], {}, "catapult"),
    "starts large against its targets": (np.r_[1e3, 0.9e7, 1e-3], {}, "catapult"),
    "has not trained": (np.array([1.0]), {"converged": False}, "unconverged"),
    "has not trained, no kernel": (np.array([1.0]), {"converged": False, "trace_ratio": 0.0}, "unconverged"),
    "starts at its target": (np.array([0.0]), {}, "monotone"),
}


def outcome_of(loss, rule=classify_outcome, **options):
    return rule(loss, **{"converged": True, "divergence_limit": 1e4, "trace_ratio": 0.5, "mean_y2": 1.0, **options})


@pytest.mark.parametrize("name", OUTCOMES)
def test_outcome(name):
    loss, options, expected = OUTCOMES[name]
    assert outcome_of(loss, **options) == expected


def threefold(loss, **options):  # a threshold of 3 instead of 1.01
    outcome = outcome_of(loss, **options)
    return "monotone" if outcome == "catapult" and loss.max() <= 3 * loss[0] else outcome


def any_rise(loss, **options):  # counts rounding noise and small rises
    outcome = outcome_of(loss, **options)
    return "catapult" if outcome == "monotone" and np.any(np.diff(loss) > 0) else outcome


def kernel_only(loss, **options):  # calls a run dead that still learns
    return "dead" if options.get("trace_ratio", 1.0) < 1e-6 else outcome_of(loss, **options)


def finite_is_fine(loss, **options):
    return (
        outcome_of(loss, **options)
        if not np.all(np.isfinite(loss))
        else outcome_of(loss, **{**options, "divergence_limit": np.inf})
    )


def own_scale(loss, **options):  # a limit relative to L_0 alone
    return outcome_of(loss, **{**options, "mean_y2": 0.0})


@pytest.mark.parametrize("wrong", [threefold, any_rise, kernel_only, finite_is_fine, own_scale])
def test_wrong_outcome_rules_are_noticed(wrong):
    assert any(wrong(loss, **options) != expected for loss, options, expected in OUTCOMES.values())


def test_outcome_of_nothing():
    with pytest.raises(ValueError, match="at least the initial state"):
        outcome_of(np.array([]))


# -- catapults of gradient descent ------------------------------------------------------------------------------------


def planted(*parts: tuple[np.ndarray, float]) -> tuple[np.ndarray, np.ndarray]:
    """Loss and kernel norm; each part is a stretch of loss and the factor by which it changes the kernel, evenly."""
    loss, kernel = [np.array([1.0])], [np.array([1.0])]
    for stretch, factor in parts:
        loss.append(stretch)
        kernel.append(kernel[-1][-1] * np.linspace(1.0, factor, len(stretch) + 1)[1:])
    return np.concatenate(loss), np.concatenate(kernel)


DOWN = decay(0.99, 0.05, 30)
CATAPULT, SECOND = (hump(0.05, 300.0), 0.4), (hump(0.02, 20.0), 0.6)
LIFTED = (0.05 * (1 - 2 * NOISE), 0.05 * (1 + 2 * NOISE), 300.0)  # returns to where it started only up to rounding
CURVES = {
    "none": (planted((DOWN, 1.0)), 0),
    "none, plateau": (planted((DOWN, 1.0), (np.full(50, 0.05), 1.0)), 0),
    "one": (planted((DOWN, 1.0), CATAPULT, (decay(0.05, 1e-3, 30), 1.0)), 1),
    "one from the start": (planted((hump(1.0, 300.0)[1:], 0.4), (decay(0.9, 1e-3, 30), 1.0)), 1),
    "two": (planted((DOWN, 1.0), CATAPULT, (decay(0.05, 0.02, 9), 1.0), SECOND, (decay(0.02, 1e-3, 30), 1.0)), 2),
    "two on a plateau": (planted((np.full(20, 0.05), 1.0), CATAPULT, (np.full(20, 0.05), 1.0), CATAPULT), 2),
    "two on a plateau that rounding lifts": (
        planted(
            (np.full(9, LIFTED[0]), 1.0),
            (hump(*LIFTED[1:]), 0.4),
            (np.full(9, LIFTED[1]), 1.0),
            (hump(*LIFTED[1:]), 0.4),
        ),
        2,
    ),
    "three": (planted((DOWN, 1.0), CATAPULT, CATAPULT, CATAPULT, (decay(0.05, 1e-3, 5), 1.0)), 3),
    "a spike without a fall of the kernel": (planted((DOWN, 1.0), (hump(0.05, 300.0), 1.0)), 0),
    "a spike and a rise of the kernel": (planted((DOWN, 1.0), (hump(0.05, 300.0), 1.5)), 0),
    "a fall of the kernel without a spike": (planted((DOWN, 0.5)), 0),
    "rounding noise and a fall of the kernel": (planted((DOWN, 1.0), (np.full(50, 0.05), 0.5)), 0),
    "a kernel that falls by 1%": (planted((DOWN, 1.0), (hump(0.05, 300.0), 0.99)), 0),
    "a kernel that falls by 1.9%": (planted((DOWN, 1.0), (hump(0.05, 300.0), 0.981)), 0),
    "a kernel that falls by 2.2%": (planted((DOWN, 1.0), (hump(0.05, 300.0), 0.978)), 1),
    "a kernel that falls by 3%": (planted((DOWN, 1.0), (hump(0.05, 300.0), 0.97)), 1),
    "a kernel that falls and comes back": (
        planted((DOWN, 1.0), (decay(0.05, 300.0, 10), 0.5), (decay(200.0, 0.05, 10), 2.0)),
        0,
    ),
    "a peak of 2.9 times": (planted((DOWN, 1.0), (hump(0.05, 0.145), 0.5)), 0),
    "a peak of 3.1 times": (planted((DOWN, 1.0), (hump(0.05, 0.155), 0.5)), 1),
    "tiny spikes far below the start": (planted((decay(0.9, 1e-7, 9), 1.0), (hump(1e-7, 1e-5), 0.5)), 0),
    "a spike from far below the start": (planted((decay(0.9, 1e-7, 9), 1.0), (hump(1e-7, 1.0), 0.5)), 1),
    "a jagged spike": (planted((DOWN, 1.0), (np.r_[0.1, 3.0, 1.0, 50.0, 0.2, 80.0, 0.05], 0.5)), 1),
    "a spike that has not ended": (planted((DOWN, 1.0), (decay(0.05, 300.0, 20), 0.5)), 0),
    "one, then divergence": (planted((DOWN, 1.0), CATAPULT, (np.r_[1.0, 1e9, np.inf, np.nan], 0.1)), 1),
}


@pytest.mark.parametrize("name", CURVES)
def test_catapults(name):
    (loss, kernel), expected = CURVES[name]
    assert count_catapults_gd(loss, kernel) == expected
    for seed in range(3):
        assert count_catapults_gd(noisy(loss, seed), noisy(kernel, seed + 100)) == expected


def rising_runs(loss, kernel):  # every stretch of rising loss, however small
    return int(np.sum(np.diff(np.r_[0, np.diff(loss) > 0]) == 1))


def spikes_of_the_loss(loss, kernel):  # ignores the kernel
    return count_spikes(loss)


def falls_of_the_kernel(loss, kernel):  # ignores the loss
    return int(kernel[-1] <= 0.98 * kernel[0])


def any_fall(loss, kernel):  # any fall of the kernel will do
    return count_catapults_gd(loss, np.where(kernel < kernel[0], 0.5 * kernel, kernel) ** 10)


def first_only(loss, kernel):
    return min(1, count_catapults_gd(loss, kernel))


def kernel_at_the_peak(loss, kernel):  # takes the smallest kernel so far for the one at the end
    return count_catapults_gd(loss, np.minimum.accumulate(kernel))


def unended(loss, kernel):  # counts an excursion that has not come back
    return count_catapults_gd(np.r_[loss, 0.0], np.r_[kernel, kernel[-1]])


WRONG = [rising_runs, spikes_of_the_loss, falls_of_the_kernel, any_fall, first_only, kernel_at_the_peak, unended]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_counts_are_noticed(wrong):
    finite = {name: case for name, case in CURVES.items() if np.isfinite(case[0][0]).all()}
    assert any(wrong(loss, kernel) != expected for (loss, kernel), expected in finite.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"FLOOR": 0.0},
        {"FLOOR": 0.1},
        {"PEAK": 2.8},
        {"PEAK": 3.2},
        {"KERNEL_DROP": 0.005},
        {"KERNEL_DROP": 0.04},
        {"ROUNDING": 0.0, "ROUNDING_FLOOR": 0.0},
    ],
    ids=str,
)
def test_every_constant_of_the_rule_matters(monkeypatch, changes):
    for name, value in changes.items():
        monkeypatch.setattr(rules, name, value)
    counts = [
        (count_catapults_gd(noisy(loss), noisy(kernel, 1)), expected) for (loss, kernel), expected in CURVES.values()
    ]
    assert any(count != expected for count, expected in counts)


def test_spikes_are_counted_whatever_the_kernel_does():
    kernel_matters = {
        "a spike without a fall of the kernel", "a spike and a rise of the kernel", "a kernel that falls by 1%",
        "a kernel that falls by 1.9%", "a kernel that falls and comes back",
    }  # fmt: skip
    for name, ((loss, _), catapults) in CURVES.items():
        for seed in range(3):
            assert count_spikes(noisy(loss, seed)) == catapults + (name in kernel_matters), name
    assert count_spikes(np.array([])) == count_spikes(np.array([np.nan, 1.0])) == count_spikes(np.array([1.0])) == 0


def test_a_coarse_kernel_record():
    (loss, kernel), expected = CURVES["two"]
    steps = np.r_[np.arange(0, len(loss) - 1, 5), len(loss) - 1]
    assert count_catapults_gd(loss, kernel[steps], steps) == expected


def test_kernel_of_another_length():
    with pytest.raises(ValueError, match="2 kernel norms for 3 steps"):
        count_catapults_gd(np.ones(3), np.ones(2))


# -- catapults of stochastic gradient descent -------------------------------------------------------------------------


def sgd_run(seed: int = 0):
    """100 steps, ten of them above the critical rate of their batch; the loss of every other one of those rises.

    Losses of all other steps fall, are flat up to noise, or rise although the rate is below critical."""
    critical = np.full(100, 2.0)
    above = np.arange(0, 100, 10)
    critical[above] = 0.5
    before = noisy(np.full(100, 0.3), seed)
    after = noisy(np.full(100, 0.3), seed + 1)
    after[above[::2]] = 0.4
    after[above[1::2]] = noisy(np.full(5, 0.3), seed + 2)  # above critical, loss unchanged but for noise
    after[3::10] = 0.2
    after[5::10] = 0.35  # rises below critical
    return before, after, critical


@pytest.mark.parametrize("seed", range(3))
def test_sgd_catapults(seed):
    before, after, critical = sgd_run(seed)
    assert count_catapults_sgd(before, after, critical, 1.0) == 5
    assert count_catapults_sgd(before, after, critical, np.full(100, 1.0)) == 5
    assert count_catapults_sgd(before, after, critical, 0.1) == 0
    schedule = np.where(np.arange(100) < 50, 1.0, 0.1)
    assert count_catapults_sgd(before, after, critical, schedule) == 3


def test_wrong_sgd_counts_are_noticed():
    before, after, critical = sgd_run()
    assert np.sum(after > before) > 5  # any rise
    assert np.sum(critical < 1.0) == 10  # any super-critical step
    assert np.sum((after > before) & (critical < 1.0)) > 5  # noise included
    raised = after > before * (1 + 1e-6)
    assert np.sum(raised & (critical[-1] < 1.0)) == 0  # one rate for all batches


def test_sgd_catapults_of_broken_steps():
    before = np.array([1.0, 1.0, 1.0, 1.0])
    after = np.array([2.0, np.inf, np.nan, 2.0])
    assert count_catapults_sgd(before, after, np.array([0.5, 0.5, 0.5, np.nan]), 1.0) == 1
    assert count_catapults_sgd(np.array([]), np.array([]), np.array([]), 1.0) == 0
    noise_at_zero = 1e-9 * np.random.default_rng(0).uniform(size=(2, 50))
    noise_at_zero[:, 0] = 1.0
    assert count_catapults_sgd(*noise_at_zero, np.full(50, 0.5), 1.0) == 0
    with pytest.raises(ValueError, match="differ in length: 4, 4, 3"):
        count_catapults_sgd(before, after, np.ones(3), 1.0)
