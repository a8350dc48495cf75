"""Metrics of a whole run: what they need, what they say of planted runs, and the exact recursion."""

import dataclasses
import math

import numpy as np
import pytest

from tangentbench.tasks import registry
from tangentbench.tasks.entry import BATCH_CURVES
from tangentbench.tasks.metrics import Series, series


def run(loss, *, steps=None, every: int = 1, rate: float = 1.0, work: int = 8, **rest) -> Series:
    loss = np.asarray(loss, float)
    steps = np.arange(len(loss)) if steps is None else np.asarray(steps)
    last = int(steps[-1])
    records = np.unique(np.r_[np.arange(0, last + 1, every), last])
    base = {"curves": {}, "outcome": "monotone", "converged": True, "n": 8, "record_steps": records}
    return Series(loss=loss, steps=steps, learning_rate=np.full(last, rate), work_per_step=work, **{**base, **rest})


def test_scalars_of_the_loss():
    good = run([2.0, 5.0, 0.1])
    assert (series.initial_loss(good), series.peak_loss(good), series.steps_to_stop(good)) == (2.0, 5.0, 2.0)
    bad = run([2.0, np.inf], converged=False)
    assert (series.initial_loss(bad), series.peak_loss(bad), series.steps_to_stop(bad)) == (2.0, None, None)
    assert series.peak_loss(run([2.0, np.nan, 1.0])) is None
    # finite, but of the step at which the run was cut off
    assert series.peak_loss(run([2.0, 1e9], outcome="divergent")) is None
    assert series.steps_to_stop(run([2.0, 1.0, 0.5], steps=[0, 10, 17])) == 17.0


def test_work_to_target():
    mini = run(
        [4.0, 3.0, 2.0, 2.5],
        steps=[0, 10, 20, 25],
        every=10,
        work=32,
        curves={"test_loss": np.array([9.0, 5.0, 1.0, 7.0])},
    )
    assert series.work_to_target(mini, target=3.0) == 10 * 32
    assert series.work_to_target(mini, target=4.0) == 0.0
    assert series.work_to_target(mini, target=1.9) is None
    assert series.work_to_target(mini, target=5.0, of="test_loss") == 10 * 32
    assert series.work_to_target(mini, target=1.0, of="test_loss") == 20 * 32
    with pytest.raises(
        ValueError, match=r"work_to_target needs the curve 'test_error': add \{name: test_error, at: schedule\}"
    ):
        series.work_to_target(mini, target=1.0, of="test_error")
    broken = run([4.0, np.nan, 1.0])
    assert series.work_to_target(broken, target=1.0) == 2 * 8


def test_work_to_target_counts_what_was_spent_beside_the_steps():
    extra = np.zeros(25)
    extra[[10, 20]] = 100.0  # two evaluations on 100 examples, at the start of steps 10 and 20
    curves = {"test_loss": np.array([9.0, 5.0, 1.0, 0.5])}
    reset = run([4.0, 3.0, 2.0, 1.5], steps=[0, 10, 20, 25], every=10, work=32, curves=curves, extra_work=extra)
    assert series.work_to_target(reset, target=4.0) == 0.0
    assert series.work_to_target(reset, target=3.0) == 10 * 32  # known before step 10 is taken
    assert series.work_to_target(reset, target=2.0) == 20 * 32 + 100
    assert series.work_to_target(reset, target=0.5, of="test_loss") == 25 * 32 + 200
    without = dataclasses.replace(reset, extra_work=np.zeros(0))  # wrong on purpose: the steps alone
    assert series.work_to_target(without, target=2.0) != series.work_to_target(reset, target=2.0)


def catapulting(every: int) -> Series:
    loss = np.r_[1.0, 3.0, 60.0, 500.0, 40.0, 2.0, 0.5, 0.1]
    kernel = np.r_[1.0, 1.0, 0.9, 0.6, 0.5, 0.5, 0.5, 0.5]
    base = run(loss, every=every)
    return dataclasses.replace(base, curves={"tangent_kernel_norm": kernel[base.record_steps]})


