"""Rules that read an outcome or a number of catapults or spikes off recorded curves. numpy only.

A catapult (arXiv 2205.11787, 2306.04815) is an excursion of the loss that the dynamics end themselves, by lowering the
tangent kernel. None of the papers gives a rule for counting; the ones here are the suite's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

Outcome = Literal["monotone", "catapult", "dead", "divergent", "unconverged"]
Curve = Float[np.ndarray, "t"]

RISE = 1.01  # a run whose loss exceeds this multiple of its start is not monotone
DEAD_TRACE = 1e-6  # kernel trace, relative to its start, below which no gradient is left
FLAT = 1e-2  # relative range of the loss over its last tenth that counts as flat
PEAK = 3.0  # multiple of its reference that the peak of a catapult reaches
FLOOR = 1e-3  # the reference is at least this fraction of L(0): below, a run has converged for all purposes
KERNEL_DROP = 0.02  # relative fall of lambda_max(K) across a catapult
# Changes of the loss below ROUNDING of its value, or below ROUNDING_FLOOR of its start, are rounding noise and no rise.
ROUNDING = 1e-6
ROUNDING_FLOOR = 1e-7


def classify_outcome(
    loss: Curve, *, converged: bool, divergence_limit: float, trace_ratio: float, mean_y2: float
) -> Outcome:
    """What the dynamics did.

    The first that applies:

    - `divergent`: a loss that is not finite, or above `divergence_limit * max(L_0, mean_y2)`;
    - `dead`: the kernel's trace fell below 1e-6 of its start and the loss is flat (range over its last tenth, at least
      two points, within 1% of its value);
    - `catapult`: converged below L_0 after exceeding 1.01 L_0;
    - `monotone`: converged without ever exceeding 1.01 L_0;
    - `unconverged`: everything else.

    Args:
        loss: training loss [T+1], from initialisation to the last step taken.
        converged: whether the run reached its stopping loss.
        divergence_limit: the factor D, far above any catapult's peak (1000 times the width).
        trace_ratio: trace K at the end over trace K at the start.
        mean_y2: mean over the training examples of |y|^2, the loss scale of a network that says nothing.

    Raises:
        ValueError: an empty curve.
    """
    if len(loss) == 0:
        raise ValueError("an outcome needs the training loss of at least the initial state")
    start = loss[0]
    if not np.all(np.isfinite(loss)) or np.max(loss) > divergence_limit * max(start, mean_y2):
        return "divergent"
    if trace_ratio < DEAD_TRACE and _is_flat(loss):
        return "dead"
    if not converged:
        return "unconverged"
    if np.max(loss) <= RISE * start:
        return "monotone"
    return "catapult" if loss[-1] < start else "unconverged"


def _is_flat(loss: Curve) -> bool:
    tail = loss[-max(2, len(loss) // 10) :]
    return len(tail) >= 2 and bool(np.ptp(tail) <= FLAT * np.max(tail))


def _rises(before: Curve, after: Curve, scale: float) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is nan, which is no rise
        return after - before > ROUNDING * np.abs(before) + ROUNDING_FLOOR * scale


def _tall_excursions(loss: Curve) -> Iterator[tuple[int, int]]:
    """(start, end) of each excursion that ends and peaks at `PEAK` times its reference or above (`count_spikes`)."""
    finite = np.isfinite(loss)
    loss = loss if finite.all() else loss[: int(np.argmin(finite))]
    rises = np.flatnonzero(_rises(loss[:-1], loss[1:], loss[0])) if len(loss) > 1 else np.array([], int)
    end = 0
    for start in map(int, rises):
        if start < end:
            continue
        reference = max(loss[start], FLOOR * loss[0])
        back = np.flatnonzero(~_rises(reference, loss[start + 1 :], loss[0]))
        if len(back) == 0:
            return
        end = start + 1 + int(back[0])
        if np.max(loss[start : end + 1]) >= PEAK * reference:
            yield start, end


def count_spikes(loss: Curve) -> int:
    """Number of spikes of a loss, whatever the kernel does meanwhile.

    An excursion starts at the step where the loss rises and ends when it is back at the reference max(L_start, 1e-3
    L(0)) or below. It counts if its peak is at least 3 times the reference. An excursion that has not ended, or ends in
    a loss that is not finite, does not count.

    Args:
        loss: training loss [T+1], at every step or at some; what rises and falls between two of them is not seen.
    """
    return sum(1 for _ in _tall_excursions(loss))


def count_catapults_gd(loss: Curve, kernel_norm: Curve, steps: Int[np.ndarray, "r"] | None = None) -> int:
    """Number of catapults of full-batch training.

    A spike of the loss (`count_spikes`) counts if lambda_max(K) is, at its end, at least 2% below what it was at its
    start.

    Args:
        loss: training loss at every step [T+1].
        kernel_norm: lambda_max(K) at `steps`.
        steps: the steps at which `kernel_norm` was recorded, increasing from 0; every step by default. Between two
            records the kernel before an excursion is the last one recorded by its start, the one after it the first
            from its end.

    Raises:
        ValueError: `kernel_norm` and its steps differ in length.
    """
    steps = np.arange(len(loss)) if steps is None else np.asarray(steps)
    if len(kernel_norm) != len(steps) or len(steps) == 0 or steps[0] != 0:
        raise ValueError(
            f"{len(kernel_norm)} kernel norms for {len(steps)} steps and {len(loss)} losses; "
            "record one at step 0 and one for every recorded step"
        )
    count = 0
    for start, end in _tall_excursions(loss):
        before = kernel_norm[np.searchsorted(steps, start, side="right") - 1]
        after = kernel_norm[min(np.searchsorted(steps, end), len(steps) - 1)]
        count += bool(after <= (1 - KERNEL_DROP) * before)
    return count


def batch_rises(before: Curve, after: Curve) -> Bool[np.ndarray, "t"]:
    """Which steps raise the loss of their own batch, L(w_{t+1}; X_b) > L(w_t; X_b), by more than rounding.

    A step into a loss that is not finite raises nothing: there is no value to compare.

    Args:
        before, after: loss of the step's batch at w_t and at w_{t+1} [T].
    """
    return _rises(before, after, before[0] if len(before) else 0.0) & np.isfinite(after)


def count_catapults_sgd(
    loss_before: Curve, loss_after: Curve, critical_rate: Curve, learning_rate: float | Curve
) -> int:
    """Number of steps that catapult in mini-batch training.

    Step t counts if its rate exceeds the critical rate of its own batch, 2/(s lambda_max(K(X_b; w_t))), and raises the
    loss of that batch: L(w_{t+1}; X_b) > L(w_t; X_b), by more than rounding (arXiv 2306.04815 names the batch's own
    critical rate as the one that matters).

    Args:
        loss_before, loss_after: loss of the step's batch at w_t and at w_{t+1} [T].
        critical_rate: critical rate of the step's batch at w_t [T].
        learning_rate: the step's rate, one number or [T].

    Raises:
        ValueError: curves of different lengths.
    """
    if not len(loss_before) == len(loss_after) == len(critical_rate):
        raise ValueError(f"batch curves differ in length: {len(loss_before)}, {len(loss_after)}, {len(critical_rate)}")
    return int(np.sum(batch_rises(loss_before, loss_after) & (learning_rate > critical_rate)))
