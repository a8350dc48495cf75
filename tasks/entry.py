"""What the registry knows about a component: names, words and lazy addresses; nothing is imported until asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COMPONENTS = ("dataset", "model", "method")  # sections of a task file that name an entry and its options
METHOD_GRID_POINTS = 6  # every method is tuned on as many points as every other


def resolve(address: str) -> Any:
    """The object at ``module:attribute``."""
    module, _, attribute = address.partition(":")
    return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True)
class Entry:
    """One named component.

    Attributes:
        kind: dataset | model | loss | method | metric | claim.
        name: the word used in task files.
        summary: one sentence.
        source: paper, section, equation.
        build: ``module:attribute`` of what `load` returns.
        options: ``module:attribute`` of a pydantic model of its options, free of jax; empty when it has none.
        origin: the distribution that provides it.
    """

    kind: str
    name: str
    summary: str
    source: str
    build: str
    options: str = ""
    origin: str = "tangentbench"

    def load(self) -> Any:
        """Import and return the component itself."""
        return resolve(self.build)

    def schema(self) -> Any:
        """The pydantic model of its options; ``None`` when it has none."""
        return resolve(self.options) if self.options else None


@dataclass(frozen=True)
class MethodEntry(Entry):
    """A training method.

    Attributes:
        critical: its learning rate may be given in units of gradient descent's critical rate ``2/lambda_max``.
        grid: what arenas tune over; each point overrides the method's options.
        resets_rate: its optimiser is given the current ``critical_rate`` and its state has the ``rate`` in force, which
            changes only at multiples of its option ``period``.
        overhead: the option that says how many gradient evaluations on the full training set it makes beside those
            of its steps, one at each multiple of ``period``; empty for none. They count as work.
    """

    critical: bool = False
    grid: tuple[dict[str, Any], ...] = ()
    resets_rate: bool = False
    overhead: str = ""

    def extra_evaluations(self, options: Mapping[str, Any], steps: int) -> range:
        """The steps, among the first ``steps``, that cost a further gradient evaluation on the full training set.

        With P the option ``period`` and R the option that `overhead` names: P, 2P, …, RP, as far as they are below
        ``steps``; each is spent at the start of its step.
        """
        if not self.overhead:
            return range(0)
        period = int(options["period"])
        return range(period, min(steps, period * int(options[self.overhead]) + 1), period)


@dataclass(frozen=True)
class MetricEntry(Entry):
    """A measured number.

    Attributes:
        unit: its unit, ``1`` for a pure number.
        direction: lower | higher (is better) | none.
        definition: the formula.
        at: when it may be measured, the first is the default: ``start``, ``end``, ``schedule`` (a curve on the record
            schedule), ``series`` (from the curves of the finished run).
        cost: what one evaluation costs.
        reduce: how a scheduled curve becomes one number: last | max | min.
        needs: arrays and curves that the runner must keep for it; the label of a scheduled metric that must be listed.
        of: the option that names a further curve it reads; empty for none.
        requires: what the task must offer: validation | test | classification | agop | single_example | blocks |
            chain (of dense layers) | network (no expansion) | recursion (a model with a closed recursion on one
            example) | full_batch | every_step (record.every is 1) | bisect.
        tolerance: the largest residual, as a share of the value (where it may cancel, of its scale if that is larger),
            with which a value is evidence for a claim or an arena; None for a metric without a certificate.
        margin: the share of its size, and
        negligible: the amount in its unit, by which together it may move between two commits as if it had not moved;
            `negligible` is for sizes that mean nothing any more: rounding, or one example in hundreds.
        warm: ``module:attribute`` of ``(ctx, model, vectors, **options) -> (what the metric returns, vectors)``: the
            same number, found sooner from two vectors of the record before, of the size of the trained weights; zeros
            stand for none. Empty for a metric that starts afresh each time.
    """

    unit: str = "1"
    direction: str = "none"
    definition: str = ""
    at: tuple[str, ...] = ("end",)
    cost: str = "one prediction"
    reduce: str = "last"
    needs: tuple[str, ...] = field(default=())
    of: str = ""
    requires: tuple[str, ...] = field(default=())
    tolerance: float | None = None
    margin: float = 0.05
    negligible: float = 0.0
    warm: str = ""


TOP_CURVES = frozenset({"batch_top_before", "batch_top_after"})
BATCH_CURVES = TOP_CURVES | {"batch_loss_before", "batch_loss_after", "batch_critical_rate"}
"""Curves of each step's own batch (`tasks.metrics.Series`); the first two need an eigenvector of its kernel."""
RUNNER_KEEPS = BATCH_CURVES | {"kernel0"}
"""Names in `MetricEntry.needs` that the runner provides; any other is the label of a scheduled metric."""
