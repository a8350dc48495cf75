"""Metrics of a whole run, computed from its recorded curves: `(series, **options) -> float | None`. numpy only.

`None` means that the run gives no such number (a target never reached, a divergent peak): it is stored as missing with
the run's outcome beside it, never as NaN or infinity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from . import rules

Curve = Float[np.ndarray, "t"]


@dataclass(frozen=True)
class Series:
    """The curves of one run, cut after its last step. T is the number of steps taken, R of records, B of loss values.

    Attributes:
        loss: loss of the full training set at `steps` [B], the last weights included. Full-batch methods have one
            at every step (B = T + 1), mini-batch methods one at every record.
        steps: step numbers of `loss`, from 0 to T [B].
        curves: metrics evaluated on the record schedule, by label [R]. Step 0 and the last weights are records.
        record_steps: step numbers of `curves`, from 0 to T [R].
        learning_rate: rate of each step [T], schedules and catapult_gd's resets included, in absolute units.
        work_per_step: per-example gradient evaluations of one step (n, or the batch size).
        extra_work: further per-example gradient evaluations, spent at the start of each step [T]; empty for none.
        n: number of training examples.
        outcome: the run's outcome (`rules.Outcome`).
        converged: whether the run reached its stopping loss.
        initial, final: scalars measured at w0 and at the last weights, by label.
        batch: curves of each step's own batch [T], those that a metric needs: `batch_loss_before` and
            `batch_loss_after`, L(w_t; X_b) and L(w_{t+1}; X_b); `batch_critical_rate`, 2/(s lambda_max(K(X_b; w_t)));
            `batch_top_before` and `batch_top_after`, the part of these losses along the leading eigenvector of
            K(X_b; w_t).
        info: what a closed form needs of the model and the data, for runs on a single example: `x_norm2` = |x|^2,
            `width` m, `dim` d, `target` y, and `per_kernel`, the loss's scale s for n = c = 1 (1 or 2).
        bracket: last interval of a bisection, in the unit of its axis; `None` for a run that is none.
    """

    loss: Float[np.ndarray, "b"]
    steps: Int[np.ndarray, "b"]
    curves: dict[str, Float[np.ndarray, "r"]]
    record_steps: Int[np.ndarray, "r"]
    learning_rate: Float[np.ndarray, "t"]
    work_per_step: int
    n: int
    outcome: rules.Outcome
    converged: bool
    initial: dict[str, float] = field(default_factory=dict)
    final: dict[str, float] = field(default_factory=dict)
    batch: dict[str, Float[np.ndarray, "t"]] = field(default_factory=dict)
    info: dict[str, float] = field(default_factory=dict)
    extra_work: Float[np.ndarray, "t"] = field(default_factory=lambda: np.zeros(0))
    bracket: tuple[float, float] | None = None

    def work(self, step: int) -> float:
        """Per-example gradient evaluations spent until the weights of `step` are known."""
        return float(step * self.work_per_step + np.sum(self.extra_work[:step]))

    def curve(self, label: str, asker: str) -> tuple[Int[np.ndarray, "k"], Float[np.ndarray, "k"]]:
        """Step numbers and values of a recorded curve; `train_loss` is the training loss at all its steps.

        Raises:
            ValueError: the run did not record it.
        """
        if label == "train_loss":
            return self.steps, self.loss
        if label not in self.curves:
            raise ValueError(
                f"{asker} needs the curve {label!r}: add {{name: {label}, at: schedule}} to the task's metrics"
            )
        return self.record_steps, self.curves[label]


def initial_loss(series: Series) -> float | None:
    """Training loss at initialisation, in the task's loss. Needs no curve."""
    return finite(series.loss[0])


def peak_loss(series: Series) -> float | None:
    """Largest training loss of the run; `None` if it diverged: the peak has no end. Needs no curve."""
    return None if series.outcome == "divergent" else finite(np.max(series.loss))


def steps_to_stop(series: Series) -> float | None:
    """Steps until the stopping loss was reached; `None` (censored) if it was not. Needs no curve."""
    return float(series.steps[-1]) if series.converged else None


def work_to_target(series: Series, *, target: float, of: str = "train_loss") -> float | None:
    """Per-example gradient evaluations until the curve `of` was first at `target` or below, at its recorded steps.

    `None` means censored: never reached. Needs the curve named by `of`, unless that is `train_loss`.
    """
    steps, values = series.curve(of, "work_to_target")
    reached = np.flatnonzero(values <= target)
    return series.work(int(steps[reached[0]])) if len(reached) else None


