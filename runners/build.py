"""From a resolved cell to arrays and pure functions that JAX compiles.

A *lane* is one (cell, seed). Everything that may differ between lanes of one batch is an array of the lane: weights,
frozen arrays (a Taylor model's origin), data, rate, options that only scale numbers, keys. Everything else is static
and shared, so that a batch is one compiled program. Nothing here runs a training loop: that is `train`.
"""

from __future__ import annotations

import functools
import json
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from .. import models
from ..models import kernels
from ..tasks import registry, streams
from ..tasks.datasets import Dataset
from ..tasks.entry import BATCH_CURVES, TOP_CURVES, resolve
from ..tasks.metrics import Context
from ..tasks.model_options import ModelOptions
from ..tasks.spec import Cell
from . import batches, methods, references
from .compiled import TRAINING, Compiled

KERNEL_STEPS = 32  # Lanczos steps on the Gram matrix for rates that are reset during training
FRESH = 20  # records after which a warm search starts afresh


class Lane(NamedTuple):
    """The arrays of one (cell, seed) that training does not change.

    Attributes:
        frozen: arrays of the model that are not trained.
        origin: trainable arrays at initialisation.
        base_params, base_frozen: the same two for the network that the model expands (itself, if it expands none).
        data: ``x_train [n d], y_train [n c], …``, ``agop [d d]``, and, of reference models, ``agop_again`` and
            ``reference_outputs``; absent ones ``None``.
        order, metric: PRNG keys of the mini-batch order and of randomised metrics.
        options: batched options of the method (scalars).
        divergence, scale: a training loss above ``divergence * max(first loss, scale)`` counts as divergence;
            ``scale`` is the mean of ``|y|^2`` over the training examples.
        kernel0: tangent kernel at initialisation ``[n c, n c]``, if a metric asks for it.
        learning_rate: the rate, in absolute units.
    """

    frozen: Any
    origin: Any
    base_params: Any
    base_frozen: Any
    data: dict[str, Any]
    order: jax.Array
    metric: jax.Array
    options: dict[str, jax.Array]
    divergence: Any
    scale: Any
    kernel0: Any
    learning_rate: Any


class Carry(NamedTuple):
    """The arrays that training changes: weights, optimiser state, steps taken, why it stopped, and where the metrics
    that have a `warm` way begin their next search."""

    params: Any
    opt_state: Any
    step: jax.Array
    stopped: jax.Array
    reached: jax.Array
    diverged: jax.Array
    first_loss: jax.Array
    memory: dict[str, jax.Array]


@functools.lru_cache(maxsize=64)
def _dataset(spec: str, stream: int, seed: int) -> Dataset:
    options = json.loads(spec)
    entry = registry.find("dataset", options.pop("name"))
    return entry.load()(streams.generator(stream, "data", seed), **options)


def dataset(cell: Cell, seed: int) -> Dataset:
    """The cell's data for one seed: numpy float64, the same for every model and method.

    Raises:
        DatasetUnavailable: its files are missing.
    """
    return _dataset(batches.canonical(cell.dataset), cell.stream, seed)


@functools.lru_cache(maxsize=64)
def _reference(spec: str, stream: int, seed: int, dtype: str, compiled: Compiled | None) -> references.Reference | None:
    """The reference models of a data set that asks for them; without ``compiled`` only shapes."""
    recipe = json.loads(spec).get("reference")
    if recipe is None:
        return None
    data = _dataset(spec, stream, seed)
    assert data.pool is not None
    test = None if data.test is None else data.test.x
    arrays = jax.tree.map(lambda a: np.asarray(a, dtype), ((data.pool.x, data.pool.y), data.train.x, test))
    measured = functools.partial(references.measured, recipe=recipe)
    key = streams.jax_key(stream, "reference", seed)
    if compiled is None:
        return jax.eval_shape(measured, key, *arrays)
    return jax.device_get(compiled(f"reference{spec}", lambda: jax.jit(measured), key, *arrays, effort=TRAINING))


def divergence_limit(model: dict[str, Any]) -> float:
    """The factor D of a cell's model, far above the peak of any catapult; see `ModelOptions.divergence_scale`."""
    schema = registry.find("model", model["name"]).schema()
    return getattr(schema, "divergence_scale", ModelOptions.divergence_scale)(model)