@pytest.mark.parametrize("every", [1, 3])
def test_catapults(every):
    assert series.catapults(catapulting(every)) == 1.0


def test_catapults_needs_its_curves():
    with pytest.raises(ValueError, match="catapults needs the curve 'tangent_kernel_norm'"):
        series.catapults(run([1.0, 0.5]))
    sparse = run([1.0, 0.5], steps=[0, 10], every=10, curves={"tangent_kernel_norm": np.ones(2)})
    with pytest.raises(ValueError, match="use sgd_catapults"):
        series.catapults(sparse)


def test_loss_spikes():
    assert series.loss_spikes(catapulting(3)) == 1.0
    still = dataclasses.replace(catapulting(1), curves={})  # whatever the kernel does, known or not
    assert series.loss_spikes(still) == 1.0
    # of a mini-batch run, what its records show: 0.1 -> 0.5 -> 0.1, but not the rise between two of them
    mini = run([1.0, 0.1, 0.5, 0.1, 0.05], steps=[0, 5, 10, 15, 20], every=5)
    assert series.loss_spikes(mini) == 1.0
    assert series.loss_spikes(run([1.0, 0.1, 0.05], steps=[0, 10, 20], every=10)) == 0.0


# -- spikes -----------------------------------------------------------------------------------------------------------


def spiking(top, bulk, **rest) -> Series:
    curves = {"top_loss": np.asarray(top, float), "bulk_loss": np.asarray(bulk, float)}
    return run(np.add(top, bulk), curves=curves, **rest)


SPIKE = spiking(top=[2.0, 1.0, 40.0, 6.0, 0.1], bulk=[8.0, 4.0, 2.0, 2.3, 0.4])


def test_peak_rise_and_end_of_a_curve():
    assert series.peak_over_start(SPIKE, of="top_loss") == 20.0
    assert series.peak_over_start(SPIKE, of="bulk_loss") == 1.0
    assert series.end_over_start(SPIKE, of="bulk_loss") == 0.05
    assert series.largest_rise(SPIKE, of="top_loss") == 39 / 2
    # from 2 to 2.3, although 2.3 is far below the start, which the peak alone does not show
    assert series.largest_rise(SPIKE, of="bulk_loss") == pytest.approx(0.3 / 8, rel=1e-12)
    assert series.largest_rise(run([3.0, 2.0, 1.0]), of="train_loss") == 0.0
    assert series.peak_over_start(SPIKE, of="train_loss") == 4.2


def test_largest_rise_over_the_value_it_rises_from():
    assert series.largest_rise(SPIKE, of="bulk_loss", over="foot") == pytest.approx(0.3 / 2, rel=1e-12)
    assert series.largest_rise(SPIKE, of="top_loss", over="foot") == 39.0
    # the largest of each kind may be two rises: by 2 from 1, and by 0.3 from 0.1
    twice = run([4.0, 1.0, 3.0, 0.1, 0.4, 0.05])
    assert series.largest_rise(twice, of="train_loss") == 0.5
    assert series.largest_rise(twice, of="train_loss", over="foot") == pytest.approx(3.0, rel=1e-12)
    for measured in (SPIKE.curves["bulk_loss"], twice.loss):  # a plain loop over all pairs of records
        pairs = [(late - early, early) for i, early in enumerate(measured) for late in measured[i:]]
        planted = run(measured)
        assert series.largest_rise(planted, of="train_loss") == max(rise for rise, _ in pairs) / measured[0]
        assert series.largest_rise(planted, of="train_loss", over="foot") == max(rise / foot for rise, foot in pairs)
    falling = run([3.0, 2.0, 1.0])
    assert series.largest_rise(falling, of="train_loss", over="foot") == 0.0
    assert series.largest_rise(run([1.0, 0.0, 0.5]), of="train_loss", over="foot") is None
    assert series.largest_rise(run([1.0, 0.0, 0.5]), of="train_loss") == 0.5
    assert series.largest_rise(run([1.0, 5.0], outcome="divergent"), of="train_loss", over="foot") is None
    over_the_end = (twice.loss.max() - twice.loss[-1]) / twice.loss[-1]  # wrong on purpose: the smallest value of all
    assert abs(over_the_end - 3.0) > 1
    with pytest.raises(ValueError, match="over must be start or foot; got 'end'"):
        series.largest_rise(SPIKE, of="bulk_loss", over="end")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("metric", ["peak_over_start", "end_over_start", "largest_rise"])
