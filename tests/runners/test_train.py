"""The compiled runner against plain loops in numpy: the same losses at every step, whatever runs side by side."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from tangentbench import models
from tangentbench.models import kernels
from tangentbench.runners import build, methods, train
from tangentbench.runners.compiled import Compiled
from tangentbench.runners.train import Trainer
from tangentbench.tasks import registry, streams
from tangentbench.tasks.metrics import rules, state

from .tiny import MODEL, Two, largest, metric, outcomes, part, reference, tiny_cell

TOLERANCE = 1e-10  # float64, twelve steps; relative to the largest number of the run, which a catapult amplifies
CRITICAL = 1e-9  # Lanczos ends at a relative residual of 1e-5, and the error of an eigenvalue goes like its square
STEPS = 12


@pytest.fixture(scope="module")
def compiled():
    """Measurements at both ends are compiled once for all methods."""
    return Compiled()


def method(name, rate: float | dict[str, float] = 0.05, **options):
    return part("method", name, learning_rate=rate if isinstance(rate, dict) else {"value": rate}, **options)


def stop(steps=STEPS, train_loss=None, relative_loss=None):
    return {"steps": steps, "train_loss": train_loss, "relative_loss": relative_loss}


def deviation(outcome, account, two):
    """Largest difference of the stored loss curve, of the final test loss and of the distance travelled."""
    last = account.weights[-1]
    found = [*outcome.arrays["loss"], outcome.scalars["test_loss"], outcome.scalars["parameter_distance"]]
    steps = outcome.arrays["loss_steps"]
    wanted = [*account.loss[steps], two.test_loss(last), np.linalg.norm(last - two.start)]
    return np.max(np.abs(np.subtract(found, wanted))) / max(1, *wanted)


# -- update rules -----------------------------------------------------------------------------------------------------


def gd(eta):
    return lambda t, w, g: w - eta * g


def momentum(eta, mu, ahead=False):
    velocity = [0.0]

    def step(t, w, g):
        velocity[0] = mu * velocity[0] + g
        return w - eta * (g + mu * velocity[0] if ahead else velocity[0])

    return step


def adam(eta, b1, b2, eps, decay=0.0):
    m, v = [0.0], [0.0]

    def step(t, w, g):
        m[0] = b1 * m[0] + (1 - b1) * g
        v[0] = b2 * v[0] + (1 - b2) * g**2
        ahead = m[0] / (1 - b1 ** (t + 1)) / (np.sqrt(v[0] / (1 - b2 ** (t + 1))) + eps)
        return w - eta * (ahead + decay * w)

    return step


def nadam(eta, b1, b2, eps):
    m, v = [0.0], [0.0]

    def step(t, w, g):
        m[0] = b1 * m[0] + (1 - b1) * g
        v[0] = b2 * v[0] + (1 - b2) * g**2
        ahead = b1 * m[0] / (1 - b1 ** (t + 2)) + (1 - b1) * g / (1 - b1 ** (t + 1))
        return w - eta * ahead / (np.sqrt(v[0] / (1 - b2 ** (t + 1))) + eps)

    return step


def rmsprop(eta, decay, eps):
    v = [0.0]

    def step(t, w, g):
        v[0] = decay * v[0] + (1 - decay) * g**2
        return w - eta * g / np.sqrt(v[0] + eps)

    return step


def adagrad(eta, start, eps):
    total = [start]

    def step(t, w, g):
        total[0] = total[0] + g**2
        return w - eta * g / np.sqrt(total[0] + eps)

    return step


def lion(eta, b1, b2, decay):
    m = [0.0]

    def step(t, w, g):
        direction = np.sign(b1 * m[0] + (1 - b1) * g)
        m[0] = b2 * m[0] + (1 - b2) * g
        return w - eta * (direction + decay * w)

    return step


RULES = {
    "gd": (method("gd", 0.3), lambda: gd(0.3)),
    "momentum": (method("momentum", momentum=0.8), lambda: momentum(0.05, 0.8)),
    "nesterov": (method("nesterov", momentum=0.8), lambda: momentum(0.05, 0.8, ahead=True)),
    "adam": (method("adam", b1=0.8, b2=0.95, eps=1e-3), lambda: adam(0.05, 0.8, 0.95, 1e-3)),
    "adamw": (method("adamw", weight_decay=0.3), lambda: adam(0.05, 0.9, 0.999, 1e-8, 0.3)),
    "nadam": (method("nadam", b1=0.8, b2=0.95, eps=1e-3), lambda: nadam(0.05, 0.8, 0.95, 1e-3)),
    "rmsprop": (method("rmsprop", decay=0.8, eps=1e-3), lambda: rmsprop(0.05, 0.8, 1e-3)),
    "adagrad": (method("adagrad", initial_accumulator_value=0.2), lambda: adagrad(0.05, 0.2, 1e-7)),
    "lion": (method("lion", weight_decay=0.1), lambda: lion(0.05, 0.9, 0.99, 0.1)),
}


@pytest.mark.parametrize("name", RULES)
def test_every_method_follows_its_published_rule(name, compiled):
    spec, rule = RULES[name]
    cell = tiny_cell(method=spec)
    two = Two(cell, 0)
    (found,) = outcomes(cell, compiled=compiled)
    assert deviation(found, reference(two, rule(), STEPS), two) < TOLERANCE
    assert found.work == 6 * STEPS and found.steps == STEPS


def test_a_dropped_momentum_is_noticed(monkeypatch, compiled):
    monkeypatch.setattr(methods, "momentum", lambda rate, momentum: optax.sgd(rate))
    spec, rule = RULES["momentum"]
    cell = tiny_cell(method=spec, record={"every": 4})  # another schedule, so that the right program is not reused
    two = Two(cell, 0)
    (found,) = outcomes(cell, compiled=compiled)
    assert deviation(found, reference(two, rule(), STEPS), two) > 1e-3


def test_nesterovs_look_ahead_is_told_from_adam(compiled):
    cell = tiny_cell(method=RULES["nadam"][0])
    two = Two(cell, 0)
    (found,) = outcomes(cell, compiled=compiled)
    assert deviation(found, reference(two, adam(0.05, 0.8, 0.95, 1e-3), STEPS), two) > 1e-3


def test_all_methods_are_compared():
    assert set(registry.table("method")) == {*RULES, "sgd", "catapult_gd"}


SGD = tiny_cell(method=method("sgd", 0.2, batch_size=4))


def rows_of(cell, seed, shift=0):
    """Rows of every mini-batch [STEPS, size]; the order itself is tested in `test_build`."""
    key = streams.jax_key(cell.stream, "order", seed)
    order = build.batch_order(key, jax.numpy.asarray(0), STEPS + shift, 6, cell.method["batch_size"])
    return np.asarray(order)[shift:]


def sgd_account(cell, seed, shift=0):
    two, order = Two(cell, seed), rows_of(cell, seed, shift)
    return two, reference(two, gd(0.2), STEPS, rows=lambda t: order[t])


def test_mini_batches_come_in_their_order(compiled):
    two, account = sgd_account(SGD, 0)
    (found,) = outcomes(SGD, compiled=compiled)
    assert deviation(found, account, two) < TOLERANCE
    assert list(found.arrays["loss_steps"]) == [0, 3, 6, 9, 12]  # the full loss costs a pass over the data
    assert found.work == 4 * STEPS
    two, late = sgd_account(SGD, 0, shift=1)
    assert deviation(found, late, two) > 1e-3


def test_an_order_that_is_off_by_one_is_noticed(monkeypatch, compiled):
    two, account = sgd_account(SGD, 0)
    right = build.batch_order
    monkeypatch.setattr(build, "batch_order", lambda key, start, *rest: right(key, start + 1, *rest))
    (found,) = outcomes(SGD.model_copy(update={"record": {"every": 4}}), compiled=compiled)
    assert deviation(found, account, two) > 1e-3


def test_a_batch_as_large_as_the_data_is_gradient_descent(compiled):
    (small,) = outcomes(tiny_cell(method=method("sgd", 0.3, batch_size=6)), compiled=compiled)
    (full,) = outcomes(tiny_cell(), compiled=compiled)
    assert np.array_equal(small.arrays["loss"], full.arrays["loss"])


def test_catapult_gd_is_raised_to_the_kernels_rate_at_its_period(compiled):
    spec = {"period": 4, "raises": 2, "multiple": 1.2}
    options = [spec, {**spec, "raises": 1}, {**spec, "multiple": 0.8}]
    steps = 14  # a third raise, at 12, must not come
    cells = [
        tiny_cell(
            method=method("catapult_gd", 0.1, **each),
            stop=stop(steps),
            record={"every": 2},
            metrics=[
                *tiny_cell().metrics,
                metric("sgd_catapults"),
                metric("work_to_target", target=0.15),
                metric("work_to_target", label="lower", target=0.06),
            ],
        )
        for each in options
    ]
    two = Two(cells[0], 0)
    for each, found in zip(options, outcomes(cells, compiled=compiled), strict=True):
        rates = [0.1]

        def step(t, w, g, each=each, rates=rates):
            if t and t % 4 == 0 and t // 4 <= each["raises"]:
                rates.append(each["multiple"] * two.critical(w))
            else:
                rates.append(rates[-1])
            return w - rates[-1] * g

        account = reference(two, step, steps)
        assert deviation(found, account, two) < TOLERANCE
        assert found.work == 6 * (steps + each["raises"])
        for label, target in (("work_to_target", 0.15), ("lower", 0.06)):
            hit = int(np.argmax(account.loss <= target))
            assert account.loss[hit] <= target < account.loss[0] and hit > 4
            # 6 examples per step, and 6 evaluations more at step 4 and, with two raises, at step 8
            raises = sum(4 * k < hit for k in range(1, each["raises"] + 1))
            assert found.scalars[label] == 6 * (hit + raises)
        critical = np.array([two.critical(w) for w in account.weights[:-1]])
        count = rules.count_catapults_sgd(account.loss[:-1], account.loss[1:], critical, np.array(rates[1:]))
        assert found.scalars["sgd_catapults"] == count


def test_the_curves_of_each_batch(compiled):
    cell = SGD.model_copy(update={"metrics": [*SGD.metrics, metric("sgd_catapults"), metric("batch_top_rises")]})
    (two, account), order = sgd_account(cell, 0), rows_of(cell, 0)
    (found,) = outcomes(cell, compiled=compiled)
    second = []
    for t, (before, after) in enumerate(zip(account.weights[:-1], account.weights[1:], strict=True)):
        assert found.arrays["batch_loss_before"][t] == pytest.approx(two.loss(before, order[t]), abs=TOLERANCE)
        assert found.arrays["batch_loss_after"][t] == pytest.approx(two.loss(after, order[t]), abs=TOLERANCE)
        assert found.arrays["batch_critical_rate"][t] == pytest.approx(two.critical(before, order[t]), rel=TOLERANCE)
        _, vectors = np.linalg.eigh(two.kernel(before, order[t]))
        for end, weights in (("before", before), ("after", after)):  # at both along the kernel's vector at the first
            parts = (vectors.T @ (two.output(weights, two.x[order[t]]) - two.y[order[t]]).ravel()) ** 2 / 4
            assert found.arrays[f"batch_top_{end}"][t] == pytest.approx(parts[-1], abs=TOLERANCE)
            second.append(abs(parts[-2] - parts[-1]))  # wrong on purpose: another eigenvector
    assert len(found.arrays["batch_loss_before"]) == len(found.arrays["batch_top_after"]) == STEPS
    assert min(second) > 1e3 * TOLERANCE


def test_a_curve_that_nothing_needs_is_not_kept(compiled):
    cell = SGD.model_copy(update={"metrics": [*SGD.metrics, metric("sgd_catapults")]})
    (found,) = outcomes(cell, compiled=compiled)
    assert "batch_loss_after" in found.arrays and "batch_top_after" not in found.arrays


def test_a_schedule_scales_every_step(compiled):
    cell = tiny_cell(method=method("gd", 0.3, schedule={"name": "warmup_cosine", "warmup_steps": 4, "alpha": 0.1}))

    def factor(t):
        return t / 4 if t < 4 else 0.1 + 0.9 * (1 + np.cos(np.pi * (t - 4) / (STEPS - 4))) / 2

    two = Two(cell, 0)
    (found,) = outcomes(cell, compiled=compiled)
    account = reference(two, lambda t, w, g: w - 0.3 * factor(t) * g, STEPS)
    assert deviation(found, account, two) < TOLERANCE


# -- lanes, groups and chunks -----------------------------------------------------------------------------------------


def same(a, b, tolerance=0.0):
    """Whether two outcomes agree in all that is stored of them."""
    assert (a.outcome, a.steps, a.work, a.scalars.keys()) == (b.outcome, b.steps, b.work, b.scalars.keys())
    assert a.arrays.keys() == b.arrays.keys()
    for name in a.arrays:
        np.testing.assert_allclose(a.arrays[name], b.arrays[name], rtol=0, atol=tolerance)
    for name in a.scalars:
        assert a.scalars[name] == pytest.approx(b.scalars[name], rel=0, abs=tolerance)
    return True


RATED = [tiny_cell(method=method("gd", rate), stop=stop(10, relative_loss=0.2)) for rate in (0.05, 0.6, 0.9)]


@pytest.fixture(scope="module")
def alone(compiled):
    """Three rates, each trained by itself."""
    return [outcomes(cell, compiled=compiled)[0] for cell in RATED]


def test_lanes_that_run_side_by_side_do_not_meet(compiled, alone):
    together = outcomes(RATED, compiled=compiled)
    assert len({found.steps for found in together}) > 1  # one stops while another goes on
    for one, found in zip(alone, together, strict=True):
        assert same(one, found, 1e-12)


def test_a_group_that_is_filled_up_gives_its_own_lanes_only(compiled, alone, monkeypatch):
    monkeypatch.setattr(train, "lane_width", lambda *args, **rest: 2)
    grouped = outcomes(RATED, compiled=compiled)
    assert [found.cell for found in grouped] == RATED
    for one, found in zip(alone, grouped, strict=True):
        assert same(one, found, 1e-12)


def test_the_working_set_decides_the_width(compiled, alone):
    with jax.enable_x64(True):
        program = train.Program(RATED[0], build.dataset(RATED[0], 0))
        lane = program.lane(RATED[0], 0)
    assert train.lane_width(program, lane, 7, working_set=1) == 1
    assert train.lane_width(program, lane, 7, working_set=2**30) == 7
    widths = {train.lane_width(program, lane, 7, working_set=size) for size in range(100, 20_000, 50)}
    assert widths == {1, 2, 3, 4, 7}  # 5 + 2 and 6 + 1 would pad more than 4 + 3
    for one, found in zip(alone, outcomes(RATED, compiled=compiled, working_set=1), strict=True):
        assert same(one, found)


@pytest.mark.parametrize(("chunks", "flops"), [(1, 1e12), (100, 1e12), (1, 1.0)])
def test_the_length_of_a_chunk_changes_nothing(compiled, alone, monkeypatch, chunks, flops):
    monkeypatch.setattr(train, "CHUNKS", chunks)
    monkeypatch.setattr(train, "CHUNK_FLOPS", flops)
    for one, found in zip(alone, outcomes(RATED, compiled=compiled), strict=True):
        assert same(one, found, 1e-15)


def test_mini_batches_do_not_depend_on_chunks(compiled, monkeypatch):
    (before,) = outcomes(SGD, compiled=compiled)
    monkeypatch.setattr(train, "CHUNKS", 1)
    (after,) = outcomes(SGD, compiled=compiled)
    assert same(before, after, 1e-15)


# -- stopping ---------------------------------------------------------------------------------------------------------


def test_a_run_stops_where_the_loop_stops(compiled, alone):
    two = Two(RATED[0], 0)
    for cell, found in zip(RATED, alone, strict=True):
        target = 0.2 * two.loss(two.start)
        account = reference(two, gd(cell.method["learning_rate"]["value"]), 10, target=target)
        assert found.steps == len(account.loss) - 1
        assert deviation(found, account, two) < TOLERANCE
        assert (found.outcome == "monotone") == (account.loss[-1] <= target)
        records = found.arrays["record_steps"]
        assert list(records) == [*range(0, found.steps, 3), found.steps]
        np.testing.assert_allclose(found.arrays["train_loss"], account.loss[records], atol=TOLERANCE)


@pytest.mark.parametrize("every", [5, 3])
def test_the_state_after_the_last_step_counts(every, compiled):
    two = Two(tiny_cell(), 0)
    last, target = reference(two, gd(0.3), 10).loss[-2:]
    assert last > target
    cell = tiny_cell(stop=stop(10, train_loss=target * (1 + 1e-9)), record={"every": every})
    (found,) = outcomes(cell, compiled=compiled)
    assert (found.outcome, found.steps) == ("monotone", 10)


def test_mini_batches_stop_at_a_record(compiled):
    cell = SGD.model_copy(update={"stop": stop(STEPS, relative_loss=0.5)})
    two, full = sgd_account(cell, 0)
    expected = next(t for t in range(0, STEPS + 1, 3) if full.loss[t] <= 0.5 * full.loss[0])
    (found,) = outcomes(cell, compiled=compiled)
    assert 0 < found.steps == expected < STEPS
    np.testing.assert_allclose(found.arrays["loss"], full.loss[found.arrays["loss_steps"]], atol=TOLERANCE)


LINEAR = part("model", "wide", expansion="linear", **MODEL)


def linear_loss(cell, seed, rate, steps):
    """Losses of the linear model by its closed recursion f ← f − η (2/n) K (f − y)."""
    two = Two(cell, seed)
    kernel, f = two.kernel(two.start), two.output(two.start, two.x)
    losses = []
    for _ in range(steps + 1):
        losses.append(np.mean((f - two.y) ** 2))
        f = f - rate * 2 / len(f) * kernel @ (f - two.y)
    return np.array(losses)


def test_a_divergent_run_is_frozen_at_the_limit(compiled):
    cell = tiny_cell(model=LINEAR, method=method("gd", {"critical": 3.0}), stop=stop(40))
    two = Two(cell, 0)
    rate = 3.0 * 2 / largest(two.hessian(two.start))  # the network's, also for its expansion
    loss = linear_loss(cell, 0, rate, 40)
    limit = 1000 * MODEL["width"] * max(loss[0], np.mean(two.y**2))
    expected = int(np.argmax(loss > limit))
    (found,) = outcomes(cell, compiled=compiled)
    assert 0 < expected < 40
    assert (found.outcome, found.steps, found.work) == ("divergent", expected, 6 * expected)
    np.testing.assert_allclose(found.arrays["loss"], loss[: expected + 1], rtol=1e-7)  # grows with the rate's error


def test_a_loss_that_is_not_finite_is_an_outcome_and_no_number(compiled):
    spec = {**method("gd"), "learning_rate": {"value": 1e200}}  # more than a task file may ask for
    (found,) = outcomes(tiny_cell(method=spec), compiled=compiled)
    assert (found.outcome, found.steps) == ("divergent", 1)
    assert found.scalars == {"train_loss": None, "test_loss": None, "parameter_distance": None}
    assert len(found.arrays["loss"]) == 2 and not np.isfinite(found.arrays["loss"][1])


def test_a_run_that_starts_at_its_target_takes_no_step(compiled):
    (found,) = outcomes(tiny_cell(stop=stop(train_loss=1e3)), compiled=compiled)
    assert (found.steps, found.work, found.outcome) == (0, 0, "monotone")
    assert len(found.arrays["loss"]) == 1 and found.scalars["parameter_distance"] == 0


# -- rates and measurements -------------------------------------------------------------------------------------------

THREE = part("dataset", "gaussian_mixture", dim=4, classes=3, train=6, test=4)


@pytest.mark.parametrize(
    ("data", "expansion"), [("one output", None), ("three outputs", None), ("one output", "quadratic")]
)
def test_the_critical_rate_is_the_dense_hessians(data, expansion, compiled):
    changes = {"dataset": THREE} if data == "three outputs" else {}
    model = part("model", "wide", expansion=expansion, **MODEL)
    cell = tiny_cell(model=model, method=method("gd", {"critical": 0.7}), **changes)
    two = Two(cell, 0)
    assert two.c == (3 if changes else 1)
    with jax.enable_x64(True):
        _, began = Trainer(cell, 0, compiled).begin(cell, 0)
    top = largest(two.hessian(two.start))
    assert train._rate(cell, began) == pytest.approx(0.7 * 2 / top, rel=CRITICAL)
    assert abs(top * two.critical(two.start) / 2 - 1) > 1e-3  # the kernel's eigenvalue would be noticed


BOTH = {"critical": 0.5, "second_critical": 0.7}


@pytest.mark.parametrize("expansion", [None, "quadratic"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_rate_of_two_units_is_the_dense_hessians(seed, expansion, compiled):
    model = part("model", "wide", expansion=expansion, **MODEL)
    cell = tiny_cell(model=model, method=method("gd", BOTH))
    with jax.enable_x64(True):
        _, began = Trainer(cell, seed, compiled).begin(cell, seed)
    two = Two(cell, seed)
    third, second, first = np.linalg.eigvalsh(two.hessian(two.start))[-3:]
    scale, (*_, next_, top) = 2 / len(two.x), np.linalg.eigvalsh(two.kernel(two.start))
    rate = train._rate(cell, began)
    assert rate == pytest.approx(0.5 * 2 / first + 0.7 * 2 / second, rel=CRITICAL)
    for a, b in ((first, first), (second, second), (second, first), (first, third), (scale * top, scale * next_)):
        assert rate != pytest.approx(0.5 * 2 / a + 0.7 * 2 / b, rel=1e-3)
    assert rate != pytest.approx(1.2 * 2 * 2 / (first + second), rel=1e-3)  # the rates are added, not the eigenvalues


def test_a_rate_of_two_units_trains_and_is_certified(compiled):
    rates = [BOTH, {"critical": 1.3, "second_critical": 0}]
    seeds, cells = (0, 1), [tiny_cell(method=method("gd", rate)) for rate in rates]
    found = outcomes(cells, seeds, compiled=compiled)  # one batch: both rates, both seeds
    for (rate, seed), one in zip([(rate, seed) for rate in rates for seed in seeds], found, strict=True):
        two = Two(cells[0], seed)
        second, first = np.linalg.eigvalsh(two.hessian(two.start))[-2:]
        absolute = rate["critical"] * 2 / first + rate["second_critical"] * 2 / second
        account = reference(two, gd(absolute), STEPS)
        np.testing.assert_allclose(one.arrays["loss"], account.loss, rtol=CRITICAL)
        assert 0 <= one.certificates["learning_rate.critical.residual"] < 1e-4
    (single,) = outcomes(tiny_cell(method=method("gd", {"critical": 1.3})), compiled=compiled)
    assert same(single, found[2], CRITICAL)


def began_with(tops, residuals):
    return {"hessian_top": (np.array(tops), np.array(residuals))}


def test_the_worse_of_two_certificates_counts(monkeypatch):
    monkeypatch.setattr(
        build.kernels, "top_of", lambda *_: kernels.Eigenpairs(*map(np.array, ([4.0, 2.0], [], [0.4, 0.1])))
    )
    (found,) = outcomes(tiny_cell(method=method("gd", BOTH)))
    assert found.certificates["learning_rate.critical.residual"] == pytest.approx(0.1)  # of [0.1, 0.05]


@pytest.mark.parametrize(
    ("rate", "tops", "expected"),
    [
        ({"critical": 0.5}, [0.0], "no positive eigenvalue (0), hence no critical rate"),
        (BOTH, [-1.0, -2.0], "no positive eigenvalue (-1), hence no critical rate"),
        (BOTH, [1.0, -2.0], "no second positive eigenvalue (-2), hence no second critical rate"),
        (BOTH, [1.0, float("nan")], "no second positive eigenvalue (nan), hence no second critical rate"),
    ],
)
def test_a_rate_needs_the_eigenvalues_that_it_is_given_in(rate, tops, expected):
    cell = tiny_cell(method=method("gd", rate))
    assert train._problem(cell, began_with(tops, tops)) == f"the loss Hessian at initialisation has {expected}"
    assert train._problem(cell, began_with([2.0, 1.0][: len(tops)], tops)) == ""


def test_the_hessian_by_hand_is_the_gradients_derivative():
    two, h = Two(tiny_cell(dataset=THREE), 0), 1e-6
    w = two.start
    for matrix, function in ((two.hessian(w), two.gradient), (two.gradient(w), two.loss)):
        differences = [(np.array(function(w + e)) - function(w - e)) / (2 * h) for e in h * np.eye(w.size)]
        np.testing.assert_allclose(matrix, differences, atol=1e-8)


def test_critical_units_are_a_rate(compiled):
    two = Two(tiny_cell(), 0)
    (critical,) = outcomes(tiny_cell(method=method("gd", {"critical": 0.7})), compiled=compiled)
    absolute = tiny_cell(method=method("gd", 0.7 * 2 / largest(two.hessian(two.start))))
    (found,) = outcomes(absolute, compiled=compiled)
    assert same(critical, found, CRITICAL)
    assert 0 <= critical.certificates["learning_rate.critical.residual"] < 1e-4
    assert not any(key.startswith("learning_rate") for key in found.certificates)


def test_a_difference_is_kept_with_the_size_of_its_terms(monkeypatch):
    monkeypatch.setattr(state, "test_loss", lambda ctx, model: kernels.Difference(0.25, 0.5, 2.0))
    moments = ("start", "schedule", "end")
    (found,) = outcomes(tiny_cell(metrics=[metric("test_loss", at, at) for at in moments]))
    assert found.scalars == dict.fromkeys(moments, 0.25)
    assert found.certificates == {
        f"{at}.{kind}": value for at in moments for kind, value in (("residual", 0.5), ("scale", 2.0))
    }
    assert found.arrays["schedule"].tolist() == [0.25] * 5


def test_metrics_of_all_moments_become_scalars_with_certificates(compiled):
    listed = [
        metric("critical_rate"),
        metric("tangent_kernel_norm", "end", "kernel_after"),
        metric("tangent_kernel_norm", "schedule", "kernel_curve"),
        metric("kernel_change"),
        metric("initial_loss"),
        metric("peak_loss"),
        metric("work_to_target", target=0.2),
        metric("work_to_target", label="never", target=1e-9),
        metric("steps_to_stop"),
    ]
    cell = tiny_cell(metrics=listed)
    two = Two(cell, 0)
    account = reference(two, gd(0.3), STEPS)
    (found,) = outcomes(cell, compiled=compiled)
    kernels = [two.kernel(w) for w in account.weights]
    tops = [largest(kernel) for kernel in kernels]
    records = [0, 3, 6, 9, 12]
    change = max(np.linalg.norm(kernels[t] - kernels[0]) / np.linalg.norm(kernels[0]) for t in records)
    expected = {
        "critical_rate": 2 / largest(two.hessian(two.start)),
        "kernel_after": tops[-1],
        "kernel_curve": tops[-1],
        "kernel_change": change,
        "initial_loss": account.loss[0],
        "peak_loss": max(account.loss),
        "work_to_target": 6.0 * int(np.argmax(account.loss <= 0.2)),
    }
    assert {found.scalars.pop("never"), found.scalars.pop("steps_to_stop")} == {None}
    assert found.scalars == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(found.arrays["kernel_curve"], [tops[t] for t in records], rtol=1e-9)
    certified = {key.removesuffix(".residual") for key in found.certificates}
    assert certified == {"critical_rate", "kernel_after", "kernel_curve"}
    assert all(0 <= residual < 1e-4 for residual in found.certificates.values())


def test_a_curve_is_reduced_as_its_metric_says(compiled):
    """The largest and the smallest record are in the middle of a run that swings; the others keep their last."""
    reduced = {"kernel_change": max, "average_gradient_norm": min, "pl_constant": min, "train_loss": lambda c: c[-1]}
    swinging = method("momentum", 1.0, momentum=0.9)
    listed = [metric(name, "schedule") for name in reduced]
    (found,) = outcomes(tiny_cell(method=swinging, record={"every": 1}, metrics=listed), compiled=compiled)
    for name, how in reduced.items():
        curve = found.arrays[name]
        assert found.scalars[name] == pytest.approx(how(curve.tolist()), rel=1e-6), name
        wrong = [*{max(curve), min(curve), curve[-1], curve[0]} - {how(curve.tolist())}]
        assert len(wrong) >= 2 and all(abs(value / found.scalars[name] - 1) > 0.01 for value in wrong)


def test_without_steps_only_the_start_is_measured(compiled):
    cells = tiny_cell(stop=stop(0), metrics=[metric("critical_rate")], method=part("method", "gd", learning_rate=1.0))
    for seed, found in enumerate(outcomes(cells, (0, 1), compiled=compiled)):
        assert (found.seed, found.outcome, found.steps, found.work, found.arrays) == (seed, None, 0, 0, {})
        two = Two(cells, seed)
        assert found.scalars["critical_rate"] == pytest.approx(2 / largest(two.hessian(two.start)), rel=CRITICAL)


def lane_of(cell, seed, compiled):
    with jax.enable_x64(True):
        return Trainer(cell, seed, compiled).begin(cell, seed)[0]


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_runs_that_are_compared_start_alike(compiled):
    first = lane_of(tiny_cell(), 3, compiled)
    for changes in (
        {"method": method("adam", 0.01)},
        {"method": method("sgd", 0.5, batch_size=2)},
        {"model": LINEAR},
        {"task": "another/name", "role": "score", "version": 7},
    ):
        other = lane_of(tiny_cell(**changes), 3, compiled)
        assert equal((first.origin, first.data, first.order, first.metric), (
            other.base_params if "model" in changes else other.origin, other.data, other.order, other.metric,
        ))  # fmt: skip
    for other in (lane_of(tiny_cell(), 4, compiled), lane_of(tiny_cell(stream=901), 3, compiled)):
        for part_ in ("origin", "data", "order", "metric"):
            assert not equal(getattr(first, part_), getattr(other, part_))


def test_an_expansion_starts_at_its_network_and_keeps_its_origin(compiled):
    two = Two(tiny_cell(), 0)
    cell = tiny_cell(model=LINEAR, method=method("gd", 0.3))
    (found,) = outcomes(cell, compiled=compiled)
    np.testing.assert_allclose(found.arrays["loss"], linear_loss(cell, 0, 0.3, STEPS), atol=TOLERANCE)
    (network,) = outcomes(tiny_cell(), compiled=compiled)
    assert found.arrays["loss"][0] == pytest.approx(two.loss(two.start), abs=TOLERANCE)
    assert abs(found.arrays["loss"][-1] - network.arrays["loss"][-1]) > 1e-4


# -- bisection --------------------------------------------------------------------------------------------------------


def bisect(low, high):
    along = "method.learning_rate.critical"
    return {"along": along, "between": [low, high], "tolerance": 0.004, "leaves": ["monotone"]}


def bisected(search, **changes):
    single = part("dataset", "single_example", dim=3)
    return tiny_cell(
        **{"dataset": single, "metrics": [metric("boundary")], "record": {"every": 100},
           "stop": stop(1000, relative_loss=0.5), "bisect": search,
           "method": method("gd", {"critical": search["between"][0]}), **changes}
    )  # fmt: skip


def test_a_linear_models_boundary_is_the_critical_rate(compiled):
    # with hardly any curvature the Hessian is the kernel: the boundary lies at 1, whatever the seed
    model = part("model", "general_quadratic", gamma=1e-9)
    for found in outcomes(bisected(bisect(0.5, 1.7), model=model), (0, 1), compiled=compiled):
        assert found.scalars["boundary"] == pytest.approx(1, abs=0.004)
        assert found.certificates["boundary.half_width"] <= 0.002
    for low, high in ((0.3, 0.9), (1.2, 1.7)):
        (nothing,) = outcomes(bisected(bisect(low, high), model=model), compiled=compiled)
        assert nothing.scalars["boundary"] is None
        assert "boundary.half_width" not in nothing.certificates


def test_a_search_keeps_the_second_part_of_the_rate(compiled):
    # with a tenth of 2/lambda_2 added, what is missing to the boundary of one direction is found along the other unit
    cell = bisected(bisect(0.1, 2.0), model=LINEAR, dataset=tiny_cell().dataset, stop=stop(4000, relative_loss=0.9))
    both = cell.model_copy(update={"method": method("gd", {"critical": 0.1, "second_critical": 0.1})})
    for seed in (0, 1):
        (alone,), (added,) = (outcomes(each, (seed,), compiled=compiled) for each in (cell, both))
        two = Two(cell, seed)
        second, first = np.linalg.eigvalsh(two.hessian(two.start))[-2:]
        assert 0.1 * first / second > 0.05
        missing = alone.scalars["boundary"] - added.scalars["boundary"]
        assert missing == pytest.approx(0.1 * first / second, abs=0.008)


def test_an_expansions_boundary_is_in_units_of_its_network(compiled):
    # on one example s = 2 for mse, and L converges below 2/(s K) and nowhere above
    cell = bisected(bisect(0.4, 2.0), model=LINEAR)
    seeds = (0, 1, 2)
    for seed, found in zip(seeds, outcomes(cell, seeds, compiled=compiled), strict=True):
        two = Two(cell, seed)
        expected = largest(two.hessian(two.start)) * two.critical(two.start) / 2
        assert found.scalars["boundary"] == pytest.approx(expected, abs=0.004)
        assert abs(expected - 1) > 0.01


def test_trained_weights_are_the_ones_measured(compiled):
    cell = tiny_cell()
    with jax.enable_x64(True):
        trainer = Trainer(cell, 0, compiled)
        lane, began = trainer.begin(cell, 0)
        lane = train._rated(trainer.program, cell, lane, began)
        (trained,) = trainer.train([lane], 1, lambda fraction: None)
        weights = jax.tree.leaves(models.partition(trainer.program.model(lane, trained.params))[0])
    two = Two(cell, 0)
    last = reference(two, gd(0.3), STEPS).weights[-1]
    np.testing.assert_allclose(np.concatenate([np.ravel(a) for a in weights]), last, atol=TOLERANCE)
    assert equal(lane.origin, trainer.begin(cell, 0)[0].origin)  # the chunk donates its carry, not the lane


# -- searches that go on from the record before -----------------------------------------------------------------------

WARM = {"metrics": [metric("sharpness", "schedule", products=4)], "record": {"every": 1}}


def sharpness_error(outcome, two, account):
    """Largest relative error of a run's curve of the sharpness, the last record left out: it always starts afresh."""
    wanted = [largest(two.hessian(w)) for w in account.weights[:-1]]
    return np.max(np.abs(outcome.arrays["sharpness"][:-1] / wanted - 1)[5:])


