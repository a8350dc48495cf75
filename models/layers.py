"""Dense layers in the two parameterisations, their initialisation, and the activations.

Notation: a layer maps a to z = s·W a + b with W of shape (fan-out, fan-in).
NTK parameterisation: W_ij ~ N(0, σ²), s = 1/√fan-in. Standard: W_ij ~ N(0, σ²/fan-in), s = 1. With one key both are the
same function at initialisation; they differ in how far a gradient step moves it. Biases are added unscaled.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import reduce
from itertools import accumulate, combinations, product
from operator import add
from types import MappingProxyType
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


def _identity(z: Array) -> Array:
    return z


def _gelu(z: Array) -> Array:
    # The exact z·Φ(z); JAX's default is the tanh approximation, whose higher derivatives differ in the third digit.
    return jax.nn.gelu(z, approximate=False)


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {"identity": _identity, "relu": jax.nn.relu, "tanh": jnp.tanh, "swish": jax.nn.swish, "gelu": _gelu}
)
PARAMETERIZATIONS = ("ntk", "standard")
OUTPUT_INITS = ("normal", "rademacher", "unit_sphere", "zero")


def check_choice(what: str, value: Any, choices: Any) -> None:
    """Raise a ValueError that lists the choices, and the nearest one, unless `value` is among them."""
    names = tuple(choices)
    if value in names:
        return
    near = get_close_matches(str(value), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{what} {value!r} is not one of {', '.join(map(repr, names))}{hint}")


def sigma0(sigma1: float, width: int) -> float:
    """Standard deviation σ₀ = σ₁ / (2 (1 + √log m / √(2m))), for which ‖W‖₂ ≤ σ₁√m with high probability.

    Source: arXiv 2209.15106, Assumption 2.
    """
    return sigma1 / (2 * (1 + math.sqrt(math.log(width)) / math.sqrt(2 * width)))


@dataclass(frozen=True)
class Init:
    """How a chain of layers is drawn; in NTK units, whatever the parameterisation.

    weights: standard deviation of the hidden weights: "ntk" (1), a number, or {"sigma1": σ₁} for `sigma0(σ₁, m)`
        with m the layer's own fan-out.
    output: the output layer, one row per output: "normal" N(0, 1) (whatever `weights` says), "rademacher" ±1,
        "unit_sphere" uniform on the unit sphere, "zero".
    bias_std: standard deviation of the biases, of a model that has them.
    """

    weights: str | float | Mapping[str, float] = "ntk"
    output: str = "normal"
    bias_std: float = 1.0

    def __post_init__(self) -> None:
        check_choice("init.output", self.output, OUTPUT_INITS)
        if isinstance(self.weights, str):
            check_choice("init.weights", self.weights, ("ntk",))
        elif isinstance(self.weights, Mapping) and set(self.weights) != {"sigma1"}:
            raise ValueError(f"init.weights as a mapping is {{'sigma1': number}}, got {dict(self.weights)!r}")

    @classmethod
    def of(cls, options: "Mapping[str, Any] | Init | None") -> "Init":
        """The `Init` that a mapping of its fields (None: the defaults) stands for. ValueError for other keys."""
        if options is None:
            return cls()
        if isinstance(options, Init):
            return options
        for name in options:
            check_choice("init option", name, cls.__dataclass_fields__)
        return cls(**options)

    def hidden_std(self, fan_out: int) -> float:
        """Standard deviation of the weights of a hidden layer with `fan_out` neurons."""
        if isinstance(self.weights, str):
            return 1.0
        if isinstance(self.weights, Mapping):
            return sigma0(self.weights["sigma1"], fan_out)
        return float(self.weights)

    def hidden(self, noise: Float[Array, "out in"]) -> Float[Array, "out in"]:
        """Weights of a hidden layer, from standard normal noise."""
        return self.hidden_std(noise.shape[0]) * noise

    def last(self, noise: Float[Array, "out in"]) -> Float[Array, "out in"]:
        """Weights of the output layer, from standard normal noise."""
        if self.output == "zero":
            return jnp.zeros_like(noise)
        if self.output == "rademacher":
            return jnp.where(noise < 0, -1, 1).astype(noise.dtype)
        if self.output == "unit_sphere":
            return noise / jnp.linalg.norm(noise, axis=1, keepdims=True)
        return noise


def normals(key: PRNGKeyArray, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """Independent standard normal arrays of these shapes, cut from one draw.

    One draw for a whole network, because XLA compiles every call of the generator anew.
    """
    sizes = [math.prod(shape) for shape in shapes]
    ends = list(accumulate(sizes))
    noise = jax.random.normal(key, (sum(sizes),))
    return [noise[end - size : end].reshape(shape) for end, size, shape in zip(ends, sizes, shapes, strict=True)]


class Factors(NamedTuple):
    """Gradients of c outputs on n examples with respect to one layer, each as a sum over r of terms.

    A term is bilinear in an input a and a sensitivity b of the layer: the gradient of ⟨b, z(a)⟩. See `layered`.
    """

    inputs: Float[Array, "r n *a"]
    cotangents: Float[Array, "r n c *z"]


class Dense(eqx.Module):
    """z = scale · W a + b for one example. `scale` is 1/√fan-in (NTK) or 1 (standard)."""

    weight: Float[Array, "out in"]
    bias: Float[Array, " out"] | None
    scale: float = eqx.field(static=True)

    def __init__(
        self,
        weight: Float[Array, "out in"],
        bias: Float[Array, " out"] | None = None,
        *,
        parameterization: str = "ntk",
    ):
        """`weight` is drawn in NTK units; the standard parameterisation takes its 1/√fan-in into the weight."""
        check_choice("parameterization", parameterization, PARAMETERIZATIONS)
        factor = 1 / math.sqrt(weight.shape[1])
        self.weight, self.scale = (weight, factor) if parameterization == "ntk" else (factor * weight, 1.0)
        self.bias = bias

    def __call__(self, a: Float[Array, " in"]) -> Float[Array, " out"]:
        z = self.scale * (self.weight @ a)
        return z if self.bias is None else z + self.bias

    @property
    def z_shape(self) -> tuple[int, ...]:
        """Shape of z."""
        return self.weight.shape[:1]

    def along(self, inputs: Float[Array, "r in"], cotangents: Float[Array, "r out"], a: Float[Array, " in"]) -> Array:
        """scale² Σ_r b_r (a_r·a), and the first term's b for a bias: z if the weights were a gradient."""
        z = self.scale**2 * ((inputs @ a) @ cotangents)
        return z if self.bias is None else z + cotangents[0]

    def gram(self, left: Factors, right: Factors) -> Float[Array, "n c n2 c"]:
        """Inner products of gradients scale · Σ_r b_r a_rᵀ, and of those of the bias, which are those of the first
        term's b. No gradient is formed: Σ_{r,q} (A_r A_qᵀ) ∘ (B_r B_qᵀ), where for one and the same `left` and `right`
        (q, r) is the transpose of (r, q)."""

        def pair(r: int, q: int) -> Float[Array, "n c n2 c"]:
            inner = left.inputs[r] @ right.inputs[q].T
            return inner[:, None, :, None] * jnp.einsum("ncw,mdw->ncmd", left.cotangents[r], right.cotangents[q])

        terms, others = range(len(left.inputs)), range(len(right.inputs))
        if left is right:
            pairs = [pair(r, r) for r in terms]
            crossed = [pair(r, q) for r, q in combinations(terms, 2)]
            pairs += crossed + [jnp.transpose(one, (2, 3, 0, 1)) for one in crossed]
        else:
            pairs = [pair(r, q) for r, q in product(terms, others)]
        kernel = self.scale**2 * reduce(add, pairs)
        if self.bias is not None:
            kernel = kernel + jnp.einsum("ncw,mdw->ncmd", left.cotangents[0], right.cotangents[0])
        return kernel
