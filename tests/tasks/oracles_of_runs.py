"""Metrics of a run on planted curves, by plain loops."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tangentbench.tasks.metrics import Series

from .oracles import Case, ask


def run(loss: Any, *, steps: Any = None, rate: Any = 0.1, work: int = 8, **rest: Any) -> Series:
    """A run whose curves are recorded where its loss is."""
    loss = np.asarray(loss, float)
    steps = np.arange(len(loss)) if steps is None else np.asarray(steps)
    curves = {name: np.asarray(curve, float) for name, curve in rest.pop("curves", {}).items()}
    batch = {name: np.asarray(curve, float) for name, curve in rest.pop("batch", {}).items()}
    rates = np.broadcast_to(np.asarray(rate, float), int(steps[-1]))
    base = {"outcome": "monotone", "converged": True, "n": 8, "record_steps": steps}
    return Series(
        loss=loss, steps=steps, curves=curves, learning_rate=rates, work_per_step=work, batch=batch, **{**base, **rest}
    )


# -- losses -----------------------------------------------------------------------------------------------------------


def of_the_loss() -> dict[str, Case]:
    loss, steps = np.array([2.0, 3.0, 1.0, 9.0, 4.0, 0.1]), np.array([0, 10, 20, 30, 40, 47])
    planted = run(loss, steps=steps)
    return {
        "initial_loss": Case(ask("initial_loss", planted), 2.0, {
            "after the first step": loss[1], "the last": loss[-1], "the largest": loss.max(), "a mean": loss.mean(),
        }),
        "peak_loss": Case(ask("peak_loss", planted), max(value for value in loss), {
            "over the start": loss.max() / loss[0],
            "above the start": loss.max() - loss[0],
            "the first peak": loss[1],
            "the record of the peak": loss.argmax(),
            "the start": loss[0],
        }),
        "steps_to_stop": Case(ask("steps_to_stop", planted), 47.0, {
            "one step more": 48.0, "one step less": 46.0, "the record before": 40.0, "records": len(loss),
            "records after the start": len(loss) - 1.0,
        }),
    }  # fmt: skip


# -- spikes -----------------------------------------------------------------------------------------------------------

PEAK, FLOOR, DROP = 3.0, 1e-3, 0.02


def spikes(loss: Any, kernel: Any = None, peak: float = PEAK, floor: float = FLOOR, drop: float = DROP) -> float:
    """Step after step: a rise opens an excursion, the first loss at or below where it rose from closes it."""
    found, start, highest = 0, None, 0.0
    for t in range(1, len(loss)):
        if start is None and loss[t] > loss[t - 1]:
            start, highest = t - 1, loss[t - 1]
        if start is not None:
            reference = max(loss[start], floor * loss[0])
            highest = max(highest, loss[t])
            if loss[t] <= reference:
                tall = highest >= peak * reference
                found += tall and (kernel is None or kernel[t] <= (1 - drop) * kernel[start])
                start = None
    return float(found)


def of_spikes() -> dict[str, Case]:
    parts = [
        ([1.0, 0.5, 0.2], [1.0, 1.0, 1.0]),
        ([3.0, 40.0, 5.0, 0.15], [0.9, 0.7, 0.6, 0.6]),  # a catapult
        ([0.9, 0.14], [0.61, 0.599]),  # a spike, though the kernel falls by a sixth of a percent only
        ([0.3, 0.13], [0.55, 0.5]),  # the kernel falls below a peak of 2.1 times
        ([7.0, 1.5, 9.0, 0.1], [0.5, 0.45, 0.4, 0.4]),  # one catapult with two peaks
        ([1e-6, 1e-4, 1e-6], [0.4, 0.3, 0.3]),  # far below the start
        ([0.5, 0.4], [0.3, 0.2]),  # has not ended
    ]
    loss, kernel = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    planted = run(loss, curves={"tangent_kernel_norm": kernel})
    peaks = sum(a < b > c for a, b, c in zip(loss, loss[1:], loss[2:], strict=False))
    rises = float(np.sum(np.diff(loss) > 0))
    return {
        "catapults": Case(ask("catapults", planted), spikes(loss, kernel), {
            "whatever the kernel does": spikes(loss),
            "whatever the height": spikes(loss, kernel, peak=1.0),
            "however small against the start": spikes(loss, kernel, floor=0.0),
            "any fall of the kernel": spikes(loss, kernel, drop=0.0),
            "one that has not ended": spikes([*loss, 0.0], [*kernel, 0.1]),
            "the first alone": 1.0,
            "all peaks": float(peaks),
            "rising steps": rises,
        }),
        "loss_spikes": Case(ask("loss_spikes", planted), spikes(loss), {
            "with a fall of the kernel": spikes(loss, kernel),
            "whatever the height": spikes(loss, peak=1.0),
            "however small against the start": spikes(loss, floor=0.0),
            "one that has not ended": spikes([*loss, 0.0]),
            "above the start alone": float(np.sum((loss[:-1] <= loss[0]) & (loss[1:] > loss[0]))),
            "all peaks": float(peaks),
            "rising steps": rises,
        }),
    }  # fmt: skip


def of_curves() -> dict[str, Case]:
    """Ratios of a curve; `largest_rise` over the start and over the foot; the share of a spike."""
    top, bulk = np.array([2.0, 1.0, 40.0, 6.0, 0.3]), np.array([8.0, 4.0, 2.0, 2.3, 0.4])
    loss = top + bulk
    planted = run(loss, curves={"top_loss": top, "bulk_loss": bulk}, outcome="catapult")
    curve = np.array([4.0, 1.0, 3.0, 0.1, 0.4, 0.05, 0.06])
    other = run(curve, curves={"top_loss": curve})
    pairs = [(late - early, early) for i, early in enumerate(curve) for late in curve[i:]]
    rises = [max(rise for rise, _ in pairs) / curve[0], max(rise / foot for rise, foot in pairs)]
    found = [ask("largest_rise", other, of="top_loss", over=over) for over in ("start", "foot")]
    tallest, foot = max(((loss[t] - loss[u], (t, u)) for t in range(5) for u in range(t)), key=lambda one: one[0])[1]
    return {
        "peak_over_start": Case(ask("peak_over_start", planted, of="top_loss"), max(top) / top[0], {
            "of the loss": max(loss) / loss[0],
            "not divided": max(top),
            "over the end": max(top) / top[-1],
            "over the smallest": max(top) / min(top),
            "over the record before": max(np.divide(top[1:], top[:-1])),
            "without the start": max(top) / top[1],
            "the excess": max(top) / top[0] - 1,
        }),
        "end_over_start": Case(ask("end_over_start", planted, of="top_loss"), top[-1] / top[0], {
            "of the loss": loss[-1] / loss[0],
            "upside down": top[0] / top[-1],
            "not divided": top[-1],
            "over the peak": top[-1] / max(top),
            "the record before the end": top[-2] / top[0],
            "from the first step": top[-1] / top[1],
            "the fall": 1 - top[-1] / top[0],
        }),
        "largest_rise": Case(found, rises, {
            "above the start": [max(curve) / curve[0] - 1, max(curve) / min(curve) - 1],
            "above the smallest of all": [(max(curve) - min(curve)) / curve[0], max(curve) / min(curve)],
            "from record to record": [max(np.diff(curve)) / curve[0], rises[1] + 1],
            "from the foot of the largest": [rises[0], max(pairs)[0] / max(pairs)[1]],
            "not divided": [max(pairs)[0], max(pairs)[0]],
            "exchanged": rises[::-1],
        }),
        "top_share_of_spike": Case(
            ask("top_share_of_spike", planted), (top[tallest] - top[foot]) / (loss[tallest] - loss[foot]), {
                "of the loss, not of its rise": top[tallest] / loss[tallest],
                "from the start": (top[tallest] - top[0]) / (loss[tallest] - loss[0]),
                "the rest's share": (bulk[tallest] - bulk[foot]) / (loss[tallest] - loss[foot]),
                "of the top's rise": (loss[tallest] - loss[foot]) / (top[tallest] - top[foot]),
                "to the end": (top[-1] - top[foot]) / (loss[-1] - loss[foot]),
                "of the sizes of both": 39 / (39 + 2),
            },
        ),
    }  # fmt: skip


# -- work and steps ---------------------------------------------------------------------------------------------------


def of_work() -> dict[str, Case]:
    steps = np.array([0, 10, 20, 30, 35])
    extra = np.zeros(35)
    extra[[5, 20, 31]] = 100.0  # spent at the start of these steps
    losses, constants = np.array([9.0, 5.0, 1.0, 2.0, 0.9]), np.array([-1.0, 0.0, -0.5, 0.5, 0.7])
    planted = run(
        np.linspace(4, 3, 5), steps=steps, work=32, extra_work=extra,
        curves={"test_loss": losses, "convexity_constant": constants},
    )  # fmt: skip

    def work(until: int, per_step: int = 32, beside: bool = True) -> float:
        total = 0.0
        for t in range(until):
            total += per_step + (extra[t] if beside else 0)
        return total

    return {
        "work_to_target": Case(ask("work_to_target", planted, target=1.0, of="test_loss"), work(20), {
            "below the target only": work(35),
            "the last record at it": work(35),
            "with the step that follows": work(21),
            "without what is spent beside the steps": work(20, beside=False),
            "on the whole set": work(20, per_step=8),
            "records": 2.0,
            "steps": 20.0,
            "all of it": work(35),
            "the record before": work(10),
        }),
        "convex_from": Case(ask("convex_from", planted), 30.0, {
            "from a constant of 0": 10.0, "the last record": 35.0, "the record's number": 3.0, "one step more": 31.0,
            "the last that is not": 20.0, "the first record": 0.0,
        }),
    }  # fmt: skip


# -- gradient descent -------------------------------------------------------------------------------------------------


def of_decay() -> dict[str, Case]:
    rates = np.linspace(0.05, 0.2, 12)
    constants, sharpness = np.full(13, 0.9), np.linspace(4.0, 2.0, 13)
    constants[[0, 7]] = 0.8, 0.5
    sharpness[5], sharpness[12] = 3.9, 3.0  # the last record has no step of its own
    loss = 2.0 * 0.9 ** np.arange(13)
    loss[4] *= 2.5
    planted = run(loss, rate=rates, curves={"pl_constant": constants, "sharpness": sharpness})

    def excess(mu: float = 0.5, root: bool = True, start: float = 2.0, late: int = 0, worst: Callable = max) -> float:
        found, bound = [], 1.0
        for t in range(1, 13):
            bound *= 1 - rates[max(t - 1 - late, 0)] * mu
            power = 1 / t if root else 1.0
            found.append((loss[t] / start) ** power - bound**power)
        return worst(found)

    products = [rates[min(t, 11)] * sharpness[t] for t in range(13)]
    settled = run(loss, rate=rates, curves={"sharpness": np.append(sharpness[:12], 1.2)})
    return {
        "decay_violation": Case(ask("decay_violation", planted), excess(), {
            "the constant at the start": excess(mu=constants[0]),
            "the constant at the end": excess(mu=constants[-1]),
            "a mean of the constants": excess(mu=constants.mean()),
            "twice the constant": excess(mu=1.0),
            "not per step": excess(root=False),
            "not relative to the start": excess(start=1.0),
            "rates one step late": excess(late=1),
            "the smallest": excess(worst=min),
            "the last": excess(worst=lambda found: found[-1]),
            "a quotient": max(
                (loss[t] / 2 / np.prod(1 - 0.5 * rates[:t])) ** (1 / t) for t in range(1, 13)
            ),
        }),
        "rate_times_sharpness": Case(ask("rate_times_sharpness", planted), max(products), {
            "the largest of each": max(rates) * max(sharpness),
            "the rate at the start": rates[0] * max(sharpness),
            "a mean": np.mean(products),
            "the first": products[0],
            "rates one step late": max(rates[max(min(t, 11) - 1, 0)] * sharpness[t] for t in range(13)),
            "half of it": max(products) / 2,
            "without the end": max(products[:-1]),
        }),
        "final_rate_times_sharpness": Case(ask("final_rate_times_sharpness", settled), rates[11] * 1.2, {
            "the largest": max(products[:-1]),
            "the first": products[0],
            "the rate at the start": rates[0] * 1.2,
            "the record before": products[11],
            "half of it": rates[11] * 1.2 / 2,
        }),
    }  # fmt: skip


def of_the_recursion() -> dict[str, Case]:
    """A linear network on one example, trained by hand, whose output and kernel are then moved by a known share."""
    width, dim, y, scale, steps = 6, 3, 0.7, 2.0, 40
    rng = np.random.default_rng(5)
    u, v, x = rng.standard_normal((width, dim)), rng.standard_normal(width), rng.standard_normal(dim)
    factor = 1 / np.sqrt(width * dim)
    rate = 2.6 / (scale * factor**2 * (np.sum((u @ x) ** 2) + v @ v * (x @ x)))  # above critical: the kernel moves
    rates = rate * np.linspace(1.0, 0.6, steps)
    g, kernel = np.empty(steps + 1), np.empty(steps + 1)
    for t in range(steps + 1):
        g[t] = factor * v @ (u @ x)
        kernel[t] = factor**2 * (np.sum((u @ x) ** 2) + v @ v * (x @ x))
        if t < steps:
            slope = scale * (g[t] - y) * factor
            u, v = u - rates[t] * slope * np.outer(v, x), v - rates[t] * slope * (u @ x)
    assert np.ptp(kernel) > 0.2 * kernel[0]
    info = {"x_norm2": float(x @ x), "width": float(width), "dim": float(dim), "target": y, "per_kernel": scale}
    moved = {"output": g.copy(), "tangent_kernel_norm": kernel.copy()}
    sizes = {"output": np.abs(g - y).max(), "tangent_kernel_norm": kernel.max()}
    for label, curve in moved.items():
        curve[25] += 0.01 * sizes[label]
    planted = run(np.ones(steps + 1), rate=rates, curves=moved, info=info, n=1)
    found = [ask("recursion_error", planted, of=of) for of in ("output", "kernel")]

    def error(k: float = x @ x / (width * dim), s: float = scale, four: float = 4.0, sign: int = 1, late: int = 0):
        e, lam, pairs = g[0] - y, kernel[0], [(g[0] - y, kernel[0])]
        for t in range(steps):
            eta = s * rates[max(t - late, 0)]
            out = e + y
            e, lam = (
                (1 - eta * lam + sign * k * eta**2 * e * out) * e, lam - eta * k * (four * out * e - eta * lam * e**2)
            )  # fmt: skip
            pairs.append((e, lam))
        both = np.array(pairs).T - [moved["output"] - y, moved["tangent_kernel_norm"]]
        return np.abs(both).max(axis=1) / list(sizes.values())

    with np.errstate(all="ignore"):
        wrong = {
            "not divided by the width": error(k=x @ x / dim),
            "not divided by the inputs": error(k=x @ x / width),
            "the loss's scale left out": error(s=1.0),
            "2 in place of 4": error(four=2.0),
            "the other sign": error(sign=-1),
            "rates one step late": error(late=1),
            "a kernel that does not move": error(k=0.0),
        }
        return {
            "recursion_error": Case(found, [0.01, 0.01], {
                **wrong,
                "relative to the start": [
                    0.01 * sizes["output"] / abs(g[0] - y), 0.01 * kernel.max() / kernel[-1],
                ],
                "a mean over steps": [0.01 / 41, 0.01 / 41],
                "not relative": [0.01 * size for size in sizes.values()],
                "at the end": [0.0, 0.0],
            }, tolerance=1e-6),
        }  # fmt: skip


def of_the_bracket() -> dict[str, Case]:
    low, high = 1.5, 2.5
    planted = dataclasses.replace(run([1.0]), bracket=(low, high))
    return {
        "boundary": Case(ask("boundary", planted), 2.0, {
            "the lower end": low, "the upper end": high, "the width": high - low, "half the width": (high - low) / 2,
            "a sum": low + high, "a geometric mean": np.sqrt(low * high),
        }),
    }  # fmt: skip


# -- batches ----------------------------------------------------------------------------------------------------------


def of_batches() -> dict[str, Case]:
    steps = 25
    rng = np.random.default_rng(56)
    rate = np.linspace(1.2, 0.5, steps)
    before, critical = rng.uniform(1, 3, steps), rng.lognormal(-0.2, 0.7, steps)
    after = before * rng.uniform(0.3, 1.9, steps)
    top_before = rng.uniform(0.1, 1.0, steps)
    top_after = top_before * rng.uniform(0.3, 1.9, steps)
    batch = {
        "batch_loss_before": before, "batch_loss_after": after, "batch_critical_rate": critical,
        "batch_top_before": top_before, "batch_top_after": top_after,
    }  # fmt: skip
    planted = run([1.0, 0.5], steps=[0, steps], rate=rate, batch=batch)
    among = ("above", "below", "sharpest")

    def count(rate: Any = rate, critical: Any = critical, raised: Any = None) -> float:
        found = 0
        for t in range(steps):
            rose = after[t] > before[t] if raised is None else raised[t]
            found += bool(rose and rate[t] > critical[t])
        return float(found)

    def shares(before: Any, after: Any, rate: Any = rate, critical: Any = critical, sharpest: int = 3) -> list[float]:
        rose = [float(late > early) for early, late in zip(before, after, strict=True)]
        groups = [
            [t for t in range(steps) if rate[t] > critical[t]],
            [t for t in range(steps) if not rate[t] > critical[t]],
            sorted(range(steps), key=lambda t: -rate[t] / critical[t])[:sharpest],
        ]
        return [sum(rose[t] for t in group) / len(group) for group in groups]

    rises = float(np.sum(after > before))
    above = float(np.sum(rate > critical))
    late = np.roll(rate, 1)
    numbers = {
        "all rises": rises,
        "all steps above critical": above,
        "rises below critical": rises - count(),
        "falls above critical": above - count(),
        "one critical rate for all": count(critical=np.full(steps, np.median(critical))),
        "the rate at the start": count(rate=np.full(steps, rate[0])),
        "the loss of the next batch": count(raised=np.append(before[1:], 0) > before),
        "half the critical rate": count(critical=critical / 2),
    }

    def mistaken(early: Any, late_: Any, others: tuple[Any, Any]) -> dict[str, list[float]]:
        true = shares(early, late_)
        rose = np.asarray(late_) > np.asarray(early)
        return {
            "a share of all steps": [np.mean(rose & (rate > critical)), np.mean(rose & (rate <= critical)), true[2]],
            "a share of the rises": [
                np.sum(rose & (rate > critical)) / rose.sum(), np.sum(rose & (rate <= critical)) / rose.sum(), true[2],
            ],
            "above and below exchanged": [true[1], true[0], true[2]],
            "the other part of the loss": shares(*others),
            "falls in place of rises": shares(late_, early),
            "one critical rate for all": shares(early, late_, critical=np.full(steps, np.median(critical))),
            "rates one step late": shares(early, late_, rate=late),
            "the sharpest without the rate": [*true[:2], shares(early, late_, rate=np.ones(steps))[2]],
            "a tenth rounded down": shares(early, late_, sharpest=2),
        }  # fmt: skip

    loss, part = (before, after), (top_before, top_after)
    ordered = sorted(critical)
    said = [ask("batch_critical_rate", planted, reduce=how) for how in ("median", "min")]
    return {
        "sgd_catapults": Case(ask("sgd_catapults", planted), count(), {**numbers, "per step": count() / steps}),
        "sgd_catapult_rate": Case(ask("sgd_catapult_rate", planted), count() / steps, {
            **{label: number / steps for label, number in numbers.items()},
            "a number": count(),
            "a share of the steps above critical": count() / above,
            "a share of the rises": count() / rises,
            "per weights in place of steps": count() / (steps + 1),
        }),
        "batch_loss_rises": Case(
            [ask("batch_loss_rises", planted, among=which) for which in among], shares(*loss), mistaken(*loss, part)
        ),
        "batch_top_rises": Case(
            [ask("batch_top_rises", planted, among=which) for which in among], shares(*part), mistaken(*part, loss)
        ),
        "batch_critical_rate": Case(said, [ordered[12], ordered[0]], {
            "a mean": [np.mean(critical), ordered[0]],
            "of the first batch": [critical[0], critical[0]],
            "of the last batch": [critical[-1], critical[-1]],
            "the largest": [ordered[12], ordered[-1]],
            "exchanged": [ordered[0], ordered[12]],
            "the next in order": [ordered[13], ordered[1]],
            "the median of the rates": [np.median(rate), np.min(rate)],
            "over the rates": [np.median(rate / critical), np.min(rate / critical)],
        }),
    }  # fmt: skip


@functools.cache
def cases() -> dict[str, Case]:
    """Every metric of a run."""
    return {
        **of_the_loss(), **of_spikes(), **of_curves(), **of_work(), **of_decay(), **of_the_recursion(),
        **of_the_bracket(), **of_batches(),
    }  # fmt: skip