def catapults(series: Series) -> float | None:
    """Number of catapults of a full-batch run (`rules.count_catapults_gd`). Needs the curve `tangent_kernel_norm`.

    Raises:
        ValueError: the curve is missing, or the training loss was not recorded at every step.
    """
    steps, kernel_norm = series.curve("tangent_kernel_norm", "catapults")
    if len(series.loss) != series.steps[-1] + 1:
        raise ValueError("catapults needs the training loss of every step; for mini-batch methods use sgd_catapults")
    return float(rules.count_catapults_gd(series.loss, kernel_norm, steps))


def loss_spikes(series: Series) -> float | None:
    """Number of spikes of the full set's loss at the steps where it is known (`rules.count_spikes`): at each step of a
    full-batch run, at the records of a mini-batch run. Needs no curve.
    """
    return float(rules.count_spikes(series.loss))


def peak_over_start(series: Series, *, of: str) -> float | None:
    """Largest value of the curve `of` over its value at initialisation; `None` if the run diverged: its peak has no
    end. Needs the curve named by `of`.
    """
    _, values = series.curve(of, "peak_over_start")
    return None if series.outcome == "divergent" else _ratio(np.max(values), values[0])


def largest_rise(series: Series, *, of: str, over: Literal["start", "foot"] = "start") -> float | None:
    """Largest rise of the curve `of` above its smallest value so far.

    0 for a curve that only falls, however far it fell before: the excess over the start alone would not see a rise
    from a smaller value. `over: start` divides it by the curve's value at initialisation; `over: foot` by that smallest
    value, from which it rises, so that a curve that has fallen far rises a lot by little. `None` if the run diverged,
    or where the divisor is 0. Needs the curve named by `of`.

    Raises:
        ValueError: the curve is missing, or an unknown `over`.
    """
    if over not in ("start", "foot"):
        raise ValueError(f"largest_rise: over must be start or foot; got {over!r}")
    _, values = series.curve(of, "largest_rise")
    feet = np.minimum.accumulate(values)
    scale = values[0] if over == "start" else feet
    if series.outcome == "divergent" or not np.all(scale):
        return None
    return finite(np.max((values - feet) / scale))


def end_over_start(series: Series, *, of: str) -> float | None:
    """Last value of the curve `of` over its value at initialisation. Needs the curve named by `of`."""
    _, values = series.curve(of, "end_over_start")
    return _ratio(values[-1], values[0])


def top_share_of_spike(series: Series) -> float | None:
    """Share of the largest rise of the training loss that lies in the top eigenspace.

    With L = PL_{<=s} + PL_{>s} the curves `top_loss` and `bulk_loss`, the rise goes from the smallest L so far, at
    record u, to the record t > u where L exceeds that most; the share is (PL_{<=s}(t) - PL_{<=s}(u)) / (L(t) - L(u)),
    above 1 where the rest falls meanwhile. `None` for a run whose loss never rises by more than 1%, and for one that
    diverged. Needs both curves (arXiv 2306.04815).
    """
    _, top = series.curve("top_loss", "top_share_of_spike")
    _, bulk = series.curve("bulk_loss", "top_share_of_spike")
    loss = top + bulk
    peak = int(np.argmax(loss - np.minimum.accumulate(loss)))
    foot = int(np.argmin(loss[: peak + 1]))
    if series.outcome == "divergent" or not loss[peak] > rules.RISE * loss[foot]:
        return None
    return _ratio(top[peak] - top[foot], loss[peak] - loss[foot])


def boundary(series: Series) -> float | None:
    """Phase boundary found by the task's bisection: the middle of its last interval, in the unit of its axis."""
    return None if series.bracket is None else finite(sum(series.bracket) / 2)


def convex_from(series: Series) -> float | None:
    """First recorded step at which the curve `convexity_constant` is positive; `None` if it never is."""
    steps, values = series.curve("convexity_constant", "convex_from")
    positive = np.flatnonzero(values > 0)
    return float(steps[positive[0]]) if len(positive) else None


def decay_violation(series: Series) -> float | None:
    """Excess of the loss's factor per step over geometric decay: max over t >= 1 of (L_t/L_0)^1/t - (bound)^1/t.

    The bound is prod_{s<t} max(1 - eta_s mu, 0), mu the smallest recorded `pl_constant`, |grad L|^2/(2 L). Where eta is
    at most 1/beta, beta the largest curvature on the way, each step takes at least eta |grad L|^2/2 >= eta mu L from
    the loss, so that the excess is at most 0 (arXiv 2209.15106 for gradient descent). The root changes nothing about
    that, and keeps runs that violate the bound by a little at each of many steps apart from those that leave it at
    once. `None` for a run without a step, with mu = 0, or with a loss that is not finite (the outcome says so). Needs
    the curve `pl_constant`, and the loss of every step.

    Raises:
        ValueError: the curve is missing, or the training loss was not recorded at every step.
    """
    _, constants = series.curve("pl_constant", "decay_violation")
    if len(series.loss) != series.steps[-1] + 1:
        raise ValueError("decay_violation needs the training loss of every step, which mini-batch methods do not keep")
    mu = np.min(constants[np.isfinite(constants)], initial=np.inf)
    if len(series.learning_rate) == 0 or not 0 < mu < np.inf or not np.all(np.isfinite(series.loss)):
        return None
    roots = 1 / series.steps[1:]
    with np.errstate(divide="ignore"):  # a loss of 0 violates nothing, a bound of 0 is one
        decay = np.cumsum(np.log(np.maximum(1 - series.learning_rate * mu, 0)))
        losses = np.log(series.loss[1:]) - np.log(series.loss[0])
    return finite(np.max(np.exp(losses * roots) - np.exp(decay * roots)))