def kernel_rate(scale: float, kernel: jax.Array, key: jax.Array) -> jax.Array:
    """``2 / (s lambda_max(K))``: the critical rate of the Gauss–Newton part ``s J^T J`` of the loss Hessian."""
    top = kernels.kernel_norm(kernel, key, steps=min(KERNEL_STEPS, kernel.shape[0]))
    return 2.0 / (scale * top.value)


def leading_direction(kernel: jax.Array, key: jax.Array) -> jax.Array:
    """Unit eigenvector ``[N]`` of a kernel's largest eigenvalue, exact for N up to ``KERNEL_STEPS``."""
    return kernels.top_eigenpairs(kernel, 1, key, steps=KERNEL_STEPS).vectors[0]


def batch_order(key: jax.Array, start: jax.Array, steps: int, n: int, size: int) -> jax.Array:
    """Indices ``[steps, size]`` of the mini-batches from step ``start`` on: each epoch is a permutation of the ``n``
    examples; the ``n mod size`` last ones of an epoch are left out of it."""
    per_epoch = n // size
    first = start // per_epoch
    epochs = first + jnp.arange(steps // per_epoch + 2)
    shuffled = jax.vmap(lambda e: jax.random.permutation(jax.random.fold_in(key, e), n)[: per_epoch * size])(epochs)
    rows = shuffled.reshape(-1, size)
    return lax.dynamic_slice_in_dim(rows, start - first * per_epoch, steps)


class Program:
    """The pure functions of one batch; ``cell`` is any of its cells.

    Functions with a ``lane`` argument treat one lane; `train` maps them over lanes. ``data`` sizes come from the first
    data set built, which all lanes of the batch share in shape.
    """

    def __init__(self, cell: Cell, sample: Dataset):
        self.cell = cell
        self.dtype = jnp.dtype(cell.precision)
        self.in_size, self.out_size = sample.in_size, sample.out_size
        self.classification = sample.task == "classification"
        self.n = sample.train.x.shape[0]
        self.loss = registry.find("loss", cell.loss).load()
        self.loss_scale = self.loss.per_kernel(self.n, self.out_size)
        self.method = registry.find("method", cell.method["name"]) if cell.method else None
        size = cell.method.get("batch_size")
        self.batch_size = None if size is None or size >= self.n else int(size)
        self.per_step = self.batch_size or self.n
        self.every = int(cell.record["every"])
        self.steps = int(cell.stop["steps"])
        self.scheduled, self.at_start, self.at_end, self.series = [], [], [], []
        self.warm: dict[str, Any] = {}
        self.needs: set[str] = set()
        for metric in cell.metrics:
            self._add(metric)
        self.resets_rate = self.method is not None and self.method.resets_rate
        if self.resets_rate and cell.method["period"] % self.every:
            raise ValueError(f"{cell.method['name']}: `period` must be a multiple of `record.every`")
        self.batch_curves, self.top_curves = bool(BATCH_CURVES & self.needs), bool(TOP_CURVES & self.needs)
        self._base_static: Any = None
        self._static: Any = None
        jax.eval_shape(self._split, *self._seeding(cell, 0))  # sets the static parts

    def _add(self, metric: dict[str, Any]) -> None:
        options = dict(metric)
        entry = registry.find("metric", options.pop("name"))
        label, at = options.pop("label"), options.pop("at")
        if at == "series":
            self.series.append((label, entry, options))
            self.needs |= set(entry.needs)
            return
        item = (label, entry, functools.partial(entry.load(), **options))
        self.needs |= set(entry.needs)
        {"schedule": self.scheduled, "start": self.at_start, "end": self.at_end}[at].append(item)
        if at == "schedule" and entry.warm:
            self.warm[label] = functools.partial(resolve(entry.warm), **options)

    # -- instances ------------------------------------------------------------------------------------------------

    @staticmethod
    def key(cell: Cell) -> str:
        """What model, data and loss mean to a compiled function: batched options of the model are left out."""
        spec = {part: getattr(cell, part) for part in ("dataset", "loss", "precision")}
        fields = batches.batched_fields(registry.find("model", cell.model["name"]))
        spec["model"] = {k: v for k, v in cell.model.items() if k not in fields}
        return batches.canonical(spec)

    def _split(self, key: jax.Array, batched: dict[str, jax.Array]) -> tuple[Any, Any, Any, Any]:
        """Trainable, frozen and static parts of the network and of the model that is trained (its expansion)."""
        options: dict[str, Any] = self.cell.model | batched
        name, expansion, truncate = options.pop("name"), options.pop("expansion"), options.pop("truncate")
        base = registry.find("model", name).load()(self.in_size, self.out_size, key=key, **options)
        full = base if expansion is None else models.expand(base, expansion, truncate=truncate)
        arrays = []
        for model, static in ((base, "_base_static"), (full, "_static")):
            params, rest = models.partition(model)
            frozen, other = eqx.partition(rest, eqx.is_array)
            setattr(self, static, other)
            arrays += [params, frozen]
        cast = functools.partial(jax.tree.map, lambda a: a.astype(self.dtype) if eqx.is_inexact_array(a) else a)
        return tuple(map(cast, arrays))  # pyright: ignore[reportReturnType]

    def _seeding(self, cell: Cell, seed: int) -> tuple[Any, Any]:
        fields = batches.batched_fields(registry.find("model", cell.model["name"]))
        batched = {name: jnp.asarray(cell.model[name], self.dtype) for name in fields}
        return streams.jax_key(cell.stream, "init", seed), batched

    def lane(self, cell: Cell, seed: int, compiled: Compiled | None = None) -> Lane:
        """The arrays of one lane before it has a learning rate; without ``compiled`` only the shapes of its weights."""
        data = dataset(cell, seed)
        seeding = self._seeding(cell, seed)
        if compiled is None:
            weights = jax.eval_shape(self._split, *seeding)
        else:
            weights = compiled("init" + self.key(cell), lambda: jax.jit(self._split), *seeding)
        arrays: dict[str, Any] = {}
        for split in ("train", "validation", "test"):
            part = getattr(data, split)
            for axis in ("x", "y"):
                arrays[f"{axis}_{split}"] = None if part is None else np.asarray(getattr(part, axis), self.dtype)
        found = _reference(batches.canonical(cell.dataset), cell.stream, seed, str(self.dtype), compiled)
        arrays["agop"] = None if data.agop is None else np.asarray(data.agop, self.dtype)
        arrays |= {"agop_again": None, "reference_outputs": None}
        if found is not None:
            arrays |= {"agop": found.agop, "agop_again": found.agop_again, "reference_outputs": found.outputs}
        return Lane(
            base_params=weights[0],
            base_frozen=weights[1],
            origin=weights[2],
            frozen=weights[3],
            data=arrays,
            order=streams.jax_key(cell.stream, "order", seed),
            metric=streams.jax_key(cell.stream, "metric", seed),
            options={},
            divergence=np.asarray(divergence_limit(cell.model), self.dtype),
            scale=np.asarray(np.mean(np.sum(np.square(data.train.y), axis=1)), self.dtype),
            kernel0=None,
            learning_rate=None,
        )

    def rated(self, cell: Cell, lane: Lane, rate: float, kernel0: Any) -> Lane:
        """The lane with what its method needs: the rate in absolute units and the options that are arrays."""
        batched = batches.batched_fields(self.method) if self.method else frozenset()
        return lane._replace(
            learning_rate=jnp.asarray(rate, self.dtype),
            kernel0=None if kernel0 is None else jnp.asarray(kernel0),
            options={k: jnp.asarray(v, self.dtype) for k, v in cell.method.items() if k in batched},
        )

    # -- functions of one lane ------------------------------------------------------------------------------------

    def model(self, lane: Lane, params: Any) -> Any:
        return eqx.combine(params, eqx.combine(lane.frozen, self._static))

    def network(self, lane: Lane) -> Any:
        """The network at initialisation: what an expansion expands, and the model itself otherwise."""
        if lane.base_params is None:  # left out of stacked lanes, whose metrics measure the model
            return self.model(lane, lane.origin)
        return eqx.combine(lane.base_params, eqx.combine(lane.base_frozen, self._base_static))

    def context(self, lane: Lane) -> Context:
        return Context(
            **lane.data,
            origin=self.model(lane, lane.origin),
            network=self.network(lane),
            loss=self.loss,
            key=lane.metric,
            kernel0=lane.kernel0,
            classification=self.classification,
        )

    def loss_of(self, lane: Lane, params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return self.loss.value(models.predict(self.model(lane, params), x), y)

    def optimizer(self, lane: Lane) -> optax.GradientTransformationExtraArgs:
        assert self.method is not None
        cell = self.cell.method
        factor = methods.schedule(cell.get("schedule"), self.steps)
        rate = lane.learning_rate
        # a whole number would be divided in float32, whatever the precision of the run
        step_rate = rate if factor is None else lambda count: rate * factor(jnp.asarray(count, self.dtype))
        skip = {"name", "learning_rate", "schedule", "batch_size"} | set(lane.options)
        static = {k: v for k, v in cell.items() if k not in skip}
        return optax.with_extra_args_support(self.method.load()(step_rate, **static, **lane.options))

    def begin(self, lane: Lane) -> dict[str, Any]:
        """At initialisation: kernel trace, the `start` metrics, and, for a rate in units of them, ``hessian_top``: the
        largest eigenvalue of the loss Hessian, or the two largest, and their residuals (each ``[1]`` or ``[2]``)."""
        context, model = self.context(lane), self.model(lane, lane.origin)
        x, y = lane.data["x_train"], lane.data["y_train"]
        out: dict[str, Any] = {"metrics": {label: _parts(fn(context, model)) for label, _, fn in self.at_start}}
        if self.steps:
            rate = self.cell.method["learning_rate"]
            if "second_critical" in rate:
                product, weights = kernels.hessian_product(context.network, self.loss.value, x, y)
                pairs = kernels.top_of(product, weights, 2, lane.metric)
                out["hessian_top"] = (pairs.values, pairs.residuals)
            elif "critical" in rate:
                top = kernels.loss_hessian_top(context.network, self.loss.value, x, y, lane.metric)
                out["hessian_top"] = tuple(part[None] for part in _parts(top))
            kernel = kernels.tangent_kernel(model, x)
            out["trace"] = jnp.trace(kernel)
            if "kernel0" in self.needs:
                out["kernel0"] = kernel
        return out

    def finish(self, lane: Lane, params: Any) -> dict[str, Any]:
        """At the last weights: training loss, kernel trace, the scheduled metrics once more and the `end` metrics."""
        context, model = self.context(lane), self.model(lane, params)
        x, y = lane.data["x_train"], lane.data["y_train"]
        return {
            "loss": self.loss.value(models.predict(model, x), y),
            "trace": jnp.trace(kernels.tangent_kernel(model, x)),
            "scheduled": {label: _parts(fn(context, model)) for label, _, fn in self.scheduled},
            "metrics": {label: _parts(fn(context, model)) for label, _, fn in self.at_end},
        }

    def initial_carry(self, lane: Lane) -> Carry:
        no = jnp.zeros((), bool)
        opt_state = self.optimizer(lane).init(lane.origin)
        weights = sum(leaf.size for leaf in jax.tree.leaves(lane.origin))
        return Carry(
            params=lane.origin,
            opt_state=opt_state,
            step=jnp.zeros((), jnp.int32),
            stopped=no,
            reached=no,
            diverged=no,
            first_loss=jnp.asarray(jnp.nan, self.dtype),
            memory={label: jnp.zeros((2, weights), self.dtype) for label in self.warm},
        )

    def _check(self, lane: Lane, carry: Carry, loss: jax.Array) -> Carry:
        """Stops a lane whose training loss reached its target, left the finite numbers or passed the limit."""
        first = jnp.where(carry.step == 0, loss, carry.first_loss)
        target = jnp.asarray(-jnp.inf if self.cell.stop["train_loss"] is None else self.cell.stop["train_loss"])
        if self.cell.stop["relative_loss"] is not None:
            target = jnp.maximum(target, self.cell.stop["relative_loss"] * first)
        bound = lane.divergence * jnp.maximum(first, lane.scale)
        diverged = ~jnp.isfinite(loss) | (loss > bound)
        reached = (loss <= target) & ~diverged
        live = ~carry.stopped
        return carry._replace(
            first_loss=first,
            reached=carry.reached | (live & reached),
            diverged=carry.diverged | (live & diverged),
            stopped=carry.stopped | reached | diverged,
        )

    def _scheduled(self, context: Context, model: Any, carry: Carry) -> tuple[dict[str, jax.Array], Carry]:
        """The scheduled metrics of one record; those with a `warm` way from where the record before ended."""
        out, memory = {}, {}
        afresh = carry.step % (FRESH * self.every) == 0
        for label, _, fn in self.scheduled:
            if label in self.warm:
                before = carry.memory[label]
                before = before.at[0].set(jnp.where(afresh, 0.0, before[0]))
                value, memory[label] = self.warm[label](context, model, before)
            else:
                value = fn(context, model)
            out[label] = _parts(value)[0]
        return out, carry._replace(memory=memory)

    def chunk(self, lane: Lane, carry: Carry, start: jax.Array, blocks: int) -> tuple[Carry, dict[str, Any]]:
        """``blocks`` times: the scheduled metrics, then ``every`` steps. ``start`` counts the steps before this chunk.

        Returns the carry and curves: ``scheduled`` ``{label: [blocks]}``; ``loss`` ``[blocks every]`` for
        full-batch methods, ``block_loss`` ``[blocks]`` for mini-batch ones.
        """
        x, y = lane.data["x_train"], lane.data["y_train"]
        optimizer, context = self.optimizer(lane), self.context(lane)
        rows = None
        if self.batch_size is not None:
            rows = batch_order(lane.order, start, blocks * self.every, self.n, self.batch_size)
            rows = rows.reshape(blocks, self.every, self.batch_size)

        def step(critical: Any, carry: Carry, row: Any) -> tuple[Carry, dict[str, jax.Array]]:
            xb, yb = (x, y) if row is None else (x[row], y[row])
            loss, gradient = jax.value_and_grad(lambda p: self.loss_of(lane, p, xb, yb))(carry.params)
            if row is None:
                carry = self._check(lane, carry, loss)
            extra = {"critical_rate": critical} if self.resets_rate else {}
            updates, opt_state = optimizer.update(gradient, carry.opt_state, carry.params, **extra)
            live = ~carry.stopped & (carry.step < self.steps)
            keep = functools.partial(jax.tree.map, lambda new, old: jnp.where(live, new, old))
            params = jax.tree.map(lambda p, u: jnp.where(live, p + jnp.asarray(u, p.dtype), p), carry.params, updates)
            out = {"loss": loss} if row is None else {}
            if self.batch_curves:
                batch_kernel = kernels.tangent_kernel(self.model(lane, carry.params), xb)
                scale = self.loss.per_kernel(self.per_step, self.out_size)
                out |= {
                    "batch_loss_before": loss,
                    "batch_loss_after": self.loss_of(lane, params, xb, yb),
                    "batch_critical_rate": kernel_rate(scale, batch_kernel, lane.metric),
                }
                if self.top_curves:
                    top = leading_direction(batch_kernel, lane.metric)
                    for label, weights in (("batch_top_before", carry.params), ("batch_top_after", params)):
                        errors = models.predict(self.model(lane, weights), xb) - yb
                        out[label] = scale / 2 * jnp.square(top @ errors.reshape(-1))
            carry = carry._replace(
                params=params, opt_state=keep(opt_state, carry.opt_state), step=carry.step + live.astype(jnp.int32)
            )
            return carry, out

        def block(carry: Carry, rows: Any) -> tuple[Carry, dict[str, Any]]:
            model = self.model(lane, carry.params)
            scheduled, carry = self._scheduled(context, model, carry)
            out: dict[str, Any] = {"scheduled": scheduled}
            if self.batch_size is not None:
                loss = self.loss_of(lane, carry.params, x, y)
                carry = self._check(lane, carry, loss)
                out["block_loss"] = loss
            critical = None
            if self.resets_rate:
                critical = kernel_rate(self.loss_scale, kernels.tangent_kernel(model, x), lane.metric)
            carry, steps = lax.scan(functools.partial(step, critical), carry, rows, length=self.every)
            if self.resets_rate:
                out["rate"] = carry.opt_state.rate  # in force for the whole block: resets fall on its first step
            return carry, out | steps

        return lax.scan(block, carry, rows, length=blocks)


def _parts(value: Any) -> tuple[jax.Array, ...]:
    """A metric's value and, where it has them, the residual that certifies it and the scale of that."""
    parts = value if isinstance(value, (kernels.Estimate, kernels.Difference)) else (value,)
    return tuple(map(jnp.asarray, parts))