def test_the_sharpness_goes_on_from_the_record_before(monkeypatch):
    """Four products per record are enough then, and are not where each record starts afresh."""
    cell = tiny_cell(method=method("gd", 0.02), **WARM)
    two = Two(cell, 0)
    account = reference(two, gd(0.02), STEPS)
    (warm,) = outcomes(cell)

    def forgetful(ctx, model, vectors, **options):
        return state.sharpness_from(ctx, model, 0 * vectors, **options)

    monkeypatch.setattr(build, "resolve", lambda address: forgetful)
    (cold,) = outcomes(cell)
    assert sharpness_error(warm, two, account) < 1e-5
    assert sharpness_error(cold, two, account) > 1e-3


def test_a_warm_search_starts_afresh_now_and_then(monkeypatch):
    """With another eigenvector planted in its memory at every record it would stay; every second one it does not."""
    cell = tiny_cell(method=method("gd", 0.02), **{**WARM, "metrics": [metric("sharpness", "schedule")]})
    two = Two(cell, 0)
    account = reference(two, gd(0.02), STEPS)
    third, second = np.linalg.eigh(two.hessian(two.start))[1][:, -3:-1].T
    asked = []

    def stuck(ctx, model, vectors, **options):
        asked.append(options)
        estimate, _ = state.sharpness_from(ctx, model, vectors, **options)
        return estimate, jax.numpy.stack([jax.numpy.asarray(second), jax.numpy.asarray(third)])

    monkeypatch.setattr(build, "resolve", lambda address: stuck)
    monkeypatch.setattr(build, "FRESH", 2)
    (outcome,) = outcomes(cell)
    errors = np.abs(outcome.arrays["sharpness"][:-1] / [largest(two.hessian(w)) for w in account.weights[:-1]] - 1)
    assert asked
    assert np.max(errors[::2]) < 1e-7


