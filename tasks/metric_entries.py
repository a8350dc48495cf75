"""The metrics: every number that a task may ask for, with unit, direction and definition.

Notation: ``f(w; x)`` the predictor, ``L`` the training loss, ``K = J J^T`` the tangent kernel on the training inputs,
``w_0`` the initialisation, ``s`` the factor that makes ``s K`` the spectrum of the Gauss-Newton Hessian of the loss.
"""

from __future__ import annotations

from typing import Any

from .entry import MetricEntry

SNAPSHOT = ("end", "start", "schedule")
ONCE = ("start", "end", "schedule")

# Tolerances, as shares of the value.
EIGENVALUE = 0.02  # moves a log-log slope over one decade by less than 0.01
RATE = 1e-3  # the unit in which rates are given: boundaries are claimed within 2%
BRACKET = 0.01  # half of the 2%
SUPREMUM = 0.05  # where the search for a worst direction ends
REFERENCE = 0.05  # how far two reference models may be from perfect alignment

# Amounts that mean nothing, in the metric's own unit (`MetricEntry.negligible`).
ROUNDING = 1e-9  # of what is exact in theory, or of a loss beside its start
COSINE = 0.005
EXAMPLES = 0.005  # share of examples
EVENT = 0.5  # of a count
STEPS = 0.005  # share of steps


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


def _convexity(name: str, summary: str, definition: str, **rest: Any) -> MetricEntry:
    return _metric("convexity", name, summary, definition, "arXiv 2209.15106", **{"at": ONCE, **rest})


def _projection(name: str, summary: str, definition: str) -> MetricEntry:
    return _metric(
        "projections",
        name,
        summary,
        definition,
        "arXiv 2306.04815, loss decomposition",
        unit="loss",
        at=("schedule", "end", "start"),
        cost="one kernel and a Krylov space",
        options="ProjectionOptions",
        negligible=ROUNDING,
    )


def _series(name: str, summary: str, definition: str, source: str, **rest: Any) -> MetricEntry:
    return _metric("series", name, summary, definition, source, at=("series",), cost="nothing", **rest)


