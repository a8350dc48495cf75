"""Metrics of one state of training: `(ctx, model, **options) -> scalar | Estimate`, pure and jit-safe.

`model` holds the weights of the step at which the metric is asked for. Eigenvalues and suprema come as an `Estimate`:
the value with the residual that certifies it, in the value's own unit.

Notation: f(w; x) the predictor, L the training loss, J the Jacobian of all training outputs in the weights, K = J J^T
the tangent kernel [n c, n c], s the loss's scale (the Gauss-Newton Hessian of L is s J^T J), w0 the initialisation.
"""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ... import models
from ...models import kernels
from ...models.kernels import Difference, Estimate
from ..losses import Loss

Scalar = Float[Array, ""]
Inputs = Float[Array, "n d"]
Targets = Float[Array, "n c"]


class Context(eqx.Module):
    """What a metric may use beside the model: data, initialisation, loss and randomness of one run.

    Attributes:
        x_train, y_train, …: the splits; `None` for those the data set does not have.
        agop: AGOP of the true function on the training inputs, or of the reference model in its place, if there is one.
        origin: the trained model at w0 (an expansion, where the task trains one).
        network: the network at w0; `origin` itself unless that is an expansion of it.
        kernel0: K at w0, for the metrics that declare `needs: kernel0`.
        key: key of the run's `metric` stream.
        loss: the task's loss (static).
        classification: whether targets are labels (static).
        agop_again: AGOP of a second reference model.
        reference_outputs: those of the reference model on the test inputs.
    """

    x_train: Inputs
    y_train: Targets
    x_validation: Inputs | None
    y_validation: Targets | None
    x_test: Inputs | None
    y_test: Targets | None
    agop: Float[Array, "d d"] | None
    origin: Any
    network: Any
    kernel0: Float[Array, "nc nc"] | None
    key: PRNGKeyArray
    loss: Loss = eqx.field(static=True)
    classification: bool = eqx.field(static=True)
    agop_again: Float[Array, "d d"] | None = None
    reference_outputs: Targets | None = None


def _split(ctx: Context, split: Literal["train", "validation", "test"], asker: str) -> tuple[Inputs, Targets]:
    x, y = getattr(ctx, f"x_{split}"), getattr(ctx, f"y_{split}")
    if x is None:
        raise ValueError(f"{asker} needs {split} data: set dataset.{split} above 0")
    return x, y


def _loss(ctx: Context, model: Any, split: Literal["train", "validation", "test"]) -> Scalar:
    x, y = _split(ctx, split, f"{split}_loss")
    return ctx.loss.value(models.predict(model, x), y)


def train_loss(ctx: Context, model: Any) -> Scalar:
    """The task's loss on the training set."""
    return _loss(ctx, model, "train")


def validation_loss(ctx: Context, model: Any) -> Scalar:
    """The task's loss on the validation set; ValueError without one."""
    return _loss(ctx, model, "validation")


def test_loss(ctx: Context, model: Any) -> Scalar:
    """The task's loss on the test set; ValueError without one."""
    return _loss(ctx, model, "test")


def _error(ctx: Context, model: Any, split: Literal["train", "validation", "test"]) -> Scalar:
    if not ctx.classification:
        raise ValueError(f"{split}_error needs a classification data set: use {split}_loss")
    x, y = _split(ctx, split, f"{split}_error")
    return _share_wrong(models.predict(model, x), y)


def _share_wrong(predictions: Targets, y: Targets) -> Scalar:
    if y.shape[1] == 1:
        correct = predictions[:, 0] * y[:, 0] > 0  # an output of 0 or NaN names no class
    else:
        correct = (jnp.argmax(predictions, 1) == jnp.argmax(y, 1)) & jnp.all(jnp.isfinite(predictions), 1)
    return 1 - jnp.mean(correct, dtype=predictions.dtype)


def train_error(ctx: Context, model: Any) -> Scalar:
    """Share of training examples, in [0, 1], whose sign (one output) or argmax (several) is not the label's.

    ValueError for regression data.
    """
    return _error(ctx, model, "train")


def validation_error(ctx: Context, model: Any) -> Scalar:
    """`train_error` on the validation set; ValueError without one."""
    return _error(ctx, model, "validation")