# -- several devices --------------------------------------------------------------------------------------------------

SEVERAL = """
import json, sys
import jax
sys.path.insert(0, sys.argv[1])
from tests.runners.tiny import metric, outcomes, tiny_cell
from tangentbench.runners import train
shown = [device.id for device in jax.local_devices()]
used = set()
place = train._placed


def placed(tree):
    out = place(tree)
    used.update(device.id for leaf in jax.tree.leaves(out) for device in leaf.devices())
    return out


train._placed = placed
cell = tiny_cell(metrics=[metric("train_loss", "schedule"), metric("sharpness", "schedule")])
found = outcomes(cell, range(6))
curves = [{k: v.tolist() for k, v in o.arrays.items()} for o in found]
print(json.dumps({"there": shown, "used": sorted(used), "curves": curves, "seeds": [o.seed for o in found]}))
"""


def test_lanes_are_spread_over_all_devices():
    """Six lanes on four devices, two of them filled up: the numbers of one device, and each device had its share."""

    def run(devices):
        flags = f"--xla_force_host_platform_device_count={devices}"
        environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        root = str(Path(__file__).resolve().parents[2])
        command = [sys.executable, "-c", SEVERAL, root]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    one, four = run(1), run(4)
    assert one["used"] == [0]
    assert four["used"] == four["there"] == [0, 1, 2, 3]
    assert one["seeds"] == four["seeds"] == list(range(6))
    for alone, spread in zip(one["curves"], four["curves"], strict=True):
        assert alone.keys() == spread.keys()
        for name in alone:
            np.testing.assert_allclose(spread[name], alone[name], rtol=1e-9, err_msg=name)