def _batch(name: str, summary: str, definition: str, *needs: str, **rest: Any) -> MetricEntry:
    return _metric(
        "mini_batches",
        name,
        summary,
        definition,
        "arXiv 2306.04815, Claim 2",
        at=("series",),
        cost="the kernel of each step's batch",
        needs=(*needs, "batch_critical_rate"),
        **rest,
    )


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
                negligible=ROUNDING,
            ),
            _state(
                f"{split}_error",
                f"Share of wrong classes on the {split} set",
                f"share of {split} examples whose sign (one output) or argmax (several) differs from the label's",
                "arXiv 2306.04815, test error",
                direction="lower",
                requires=("classification", *requires),
                negligible=EXAMPLES,
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
            tolerance=EIGENVALUE,
        ),
        _state(
            "side_kernel_norm",
            "Spectral norm of the tangent kernel on the inputs of one sign",
            "lambda_max of K on the training inputs with x_0 >= 0, or x_0 < 0",
            "arXiv 2205.11787, Theorem 3",
            unit="output^2 / weight^2",
            cost="one kernel and Lanczos",
            options="SideOptions",
            tolerance=EIGENVALUE,
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
            negligible=1e-6,  # of float32 kernels
        ),
        _state(
            "critical_rate",
            "Critical learning rate of gradient descent",
            "2 / lambda_max(grad^2 L), algebraically largest eigenvalue",
            "arXiv 2306.04815",
            unit="weight^2 / loss",
            at=("start",),
            cost="Hessian-vector products",
            options="HessianOptions",
            tolerance=RATE,
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
            tolerance=EIGENVALUE,
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
            tolerance=EIGENVALUE,
        ),
        _state(
            "sharpness",
            "Largest eigenvalue of the loss Hessian",
            "lambda_max(grad^2 L)",
            "Cohen et al. 2021, arXiv 2103.00065",
            unit="loss / weight^2",
            cost="Hessian-vector products, few where a record before shows where to begin",
            options="HessianOptions",
            tolerance=EIGENVALUE,
            warm="tangentbench.tasks.metrics:sharpness_from",
        ),
        _convexity(
            "average_gradient_norm",
            "Norm of the predictor's average gradient",
            "min over records of ||g||_2, g = (1/(n c)) sum_{i,k} grad_w f_k(w; x_i)",
            unit="output / weight",
            reduce="min",
            cost="one gradient",
        ),
        _convexity(
            "pl_constant",
            "Polyak-Lojasiewicz constant along the run",
            "min over records of ||grad L||^2 / (2 L)",
            unit="loss / weight^2",
            reduce="min",
            cost="one gradient",
        ),
        _convexity(
            "hessian_norm_max",
            "Largest spectral norm of the predictor's Hessian over the training set",
            "h = max over examples and outputs of ||grad_w^2 f_k(w; x_i)||_2",
            unit="output / weight^2",
            cost="Lanczos on Hessian-vector products per example",
            options="LargestHessianOptions",
            tolerance=EIGENVALUE,
        ),
        _convexity(
            "convexity_constant",
            "Lower bound of the curvature in the cone around the average gradient",
            "nu kappa^2 ||g||^2 - sqrt(2 nu L) h, nu = s n c (2 for mse with one output)",
            unit="loss / weight^2",
            direction="higher",
            cost="Lanczos on Hessian-vector products per example",
            options="ConvexityOptions",
            tolerance=EIGENVALUE,
        ),
        _convexity(
            "restricted_curvature",
            "Smallest curvature found in the cone around the average gradient",
            "min over tried d, |cos(d, g)| >= kappa, |d| = radius, of "
            "2 [L(w + d) - L(w) - <grad L, d>] / |d|^2, over nu kappa^2 ||g||^2",
            direction="higher",
            cost="Lanczos on products with the loss Hessian",
            options="RestrictedCurvatureOptions",
            tolerance=EIGENVALUE,
        ),
        _convexity(
            "orthogonal_curvature",
            "Smallest curvature found orthogonally to the average gradient",
            "as restricted_curvature, over d orthogonal to g; the same unit",
            cost="Lanczos on products with the loss Hessian",
            options="OrthogonalCurvatureOptions",
            tolerance=EIGENVALUE,
        ),
        _convexity(
            "restricted_curvature_margin",
            "Smallest curvature found in the cone, less its lower bound",
            "min over tried d in the cone of the curvature - (nu kappa^2 ||g||^2 - sqrt(2 nu L) h), h over the step to "
            "the minimiser",
            unit="loss / weight^2",
            direction="higher",
            cost="Lanczos on products with the loss Hessian, and per example",
            options="RestrictedCurvatureOptions",
            tolerance=EIGENVALUE,
        ),
        _convexity(
            "restricted_pl_ratio",
            "Squared gradient over what restricted strong convexity promises of it",
            "||grad L||^2 / (2 alpha (L - inf)), alpha the convexity_constant (none where it is not positive), inf the "
            "smallest L(w + d) found over d, |cos(d, g)| >= kappa, or 0 unless restricted",
            direction="higher",
            cost="Lanczos on Hessian-vector products per example, projected descent",
            options="RestrictedPlOptions",
            tolerance=EIGENVALUE,
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
            tolerance=SUPREMUM,
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
            tolerance=SUPREMUM,
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
            tolerance=SUPREMUM,
        ),
        _state(
            "agop_alignment",
            "Cosine between the model's and the target's average gradient outer product",
            "tr(G^T G*) / (||G||_F ||G*||_F), G = (1/n) sum_i J_i J_i^T with J_i the input Jacobian at train input i; "
            "`roll` shifts G* by so many coordinates",
            "arXiv 2306.04815, AGOP alignment",
            direction="higher",
            options="AgopAlignmentOptions",
            cost="one input Jacobian per example",
            requires=("agop",),
            tolerance=REFERENCE,
            negligible=COSINE,
        ),
        _state(
            "reference_agreement",
            "Alignment between two reference models of real data, trained from different seeds",
            "tr(G* G**) / (||G*||_F ||G**||_F), G* and G** the average gradient outer products on the train inputs of "
            "two reference models; no value where one of them did not reach its train_loss",
            "arXiv 2306.04815, G* of a reference model",
            at=("start",),
            direction="higher",
            requires=("reference",),
            negligible=COSINE,
        ),
        _state(
            "reference_loss",
            "Loss of the reference model of real data on the test set",
            "the task's loss on the test examples, of the reference model",
            "arXiv 2306.04815, G* of a reference model",
            unit="loss",
            at=("start",),
            direction="lower",
            requires=("reference", "test"),
            negligible=ROUNDING,
        ),
        _state(
            "reference_error",
            "Share of test examples that the reference model of real data gets wrong",
            "share of test examples where the sign (one output) or argmax (several) of the reference model's output is "
            "not the label's",
            "arXiv 2306.04815, G* of a reference model",
            at=("start",),
            direction="lower",
            requires=("reference", "test", "classification"),
            negligible=EXAMPLES,
        ),
        _state(
            "feature_alignment",
            "Cosine between a layer's weights and the average gradient outer product of its input",
            "tr(G^T W^T W) / (||G||_F ||W^T W||_F), G = (1/n) sum_{i,k} g g^T with g the gradient of output k at train "
            "input i with respect to the layer's input",
            "arXiv 2212.13881, neural feature ansatz",
            direction="higher",
            cost="one forward and one backward pass",
            options="LayerOptions",
            requires=("network", "chain"),
            negligible=COSINE,
        ),
        _projection(
            "top_loss",
            "Training loss in the top eigenspace of the tangent kernel",
            "PL_{<=s} = (s_L/2) ||P r||^2, r the residuals, P the projection on the s leading eigenvectors of the "
            "current K, s_L the loss's scale",
        ),
        _projection(
            "bulk_loss",
            "Training loss outside the top eigenspace of the tangent kernel",
            "PL_{>s} = L - PL_{<=s} = (s_L/2) ||(1 - P) r||^2",
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
            negligible=EVENT,
        ),
        _series(
            "loss_spikes",
            "Number of spikes of the full set's loss",
            "excursions of L, at every step or at the records of a mini-batch run, that peak at >= 3 times max(L at "
            "their start, 1e-3 L(w_0)) and return below it",
            "tangentbench's own rule; arXiv 2306.04815 for the phenomenon",
            unit="count",
            negligible=EVENT,
        ),
        _batch(
            "sgd_catapults",
            "Number of catapults of a mini-batch run",
            "steps t with eta > eta_crit(batch; w_t) and L(w_{t+1}; batch) > L(w_t; batch)",
            "batch_loss_before",
            "batch_loss_after",
            unit="count",
            negligible=EVENT,
        ),
        _batch(
            "sgd_catapult_rate",
            "Catapults per step of a mini-batch run",
            "sgd_catapults / T",
            "batch_loss_before",
            "batch_loss_after",
            unit="1 / step",
            negligible=STEPS,
        ),
        _batch(
            "batch_loss_rises",
            "Share of steps that raise the loss of their own batch",
            "share of the steps t, among those with eta > eta_crit(batch; w_t), those without, or the tenth with the "
            "largest eta / eta_crit, with L(w_{t+1}; batch) > L(w_t; batch)",
            "batch_loss_before",
            "batch_loss_after",
            options="BatchRisesOptions",
            negligible=STEPS,
        ),
        _batch(
            "batch_top_rises",
            "Share of steps that raise the loss of their own batch along its leading eigenvector",
            "as batch_loss_rises, for PL_{<=1} = (s/2) (u . r)^2, r the batch's residuals, u the leading eigenvector "
            "of K(batch; w_t) at both ends of the step",
            "batch_top_before",
            "batch_top_after",
            options="BatchRisesOptions",
            negligible=STEPS,
        ),
        _batch(
            "batch_critical_rate",
            "Critical learning rate of the batches of a run",
            "median or min over steps t of 2 / (s lambda_max(K(batch; w_t)))",
            unit="weight^2 / loss",
            options="BatchCriticalRateOptions",
        ),
        _series(
            "peak_over_start",
            "Largest value of a curve over its first",
            "max over records t of m_t / m_0; none where the run diverged",
            "arXiv 2306.04815, loss spikes",
            options="CurveOptions",
            of="of",
        ),
        _series(
            "largest_rise",
            "Largest rise of a curve, relative to its start or to where it rises from",
            "max over records t of (m_t - min_{u <= t} m_u) / m_0, or over min_{u <= t} m_u; none where the run "
            "diverged",
            "arXiv 2306.04815, loss outside the top eigenspace",
            options="LargestRiseOptions",
            of="of",
        ),
        _series(
            "end_over_start",
            "Last value of a curve over its first",
            "m_T / m_0",
            "tangentbench",
            options="CurveOptions",
            of="of",
        ),
        _series(
            "top_share_of_spike",
            "Share of a loss spike that lies in the top eigenspace",
            "(PL_{<=s}(t) - PL_{<=s}(u)) / (L(t) - L(u)) for the largest rise, from the smallest L so far at record u "
            "to record t; none without a rise above 1%",
            "arXiv 2306.04815, Claim 1",
            needs=("top_loss", "bulk_loss"),
            negligible=0.01,  # of the spike
        ),
        _series(
            "work_to_target",
            "Work until a curve first reaches a target",
            "per-example gradient evaluations until the curve is <= target; empty (censored) if it never is",
            "after Dahl et al. 2023, arXiv 2306.07179",
            unit="gradient evaluations",
            direction="lower",
            options="WorkToTargetOptions",
            of="of",
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
            "convex_from",
            "Step from which restricted strong convexity is proved",
            "first recorded t with convexity_constant > 0; empty if there is none",
            "arXiv 2209.15106",
            unit="steps",
            direction="lower",
            needs=("convexity_constant",),
        ),
        _series(
            "decay_violation",
            "Largest excess of the loss over geometric decay, per step",
            "max over t >= 1 of (L_t / L_0)^(1/t) - (prod_{s<t} max(1 - eta_s mu, 0))^(1/t), mu = min over records of "
            "||grad L||^2 / (2 L)",
            "arXiv 2209.15106",
            direction="lower",
            needs=("pl_constant",),
            requires=("full_batch",),
        ),
        _series(
            "rate_times_sharpness",
            "Largest product of rate and sharpness",
            "max over records of eta_t lambda_max(grad^2 L)",
            "arXiv 2209.15106, step size 1/beta",
            needs=("sharpness",),
        ),
        _series(
            "final_rate_times_sharpness",
            "Product of rate and sharpness at the end",
            "eta lambda_max(grad^2 L(w_T)), at the rate of the last step",
            "arXiv 2205.11787, Theorems 2 and 3",
            needs=("sharpness",),
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
            negligible=ROUNDING,
        ),
        _series(
            "boundary",
            "Phase boundary found by bisection",
            "the value of `bisect.along` at which the outcome leaves `bisect.leaves`",
            "arXiv 2205.11787, Theorem 1",
            requires=("bisect",),
            tolerance=BRACKET,
            margin=2 * BRACKET,
        ),
    )
}