def rate_times_sharpness(series: Series) -> float | None:
    """Largest eta_t lambda_max(grad^2 L) over the records, the last one at the rate of the last step.

    Below 1 every step is of gradient descent's safe size 1/beta (arXiv 2209.15106); above 2 it is unstable. `None` for
    a run without a step. Needs the curve `sharpness`.
    """
    products = _rates_times_sharpness(series, "rate_times_sharpness")
    return finite(np.max(products)) if products.size else None


def final_rate_times_sharpness(series: Series) -> float | None:
    """eta lambda_max(grad^2 L) of the last weights, at the rate of the last step: at most 2 where gradient descent has
    come to rest (arXiv 2205.11787, Theorems 2 and 3). `None` for a run without a step. Needs the curve `sharpness`.
    """
    products = _rates_times_sharpness(series, "final_rate_times_sharpness")
    return finite(products[-1]) if products.size else None


def _rates_times_sharpness(series: Series, metric: str) -> np.ndarray:
    """eta_t lambda_max(grad^2 L) at each record, the last one at the rate of the last step; empty without a step."""
    steps, values = series.curve("sharpness", metric)
    if len(series.learning_rate) == 0:
        return np.empty(0)
    return series.learning_rate[np.minimum(steps, len(series.learning_rate) - 1)] * values


def recursion_error(series: Series, *, of: Literal["output", "kernel"] = "output") -> float | None:
    """How far a run on one example strays from the two-variable recursion of the quadratic model.

    For the second-order expansion of a two-layer ReLU network in NTK parameterisation without bias (and for the linear
    such network itself), gradient descent on one example is exactly (arXiv 2205.11787, the setting of Theorem 1), with
    g the output, e = g - y, lambda the tangent kernel and k = |x|^2/(m d),

        e' = (1 - eta lambda + k eta^2 e g) e
        lambda' = lambda - eta k (4 g e - eta lambda e^2),

    where eta is the rate times the loss's scale s (`Series.info`). The recursion starts from the recorded g_0 and
    lambda_0 and is iterated for the whole run on its own values.

    Needs the curves `output` and `tangent_kernel_norm` at every step.

    Returns:
        max_t |difference of g - y| / max_t |g - y|, or the same of lambda; `None` where a run left the finite numbers.

    Raises:
        ValueError: a curve or an entry of `info` is missing, a step was not recorded, or an unknown `of`.
    """
    if of not in ("output", "kernel"):
        raise ValueError(f"recursion_error: of must be output or kernel; got {of!r}")
    steps, output = series.curve("output", "recursion_error")
    _, kernel = series.curve("tangent_kernel_norm", "recursion_error")
    if len(steps) != len(series.learning_rate) + 1:
        raise ValueError("recursion_error needs its curves at every step: set record.every to 1")
    missing = [name for name in ("x_norm2", "width", "dim", "target", "per_kernel") if name not in series.info]
    if missing:
        raise ValueError(
            f"recursion_error needs {', '.join(missing)}: it is for one-hidden-layer models on one example"
        )
    info = series.info
    k = info["x_norm2"] / (info["width"] * info["dim"])
    error, top = output[0] - info["target"], kernel[0]
    predicted = [(error, top)]
    with np.errstate(over="ignore", invalid="ignore"):
        for eta in info["per_kernel"] * series.learning_rate:
            g = error + info["target"]
            error, top = (
                (1 - eta * top + k * eta**2 * error * g) * error,
                top - eta * k * (4 * g * error - eta * top * error**2),
            )
            predicted.append((error, top))
        measured = output - info["target"] if of == "output" else kernel
        difference = np.asarray(predicted)[:, 0 if of == "output" else 1] - measured
        scale = np.max(np.abs(measured))
        return finite(np.max(np.abs(difference)) / scale) if scale > 0 else None


def _ratio(value: float | np.floating, start: float | np.floating) -> float | None:
    """A quotient; `None` where it has no value."""
    return finite(value / start) if start else None


def finite(value: float | np.floating) -> float | None:
    """A number; `None` where it is not finite."""
    return float(value) if np.isfinite(value) else None