def test_ratios_without_a_value(metric):
    measure = getattr(series, metric)
    assert measure(run([0.0, 1.0]), of="train_loss") is None
    assert measure(run([1.0, np.inf]), of="train_loss") is None
    cut_off = measure(run([1.0, 5.0], outcome="divergent"), of="train_loss")
    assert cut_off == 5.0 if metric == "end_over_start" else cut_off is None
    with pytest.raises(ValueError, match=f"{metric} needs the curve 'bulk_loss'"):
        measure(run([1.0, 0.5]), of="bulk_loss")


def test_top_share_of_spike():
    # from the loss 5 at record 1 to 42 at record 2: the top rises by 39 and the rest falls by 2
    assert series.top_share_of_spike(SPIKE) == 39 / 37
    outside = spiking(top=[1.0, 1.0, 2.0], bulk=[1.0, 0.5, 10.0])
    assert series.top_share_of_spike(outside) == pytest.approx(1 / 10.5, rel=1e-12)
    # a later spike that stays below the initial loss
    late = spiking(top=[50.0, 1.0, 4.0, 0.1], bulk=[50.0, 1.0, 2.0, 0.1])
    assert series.top_share_of_spike(late) == 3 / 4
    from_the_start = (late.curves["top_loss"][2] - 50) / (late.loss[2] - 100)  # wrong on purpose
    assert abs(from_the_start - 3 / 4) > 0.1
    of_the_loss = SPIKE.curves["top_loss"][2] / SPIKE.loss[2]  # wrong on purpose: share of the loss, not of its rise
    assert abs(of_the_loss - 39 / 37) > 0.05


def test_no_spike_has_no_share():
    assert series.top_share_of_spike(spiking(top=[2.0, 1.0, 0.5], bulk=[3.0, 2.0, 1.0])) is None
    assert series.top_share_of_spike(spiking(top=[1.0, 1.009], bulk=[1.0, 1.009])) is None
    assert series.top_share_of_spike(spiking(top=[1.0, 1.02], bulk=[1.0, 1.02])) == pytest.approx(0.5, rel=1e-9)
    assert series.top_share_of_spike(spiking(top=[1.0, 90.0], bulk=[1.0, 1.0], outcome="divergent")) is None


def test_boundary():
    assert series.boundary(run([1.0])) is None
    assert series.boundary(run([1.0], bracket=(1.98, 2.02))) == pytest.approx(2.0, rel=1e-15)


# -- the recursion against runs that know nothing of it ---------------------------------------------------------------

TOLERANCE = 1e-10  # rounding of 200 float64 steps, amplified by the growth before a catapult


def linear_network_run(eta_lambda: float, scale: int, steps: int = 200) -> Series:
    """Gradient descent on f = v . U x / sqrt(m d), one example, written out; loss (scale/2)(f - y)^2."""
    width, dim, y = 50, 4, 0.7
    rng = np.random.default_rng(5)
    u, v, x = rng.standard_normal((width, dim)), rng.standard_normal(width), rng.standard_normal(dim)
    factor = 1 / math.sqrt(width * dim)
    outputs, kernels, losses = [], [], []
    rate = eta_lambda / (scale * factor**2 * (np.sum((u @ x) ** 2) + v @ v * (x @ x)))
    for _ in range(steps + 1):
        g = factor * v @ (u @ x)
        outputs.append(g)
        kernels.append(factor**2 * (np.sum((u @ x) ** 2) + v @ v * (x @ x)))
        losses.append(scale / 2 * (g - y) ** 2)
        slope = scale * (g - y) * factor
        u, v = u - rate * slope * np.outer(v, x), v - rate * slope * (u @ x)
    info = {"x_norm2": float(x @ x), "width": width, "dim": dim, "target": y, "per_kernel": float(scale)}
    curves = {"output": np.array(outputs), "tangent_kernel_norm": np.array(kernels)}
    return run(losses, rate=float(rate), curves=curves, info=info, n=1)