def test_error(ctx: Context, model: Any) -> Scalar:
    """`train_error` on the test set; ValueError without one."""
    return _error(ctx, model, "test")


def output(ctx: Context, model: Any) -> Scalar:
    """Output 0 on the first training example, f_0(w; x_0): the g of `recursion_error`."""
    return model(ctx.x_train[0])[0]


def tangent_kernel_norm(ctx: Context, model: Any, *, steps: int = 32) -> Estimate:
    """lambda_max(K) on the training inputs, by `steps` Lanczos steps; output^2 per weight^2 (arXiv 2205.11787)."""
    kernel = kernels.tangent_kernel(model, ctx.x_train)
    return kernels.kernel_norm(kernel, ctx.key, steps=min(steps, kernel.shape[0]))


def side_kernel_norm(ctx: Context, model: Any, *, sign: Literal["positive", "negative"], steps: int = 32) -> Estimate:
    """lambda_max of K on the training inputs whose first coordinate is at least 0 (`positive`), or below it, by `steps`
    Lanczos steps; output^2 per weight^2.

    For scalar inputs to a ReLU network without biases these are the two eigenvalues of K that are not 0 (arXiv
    2205.11787, Theorem 3: inputs of opposite sign share no active unit).
    """
    kernel = kernels.tangent_kernel(model, ctx.x_train)
    there = jnp.repeat((ctx.x_train[:, 0] >= 0) == (sign == "positive"), kernel.shape[0] // len(ctx.x_train))
    kernel = jnp.where(there[:, None] & there, kernel, 0.0)
    return kernels.kernel_norm(kernel, ctx.key, steps=min(steps, kernel.shape[0]))


def kernel_change(ctx: Context, model: Any) -> Scalar:
    """|K - K_0|_F / |K_0|_F on the training inputs, a pure number; its maximum over a run is the sup_t of arXiv
    2010.01092.

    ValueError if the runner kept no K_0.
    """
    if ctx.kernel0 is None:
        raise ValueError("kernel_change needs the kernel at initialisation: declare needs=('kernel0',)")
    change = kernels.tangent_kernel(model, ctx.x_train) - ctx.kernel0
    return jnp.linalg.norm(change) / jnp.linalg.norm(ctx.kernel0)


def _inverse_rate(top: Estimate) -> Estimate:
    """2/lambda with the residual carried over, |d(2/lambda)| = 2/lambda^2 |d lambda|; NaN unless lambda > 0."""
    usable = top.value > 0
    safe = jnp.where(usable, top.value, 1.0)
    return Estimate(jnp.where(usable, 2 / safe, jnp.nan), jnp.where(usable, 2 * top.residual / safe**2, jnp.nan))


def critical_rate(ctx: Context, model: Any, *, products: int = 200) -> Estimate:
    """2/lambda_max(grad^2 L) on the full training set, at w0, of the network: the rate above which GD from w0
    catapults.

    lambda_max is the algebraically largest eigenvalue of the whole Hessian (`sharpness`). Always at w0 and always of
    the network: expansions share the rate of what they expand, so that their runs can be compared. Weight^2 per loss.
    NaN where no eigenvalue is positive: no rate is critical there (arXiv 2306.04815).
    """
    del model
    return _inverse_rate(
        kernels.loss_hessian_top(ctx.network, ctx.loss.value, ctx.x_train, ctx.y_train, ctx.key, products)
    )


def kernel_critical_rate(ctx: Context, model: Any, *, steps: int = 32) -> Estimate:
    """2/(s lambda_max(K)) at the current weights: the critical rate of the Gauss-Newton part, n/lambda_max(K) for
    `mse`.

    Weight^2 per loss (arXiv 2306.04815). NaN for a dead network, whose kernel is zero.
    """
    top = tangent_kernel_norm(ctx, model, steps=steps)
    scale = ctx.loss.per_kernel(*ctx.y_train.shape)
    return _inverse_rate(Estimate(scale * top.value, scale * top.residual))


def sharpness(ctx: Context, model: Any, *, products: int = 200) -> Estimate:
    """lambda_max(grad^2 L), the algebraically largest eigenvalue, at the current weights; loss per weight^2.

    By LOBPCG with at most so many Hessian-vector products (Cohen et al. 2021, arXiv 2103.00065).
    """
    return kernels.loss_hessian_top(model, ctx.loss.value, ctx.x_train, ctx.y_train, ctx.key, products)


def sharpness_from(
    ctx: Context, model: Any, vectors: Float[Array, "2 p"], *, products: int = 200
) -> tuple[Estimate, Float[Array, "2 p"]]:
    """`sharpness`, to a residual of 1e-4, from two vectors of the record before (`loss_hessian_top_from`), and the two
    of this one; one of zeros is replaced by a random one.
    """
    known = jnp.any(vectors != 0, axis=1)
    start = jnp.where(known[:, None], vectors, jax.random.normal(ctx.key, vectors.shape, vectors.dtype))
    return kernels.loss_hessian_top_from(
        model, ctx.loss.value, ctx.x_train, ctx.y_train, start, products, fresh=~known[0]
    )


def hessian_norm(ctx: Context, model: Any, *, examples: int = 4, steps: int = 32) -> Estimate:
    """Spectral norm of the predictor's Hessian: max over outputs k of |grad_w^2 f_k(w; x)|, mean over examples.

    Over the first `examples` test inputs, training inputs if there is no test set. Of the predictor and not of the
    loss: it is what Theorem 3.6 of arXiv 2205.11786 and Theorem 3.2 of arXiv 2010.01092 bound. Output per weight^2. The
    residual is the mean of the examples' residuals.
    """
    values, residuals = kernels.predictor_hessian_norms(model, _inputs(ctx, examples), ctx.key, steps)
    return Estimate(jnp.mean(values), jnp.mean(residuals))


def _inputs(ctx: Context, examples: int) -> Inputs:
    return (ctx.x_train if ctx.x_test is None else ctx.x_test)[:examples]


def linearization_error(
    ctx: Context,
    model: Any,
    *,
    radius: float = 1.0,
    examples: int = 4,
    restarts: int = 4,
    most_restarts: int = 64,
    steps: int = 50,
) -> Estimate:
    """sup over |dw| = `radius` of |f(w + dw) - f_lin(w + dw)|, largest over examples and outputs; in units of the
    output.

    f_lin is the first-order expansion at the model's own weights (w0 for a metric of the start). The supremum is
    sought by projected gradient ascent of `steps` steps, over the first `examples` test inputs (training inputs without
    a test set): a lower bound (arXiv 2010.01092, 2205.11786). Starts are doubled from `restarts` on until that raises
    it by less than 5%, or up to `most_restarts`; the residual is how far the last doubling raised it.
    """
    return _worst(ctx, model, "linear", None, radius, examples, restarts, most_restarts, steps)


def quadratic_error(
    ctx: Context,
    model: Any,
    *,
    radius: float = 1.0,
    examples: int = 4,
    restarts: int = 4,
    most_restarts: int = 64,
    steps: int = 50,
) -> Estimate:
    """`linearization_error` against the second-order expansion f_quad (arXiv 2205.11787)."""
    return _worst(ctx, model, "quadratic", None, radius, examples, restarts, most_restarts, steps)


def multilinear_error(
    ctx: Context,
    model: Any,
    *,
    radius: float = 1.0,
    examples: int = 4,
    restarts: int = 4,
    most_restarts: int = 64,
    steps: int = 50,
    degree: int | None = None,
) -> Estimate:
    """`linearization_error` against the expansion that is first-order in each block of parameters (arXiv 2206.15058).

    `degree` truncates that expansion at a total degree in dw; without it all degrees stay. ValueError for a model
    without blocks.
    """
    return _worst(ctx, model, "multilinear", degree, radius, examples, restarts, most_restarts, steps)


def _worst(
    ctx: Context,
    model: Any,
    against: Literal["linear", "quadratic", "multilinear"],
    truncate: int | None,
    radius: float,
    examples: int,
    restarts: int,
    most_restarts: int,
    steps: int,
) -> Estimate:
    return kernels.worst_direction_error(
        model,
        _inputs(ctx, examples),
        ctx.key,
        against=against,
        truncate=truncate,
        radius=radius,
        restarts=restarts,
        most_restarts=most_restarts,
        steps=steps,
    )


def agop_alignment(ctx: Context, model: Any, *, roll: int = 0) -> Difference:
    """tr(G^T G*)/(|G|_F |G*|_F) in [0, 1], with G the model's and G* the true function's AGOP on the training inputs.

    G = (1/n) sum_i J_i J_i^T with J_i = df/dx at x_i, [d c] (arXiv 2306.04815). Where the true function is not known,
    G* is that of a reference model. The residual, at a scale of 1, is then the larger of what two of them lack in
    alignment with each other (`reference_agreement`) and of how far the value is from that with the second: what the
    seed of the reference is worth, not its recipe. It is 0 otherwise. With `roll`, G*_jk stands at (j + roll, k +
    roll), modulo d: the AGOP of the same function of other coordinates. ValueError for data without a G*.
    """
    if ctx.agop is None:
        raise ValueError("agop_alignment needs a known true function, as monomial has, or dataset.reference")
    found = kernels.agop(model, ctx.x_train)

    def against(other: Float[Array, "d d"]) -> Scalar:
        return kernels.alignment(found, jnp.roll(other, (roll, roll), axis=(0, 1)))

    value = against(ctx.agop)
    if ctx.agop_again is None:
        return Difference(value, jnp.zeros_like(value), jnp.ones_like(value))
    lacking = jnp.maximum(1 - kernels.alignment(ctx.agop, ctx.agop_again), jnp.abs(value - against(ctx.agop_again)))
    return Difference(value, lacking, jnp.ones_like(value))


def reference_agreement(ctx: Context, model: Any) -> Scalar:
    """Alignment in [0, 1] between the G* of two reference models from different seeds (see `agop_alignment`).

    ValueError without a reference model.
    """
    if ctx.agop is None or ctx.agop_again is None:
        raise ValueError("reference_agreement needs a reference model: set dataset.reference")
    return kernels.alignment(ctx.agop, ctx.agop_again)


def reference_loss(ctx: Context, model: Any) -> Scalar:
    """`test_loss` of the reference model; ValueError without one, and without test examples."""
    if ctx.reference_outputs is None or ctx.y_test is None:
        raise ValueError("reference_loss needs a reference model and test data: set dataset.reference and test")
    return ctx.loss.value(ctx.reference_outputs, ctx.y_test)


def reference_error(ctx: Context, model: Any) -> Scalar:
    """`test_error` of the reference model; ValueError without one, and without labels."""
    if ctx.reference_outputs is None or ctx.y_test is None or not ctx.classification:
        raise ValueError("reference_error needs a reference model and class labels: set dataset.reference and test")
    return _share_wrong(ctx.reference_outputs, ctx.y_test)


def feature_alignment(ctx: Context, model: Any, *, layer: int = 1) -> Scalar:
    """tr(G^T W^T W)/(|G|_F |W^T W|_F) in [0, 1], with W a layer's weights and G the AGOP with respect to its input.

    Close to 1 where the layer's weights follow the directions that matter to the output: the neural feature ansatz
    (arXiv 2212.13881). `layer` counts from 1, the output layer last. ValueError for a model that is no chain of dense
    layers, and for a layer that it does not have.
    """
    chain = getattr(model, "chain", None)
    if not isinstance(chain, models.Chain):
        raise ValueError(f"feature_alignment needs a chain of dense layers, which {type(model).__name__} is not")
    gradients = kernels.layer_agop(chain, ctx.x_train, layer)
    weight = chain.layers[layer - 1].weight
    return kernels.alignment(gradients, weight.T @ weight)


def _norm(tree: PyTree) -> Scalar:
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))


def _trained(model: Any) -> PyTree:
    return models.partition(model)[0]


def parameter_distance(ctx: Context, model: Any) -> Scalar:
    """|w - w0| over all trained parameters, Euclidean."""
    return _norm(jax.tree.map(jnp.subtract, _trained(model), _trained(ctx.origin)))


def relative_parameter_distance(ctx: Context, model: Any) -> Scalar:
    """|w - w0|/|w0| over all trained parameters: small in the lazy regime, linear or not (arXiv 2010.01092)."""
    return parameter_distance(ctx, model) / _norm(_trained(ctx.origin))
