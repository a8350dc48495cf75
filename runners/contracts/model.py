"""Contract of a model: `(in_size, out_size, *, key, **options) -> equinox.Module`, called with one example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ... import models
from ...models import kernels
from ...models.layered import layered
from ...tasks.entry import Entry
from ..batches import batched_fields
from .common import DIFFERENCE, Failed, entry_is_complete, example, need, need_close, options_are_documented, passed_on

INPUTS, OUTPUTS = 9, (2, 1)  # nine inputs are a square, too; some models have one output only
EXAMPLES = 3


@dataclass
class Subject:
    """A model at its example's options."""

    entry: Entry

    @cached_property
    def options(self) -> dict[str, Any]:
        return passed_on(self.entry, example(self.entry))

    @cached_property
    def outputs(self) -> int:
        refused = ""
        for count in OUTPUTS:
            try:
                jax.eval_shape(lambda count=count: self.weights(self._new(count, _key(0))))
                return count
            except ValueError as error:
                refused = str(error)
        raise Failed(f"it cannot be built for {INPUTS} inputs and one or two outputs: {refused}")

    def _new(self, outputs: int, key: jax.Array, **arrays: Any) -> Any:
        return self.entry.load()(INPUTS, outputs, key=key, **self.options | arrays)

    @cached_property
    def build(self) -> Callable[[jax.Array], Any]:
        """A model of a key, built as the runner does: in a compiled program, its batched options as arrays."""
        compiled = eqx.filter_jit(lambda key, arrays: self._new(self.outputs, key, **arrays))
        names = batched_fields(self.entry)
        return lambda key: compiled(key, {name: jnp.asarray(self.options[name], float) for name in names})

    @staticmethod
    def weights(model: Any) -> Any:
        return models.partition(model)[0]

    @cached_property
    def model(self) -> Any:
        return self.build(_key(0))

    @cached_property
    def x(self) -> jax.Array:
        with jax.ensure_compile_time_eval():  # first asked for while something is traced, it is no part of that
            return jnp.asarray(np.random.default_rng(0).normal(size=(EXAMPLES, INPUTS)), float)

    @cached_property
    def flat(self) -> tuple[Callable[[jax.Array], jax.Array], jax.Array]:
        """All outputs of all examples as a compiled function of one vector of weights, and that vector."""
        params, rest = models.partition(self.model)
        weights, unravel = ravel_pytree(params)
        return jax.jit(lambda w: models.predict(eqx.combine(unravel(w), rest), self.x).reshape(-1)), weights

    @cached_property
    def values(self) -> jax.Array:
        """Outputs of all examples."""
        return eqx.filter_jit(models.predict)(self.model, self.x)


def _key(seed: int) -> jax.Array:
    return jax.random.PRNGKey(seed)


def entry(subject: Subject) -> None:
    entry_is_complete(subject.entry)


def options(subject: Subject) -> str | None:
    return options_are_documented(subject.entry)


def single_example(subject: Subject) -> str:
    shape = jax.eval_shape(subject.model, subject.x[0]).shape
    need(shape == (subject.outputs,), f"[{INPUTS}] gives {list(shape)}, not [{subject.outputs}]")
    return f"{INPUTS} inputs, {subject.outputs} output{'s' if subject.outputs > 1 else ''}"


def precision(subject: Subject) -> None:
    def made() -> Any:
        model = subject.build(_key(0))
        return subject.weights(model), model(jnp.ones(INPUTS))

    for wanted, double in (("float32", False), ("float64", True)):
        with jax.enable_x64(double):
            found = {str(leaf.dtype) for leaf in jax.tree.leaves(jax.eval_shape(made))}
        need(found == {wanted}, f"{'with' if double else 'without'} x64 they are {', '.join(sorted(found))}")


def finite(subject: Subject) -> None:
    need(np.all(np.isfinite(subject.values)), "outputs hold NaN or infinity in float64")
    with jax.enable_x64(False):
        found = Subject(subject.entry).values
    need(np.all(np.isfinite(found)), "outputs hold NaN or infinity in float32")


def vmap(subject: Subject) -> None:
    single = eqx.filter_jit(lambda model, example: model(example))
    alone = np.stack([single(subject.model, example) for example in subject.x])
    need_close(subject.values, alone, "a batch and its examples")


def parameters(subject: Subject) -> str:
    params = subject.weights(subject.model)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    need(count, "no array is trained: weights are floating-point arrays outside `Frozen`")
    f, weights = subject.flat  # of the model that `combine` makes
    before = subject.values.reshape(-1)
    need_close(f(weights), before, "partition and combine")
    need(not np.allclose(f(weights + 0.5), before), "outputs do not depend on the trained arrays")
    return f"{count} trained numbers"


def determinism(subject: Subject) -> None:
    again = Subject(subject.entry)  # compiled anew: numbers that do not come from the key may be constants of a program
    built = subject.model, again.model, again.build(_key(1))
    weights = [ravel_pytree(subject.weights(model))[0] for model in built]
    need(np.array_equal(weights[0], weights[1]), "two models from one key differ")
    need(not np.array_equal(weights[0], weights[2]), "two keys give the same model")


def gradient(subject: Subject) -> None:
    f, weights = subject.flat
    rng = np.random.default_rng(1)
    direction = jnp.asarray(rng.normal(size=weights.shape)) / np.sqrt(weights.size)
    cotangent = jnp.asarray(rng.normal(size=f(weights).shape))
    found = jax.jit(jax.grad(lambda w: f(w) @ cotangent))(weights)
    need(np.all(np.isfinite(found)), "the gradient holds NaN or infinity")
    step = 1e-5
    difference = (f(weights + step * direction) - f(weights - step * direction)) @ cotangent / (2 * step)
    scale = float(jnp.linalg.norm(found))
    need(scale > 0, "the gradient is zero at initialisation")
    off = float(abs(found @ direction - difference))
    need(
        off <= DIFFERENCE * scale, f"the gradient is off by {off:.3g} from finite differences; its norm is {scale:.3g}"
    )


def expansions(subject: Subject) -> str:
    schema = subject.entry.schema()
    orders = ["linear", "quadratic", *(["multilinear"] if getattr(schema, "has_blocks", False) else [])]
    value_and_gradient = eqx.filter_jit(lambda model: _value_and_gradient(model, subject.x))
    value, slope = value_and_gradient(subject.model)
    for order in orders:
        try:
            expansion = models.expand(subject.model, order)
        except Exception as error:
            raise Failed(f"{order}: {type(error).__name__}: {error}") from None
        found, found_slope = value_and_gradient(expansion)
        need_close(found, value, f"{order}: the value")
        need_close(found_slope, slope, f"{order}: the gradient")
    return ", ".join(orders)


def _value_and_gradient(model: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    params, rest = models.partition(model)
    value, pull = jax.vjp(lambda p: models.predict(eqx.combine(p, rest), x), params)
    weights = jnp.arange(1, value.size + 1, dtype=value.dtype).reshape(value.shape)  # tells the outputs apart
    return value, ravel_pytree(pull(weights)[0])[0]


def tangent_kernel(subject: Subject) -> str:
    f, weights = subject.flat
    jacobian = np.asarray(jax.jit(jax.jacfwd(f))(weights))
    found = eqx.filter_jit(kernels.tangent_kernel)(subject.model, subject.x)
    need_close(found, jacobian @ jacobian.T, "the kernel")
    return "by Jacobian" if layered(subject.model) is None else "layerwise"
