"""Components that each break one promise of their kind, and are else those of the example plug-in or of the suite."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tangentbench.models import Chain, Dense, Frozen
from tangentbench.tasks.dataset_options import Splits
from tangentbench.tasks.datasets import Dataset, Split
from tangentbench.tasks.losses import Loss
from tangentbench.tasks.method_options import MethodOptions
from tangentbench.tasks.model_options import ModelOptions
from tangentbench.tasks.options import Count, Options

# -- data sets --------------------------------------------------------------------------------------------------------


class DataOptions(Splits):
    example: ClassVar[Mapping[str, Any]] = {"train": 5, "validation": 3, "test": 3}


class Labelled(DataOptions):
    @property
    def special(self):
        return {"classification"}


class Known(DataOptions):
    @property
    def special(self):
        return {"agop"}


class Silent(DataOptions):
    dim: Count = 2


def make(draw, size, *, task="regression", target=lambda x: x[:, :1], **rest):
    parts = [Split(x, target(x)) if len(x := draw(n)) else None for n in size]
    return Dataset(*parts, task=task, **rest)


def normal(rng):
    return lambda n: rng.standard_normal((n, 2))


def too_many(rng, *, train, validation=0, test=0):
    return make(normal(rng), (train + 1, validation, test))


def zero_one(rng, *, train, validation=0, test=0):
    target = lambda x: np.where(x[:, :1] > 0, 1.0, 0.0)  # noqa: E731
    return make(normal(rng), (train, validation, test), task="classification", target=target)


def global_state(rng, *, train, validation=0, test=0):
    return make(lambda n: np.random.normal(size=(n, 2)), (train, validation, test))


def no_seed(rng, *, train, validation=0, test=0):
    return make(normal(np.random.default_rng(3)), (train, validation, test))


def leaked(rng, *, train, validation=0, test=0):
    x = rng.standard_normal((train + validation, 2))
    return make(lambda n: x[:n], (train, validation, test))


def hashed(rng, *, train, validation=0, test=0):
    return make(normal(np.random.default_rng(abs(hash("seed")))), (train, validation, test))


def twice_agop(rng, *, train, validation=0, test=0):
    made = make(normal(rng), (train, validation, test), function=lambda x: x[:, :1], agop=np.diag([1.0, 0.0]))
    return dataclasses.replace(made, agop=2 * made.agop)


def silent(rng, *, train, validation=0, test=0, dim=2):
    return make(normal(rng), (train, validation, test))


# -- models -----------------------------------------------------------------------------------------------------------


class NetOptions(ModelOptions):
    """The options of all of them."""


class Blocks(ModelOptions):
    """A model that says that it has blocks."""

    has_blocks: ClassVar[bool] = True


class Other(ModelOptions):
    """A default that the model does not have."""

    width: Count = 3
    """Neurons."""


class Net(eqx.Module):
    """f(x) = V tanh(W x)."""

    w: Any
    v: Any

    def __init__(self, in_size, out_size, *, key):
        self.w = jax.random.normal(key, (2, in_size))
        self.v = jnp.ones((out_size, 2), self.w.dtype)

    def __call__(self, x):
        return self.v @ jnp.tanh(self.w @ x)


class OtherDefault(Net):
    def __init__(self, in_size, out_size, *, key, width=4):
        super().__init__(in_size, out_size, key=key)


class Scalar(Net):
    def __call__(self, x):
        return super().__call__(x)[0]


class Single(Net):
    def __init__(self, in_size, out_size, *, key):
        super().__init__(in_size, out_size, key=key)
        self.v = self.v.astype("float32")


class Infinite(Net):
    def __call__(self, x):
        return super().__call__(x) / 0.0


@jax.custom_batching.custom_vmap
def _batched(x):
    return x


@_batched.def_vmap
def _(size, batched, x):
    return 1.001 * x, True


class Batched(Net):
    def __call__(self, x):
        return _batched(super().__call__(x))


class Untrained(Net):
    def __init__(self, in_size, out_size, *, key):
        super().__init__(in_size, out_size, key=key)
        self.w, self.v = Frozen(self.w), Frozen(self.v)

    def __call__(self, x):
        return self.v.value @ jnp.tanh(self.w.value @ x)


class Unseeded(Net):
    def __init__(self, in_size, out_size, *, key):
        super().__init__(in_size, out_size, key=key)
        self.v = self.v * np.random.normal()


@jax.custom_jvp
def _bent(x):
    return jnp.tanh(x)


_bent.defjvp(lambda primals, tangents: (jnp.tanh(primals[0]), 1.001 * (1 - jnp.tanh(primals[0]) ** 2) * tangents[0]))


class Bent(Net):
    def __call__(self, x):
        return self.v @ _bent(self.w @ x)


class HalfBlocks(Net):
    def blocks(self):
        return [eqx.tree_at(lambda m: (m.w, m.v), self, (True, False))]


class DoubleDense(Dense):
    def gram(self, left, right):
        return 2 * super().gram(left, right)


class DoubleGram(Chain):
    def __init__(self, in_size, out_size, *, key):
        super().__init__((in_size, out_size), key=key, activation="tanh")
        self.layers = (DoubleDense(self.layers[0].weight),)


# -- losses -----------------------------------------------------------------------------------------------------------


def _mean(p, y):
    if p.shape != y.shape:
        raise ValueError("shapes")
    return jnp.sum((p - y) ** 2) / len(y)


@jax.custom_jvp
def _kinked(p):
    return p


_kinked.defjvp(lambda primals, tangents: (primals[0], 1.001 * tangents[0]))


class Unhashable(Loss):
    __hash__ = None


misnamed = Loss("other", _mean, lambda n, c: 2.0 / n)
offset = Loss("offset", lambda p, y: _mean(p, y) + 1, lambda n, c: 2.0 / n)
kinked = Loss("kinked", lambda p, y: _mean(_kinked(p), y), lambda n, c: 2.0 / n)
scaled = Loss("scaled", _mean, lambda n, c: 1.0 / n)
broadcast = Loss("broadcast", lambda p, y: jnp.sum((p - y) ** 2) / len(y), lambda n, c: 2.0 / n)
unhashable = Unhashable("unhashable", _mean, lambda n, c: 2.0 / n)

# -- methods ----------------------------------------------------------------------------------------------------------


class StepOptions(MethodOptions):
    """The options of all of them."""


class PeriodOptions(MethodOptions):
    """Those of one that resets its rate."""

    period: Count = 3
    """Steps between two resets."""


class Restless(PeriodOptions):
    """Another default."""

    period: Count = 4
    """Steps between two resets."""


def ascent(learning_rate):
    return optax.sgd(lambda count: -(learning_rate(count) if callable(learning_rate) else learning_rate))


def counting(learning_rate):
    def update(updates, state, params=None):
        return jax.tree.map(lambda g: -learning_rate * g, updates), state + 0.5

    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)


def concrete(learning_rate):
    return optax.sgd(learning_rate if callable(learning_rate) else float(learning_rate))


def noisy(learning_rate):
    return optax.chain(optax.sgd(learning_rate), optax.scale(1 + 0.01 * np.random.uniform()))


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class RateState:
    """The rate in force."""

    rate: Any


def restless(learning_rate, *, period=3):
    def update(updates, state, params=None, *, critical_rate, **_):
        state = RateState(0.9 * state.rate)
        return jax.tree.map(lambda g: -state.rate * g, updates), state

    def init(params):
        return RateState(jnp.asarray(learning_rate, jax.tree.leaves(params)[0].dtype))

    return optax.GradientTransformationExtraArgs(init, update)


# -- metrics ----------------------------------------------------------------------------------------------------------


class Plain(Options):
    """None."""


class Power(Options):
    """A power that the metric does not know."""

    power: Count = 2
    """The power."""


def constant(ctx, model):
    return jnp.ones(())


def not_a_number(ctx, model):
    return jnp.nan * ctx.x_train[0, 0]


def infinite(ctx, model):
    return jnp.ones(()) / 0.0


def infinite_series(series):
    return float("inf")


traces = []


def traced(ctx, model):
    traces.append(1)
    return jnp.asarray(float(len(traces)))
