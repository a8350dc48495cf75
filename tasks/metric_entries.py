"""The metrics: every number that a task may ask for, with unit, direction and definition.

Notation: ``f(w; x)`` the predictor, ``L`` the training loss, ``K = J J^T`` the tangent kernel on the training inputs,
``w_0`` the initialisation, ``s`` the factor that makes ``s K`` the spectrum of the Gauss-Newton Hessian of the loss.
"""

from __future__ import annotations

from typing import Any

from .entry import MetricEntry

SNAPSHOT = ("end", "start", "schedule")
ONCE = ("start", "end", "schedule")


def _metric(module: str, name: str, summary: str, definition: str, source: str, **rest: Any) -> MetricEntry:
    options = rest.pop("options", "")
    return MetricEntry(
        kind="metric",
        name=name,
        summary=summary,
        definition=definition,
        source=source,
        build=f"tangentbench.tasks.metrics.{module}:{name}",
        options=f"tangentbench.tasks.metric_options:{options}" if options else "",
        **rest,
    )


def _state(name: str, summary: str, definition: str, source: str, **rest: Any) -> MetricEntry:
    return _metric("state", name, summary, definition, source, **{"at": SNAPSHOT, **rest})


def _series(name: str, summary: str, definition: str, source: str, **rest: Any) -> MetricEntry:
    return _metric("series", name, summary, definition, source, at=("series",), cost="nothing", **rest)


def _split_metrics() -> list[MetricEntry]:
    entries = []
    for split, requires in (("train", ()), ("validation", ("validation",)), ("test", ("test",))):
        entries += [
            _state(
                f"{split}_loss",
                f"Loss on the {split} set",
                f"the task's loss on the {split} set",
                "arXiv 2306.04815",
                unit="loss",
                direction="lower",
                requires=requires,
            ),
            _state(
                f"{split}_error",
                f"Share of wrong classes on the {split} set",
                f"share of {split} examples whose sign (one output) or argmax (several) differs from the label's",
                "arXiv 2306.04815, test error",
                direction="lower",
                requires=("classification", *requires),
            ),
        ]
    return entries