@pytest.mark.parametrize("scale", [1, 2], ids=["half_sse", "mse"])
@pytest.mark.parametrize("eta_lambda", [0.5, 1.5, 2.5, 3.5])
@pytest.mark.parametrize("of", ["output", "kernel"])
def test_recursion_error(eta_lambda, scale, of):
    trained = linear_network_run(eta_lambda, scale)
    error = series.recursion_error(trained, of=of)
    assert error is not None and error < TOLERANCE
    wrong = [{"per_kernel": scale * 1.01}, {"width": 51}, {"x_norm2": 1.02 * trained.info["x_norm2"]}, {"target": 0.71}]
    for change in wrong:
        shifted = series.recursion_error(dataclasses.replace(trained, info={**trained.info, **change}), of=of)
        assert shifted is None or shifted > 1e4 * TOLERANCE


@pytest.mark.parametrize("of", ["output", "kernel"])
def test_recursion_error_is_relative_to_the_largest_value(of):
    trained = linear_network_run(0.5, 1)
    label = "output" if of == "output" else "tangent_kernel_norm"
    curve = trained.curves[label].copy()
    scale = np.abs(curve - 0.7 if of == "output" else curve).max()
    curve[50] += 0.01 * scale
    error = series.recursion_error(dataclasses.replace(trained, curves={**trained.curves, label: curve}), of=of)
    assert error == pytest.approx(0.01, rel=1e-6)


def test_recursion_error_of_a_run_that_diverges():
    with np.errstate(all="ignore"):
        trained = linear_network_run(8.0, 1)
    assert not np.isfinite(trained.loss).all()
    assert series.recursion_error(trained) is None


def test_recursion_error_needs_every_step():
    trained = linear_network_run(0.5, 1)
    sparse = {label: curve[::2] for label, curve in trained.curves.items()}
    with pytest.raises(ValueError, match="record.every to 1"):
        series.recursion_error(dataclasses.replace(trained, curves=sparse, record_steps=trained.record_steps[::2]))
    with pytest.raises(ValueError, match="needs x_norm2, width, dim, target, per_kernel"):
        series.recursion_error(dataclasses.replace(trained, info={}))
    with pytest.raises(ValueError, match="of must be output or kernel"):
        series.recursion_error(trained, of="loss")  # pyright: ignore[reportArgumentType]


# -- the registry -----------------------------------------------------------------------------------------------------

SERIES_METRICS = [name for name, entry in registry.METRICS.items() if entry.at == ("series",)]


@pytest.mark.parametrize("name", SERIES_METRICS)
def test_the_curves_declared_are_the_curves_needed(name):
    entry = registry.METRICS[name]
    full = linear_network_run(0.5, 1)
    batch = {label: np.full(200, 1e-6) for label in BATCH_CURVES}  # the rate is above critical, or none has a share
    rising = np.linspace(1e-3, 2e-3, 201)  # for the curves that no recursion knows
    known = full.curves | {label: rising for label in entry.needs if label not in full.curves and label not in batch}
    declared = dataclasses.replace(
        full,
        curves={label: curve for label, curve in known.items() if label in entry.needs},
        batch={label: curve for label, curve in batch.items() if label in entry.needs},
        bracket=(1.0, 2.0),
    )
    options = {"target": 0.1} if name == "work_to_target" else {entry.of: "train_loss"} if entry.of else {}
    assert isinstance(entry.load()(declared, **options), float)
    for label in entry.needs:
        less = {
            field: {k: v for k, v in getattr(declared, field).items() if k != label} for field in ("curves", "batch")
        }
        with pytest.raises(ValueError, match=label):
            entry.load()(dataclasses.replace(declared, **less), **options)
