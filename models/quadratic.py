"""The general quadratic model."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .layers import check_choice, normals
from .parameters import Frozen

SIGNATURES = ("random", "positive")


class GeneralQuadratic(eqx.Module):
    """g(w; x) = wᵀφ(x) + ½ γ wᵀΣw with w ∈ R^d, w₀ ~ N(0, I).

    φ(x) = x/‖x‖, or 0 with `linear=False`; Σ is diagonal, fixed at initialisation: random signs, or the identity.
    γ plays the part of 1/√width. Its tangent kernel is ⟨φ(x) + γΣw, φ(z) + γΣw⟩.
    Source: arXiv 2205.11787 and Figure 8(A); Proposition 10 has φ = 0.
    """

    weight: Float[Array, " d"]
    gamma: Frozen
    signature: Frozen
    linear: bool = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        key: PRNGKeyArray,
        gamma: float | Float[Array, ""] = 1e-3,
        signature: str = "random",
        linear: bool = True,
    ):
        """`gamma` may be a traced number. ValueError unless `out_size` is 1."""
        check_choice("signature", signature, SIGNATURES)
        if out_size != 1:
            raise ValueError(f"general_quadratic has one output, but the dataset asks for {out_size}; use 'wide'")
        self.weight, noise = normals(key, [(in_size,)] * 2)
        self.gamma = Frozen(jnp.asarray(gamma, self.weight.dtype))
        signs = jnp.where(noise < 0, -1, 1).astype(noise.dtype)
        self.signature = Frozen(signs if signature == "random" else jnp.ones_like(signs))
        self.linear = linear

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " 1"]:
        """Output for one example, which must not be zero when `linear`."""
        curved = 0.5 * self.gamma.value * jnp.dot(self.weight * self.signature.value, self.weight)
        straight = jnp.dot(self.weight, x) / jnp.linalg.norm(x) if self.linear else jnp.zeros_like(curved)
        return (straight + curved)[None]