METRICS = {
    entry.name: entry
    for entry in (
        *_split_metrics(),
        _state(
            "output",
            "Output on the first training example",
            "f_0(w; x_0)",
            "arXiv 2205.11787, Theorem 1",
            unit="output",
        ),
        _state(
            "tangent_kernel_norm",
            "Spectral norm of the tangent kernel",
            "lambda_max(K)",
            "arXiv 2205.11787",
            unit="output^2 / weight^2",
            cost="one kernel and Lanczos",
            options="LanczosOptions",
        ),
        _state(
            "kernel_change",
            "Largest relative change of the tangent kernel",
            "max over records t of ||K_t - K_0||_F / ||K_0||_F",
            "arXiv 2010.01092, experiments",
            at=("schedule", "end"),
            reduce="max",
            cost="one kernel",
            needs=("kernel0",),
        ),
        _state(
            "critical_rate",
            "Critical learning rate of gradient descent",
            "2 / lambda_max(grad^2 L), algebraically largest eigenvalue",
            "arXiv 2306.04815",
            unit="weight^2 / loss",
            at=("start",),
            cost="Lanczos on Hessian-vector products",
            options="HessianOptions",
        ),
        _state(
            "kernel_critical_rate",
            "Critical learning rate from the tangent kernel",
            "2 / (s lambda_max(K))",
            "arXiv 2306.04815",
            unit="weight^2 / loss",
            at=ONCE,
            cost="one kernel and Lanczos",
            options="LanczosOptions",
        ),
        _state(
            "hessian_norm",
            "Spectral norm of the predictor's Hessian",
            "mean over examples of max over outputs of ||grad_w^2 f_k(w; x)||_2",
            "arXiv 2205.11786, Theorem 3.6",
            unit="output / weight^2",
            at=ONCE,
            cost="Lanczos on Hessian-vector products per example",
            options="PredictorHessianOptions",
        ),
        _state(
            "sharpness",
            "Largest eigenvalue of the loss Hessian",
            "lambda_max(grad^2 L)",
            "Cohen et al. 2021, arXiv 2103.00065",
            unit="loss / weight^2",
            cost="Lanczos on Hessian-vector products",
            options="HessianOptions",
        ),
        _state(
            "linearization_error",
            "Worst deviation from the linear expansion at a fixed distance",
            "max over examples of sup_{||dw|| = R} |f(w_0 + dw) - f_lin(w_0 + dw)|, a lower bound by ascent",
            "arXiv 2010.01092, Theorem 3.2",
            unit="output",
            at=("start", "end"),
            cost="projected ascent from several starts",
            options="WorstDirectionOptions",
            requires=("network",),
        ),
        _state(
            "quadratic_error",
            "Worst deviation from the quadratic expansion at a fixed distance",
            "max over examples of sup_{||dw|| = R} |f(w_0 + dw) - f_quad(w_0 + dw)|, a lower bound by ascent",
            "arXiv 2205.11787",
            unit="output",
            at=("start", "end"),
            cost="projected ascent from several starts",
            options="WorstDirectionOptions",
            requires=("network",),
        ),
        _state(
            "multilinear_error",
            "Worst deviation from the multilinear expansion at a fixed distance",
            "max over examples of sup_{||dw|| = R} |f(w_0 + dw) - f_multi(w_0 + dw)|, a lower bound by ascent; "
            "`degree` cuts f_multi at that total degree",
            "arXiv 2206.15058",
            unit="output",
            at=("start", "end"),
            cost="projected ascent from several starts",
            options="MultilinearErrorOptions",
            requires=("network", "blocks"),
        ),
        _state(
            "agop_alignment",
            "Cosine between the model's and the target's average gradient outer product",
            "tr(G^T G*) / (||G||_F ||G*||_F), G = (1/n) sum_i J_i J_i^T with J_i the input Jacobian at train input i",
            "arXiv 2306.04815, AGOP alignment",
            direction="higher",
            cost="one input Jacobian per example",
            requires=("agop",),
        ),
        _state(
            "parameter_distance",
            "Distance of the weights from initialisation",
            "||w - w_0||_2",
            "arXiv 2010.01092",
            unit="weight",
            cost="nothing",
        ),
        _state(
            "relative_parameter_distance",
            "Relative distance of the weights from initialisation",
            "||w - w_0||_2 / ||w_0||_2",
            "arXiv 2010.01092",
            cost="nothing",
        ),
        _series(
            "initial_loss",
            "Training loss at initialisation",
            "L(w_0)",
            "arXiv 2205.11787, Theorem 1",
            unit="loss",
        ),
        _series(
            "peak_loss",
            "Largest training loss of the run",
            "max_t L(w_t); none where the run diverged",
            "arXiv 2205.11787, Theorem 1",
            unit="loss",
        ),
        _series(
            "catapults",
            "Number of catapults of a full-batch run",
            "excursions of L that peak at >= 3 times max(L at their start, 1e-3 L(w_0)), return below it, and leave "
            "lambda_max(K) at least 2% lower",
            "tangentbench's own rule; arXiv 2306.04815 for the phenomenon",
            unit="count",
            needs=("tangent_kernel_norm",),
            requires=("full_batch",),
        ),
        _series(
            "sgd_catapults",
            "Number of catapults of a mini-batch run",
            "steps t with eta > eta_crit(batch; w_t) and L(w_{t+1}; batch) > L(w_t; batch)",
            "arXiv 2306.04815, Claim 2",
            unit="count",
            options="SgdCatapultsOptions",
            needs=("batch_loss_before", "batch_loss_after", "batch_critical_rate"),
        ),
        _series(
            "work_to_target",
            "Work until a curve first reaches a target",
            "per-example gradient evaluations until the curve is <= target; empty (censored) if it never is",
            "after Dahl et al. 2023, arXiv 2306.07179",
            unit="gradient evaluations",
            direction="lower",
            options="WorkToTargetOptions",
        ),
        _series(
            "steps_to_stop",
            "Steps until the stopping rule applied",
            "first t at which the stopping rule holds; empty (censored) if it never does",
            "tangentbench",
            unit="steps",
            direction="lower",
        ),
        _series(
            "recursion_error",
            "Distance of a single-example run from the exact quadratic recursion",
            "max_t |(g_t - y) - (recursion)_t| / max_t |g_t - y| with the loss and kernel recursion of the paper",
            "arXiv 2205.11787, Theorem 1",
            direction="lower",
            options="RecursionErrorOptions",
            needs=("output", "tangent_kernel_norm"),
            requires=("single_example", "recursion", "every_step"),
        ),
        _series(
            "boundary",
            "Phase boundary found by bisection",
            "the value of `bisect.along` at which the outcome leaves `bisect.leaves`",
            "arXiv 2205.11787, Theorem 1",
            requires=("bisect",),
        ),
    )
}
