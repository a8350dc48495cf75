"""Convolutional networks in one and two dimensions."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from .layered import Addition, Layered, add
from .layers import ACTIVATIONS, Dense, Factors, Init, check_choice, normals

PADDINGS = ("circular", "zero")
READOUTS = ("average", "flatten")


class Shared(eqx.Module):
    """z_p = W a_p/√fan-in at every position p: a dense layer whose weights all positions share; a_p is a patch."""

    weight: Float[Array, "out in"]
    positions: int = eqx.field(static=True)

    @property
    def scale(self) -> float:
        """1/√fan-in."""
        return 1 / math.sqrt(self.weight.shape[1])

    @property
    def z_shape(self) -> tuple[int, ...]:
        """Shape of z."""
        return (self.weight.shape[0], self.positions)

    def __call__(self, a: Float[Array, "in p"]) -> Float[Array, "out p"]:
        return self.scale * (self.weight @ a)

    def along(
        self, inputs: Float[Array, "r in p"], cotangents: Float[Array, "r out p"], a: Float[Array, "in p"]
    ) -> Array:
        """Σ_r Σ_p b_rp (a_rp·a)/fan-in: z if the weights were a gradient."""
        return self.scale**2 * jnp.einsum("rwp,rfp,fs->ws", cotangents, inputs, a, optimize="optimal")

    def gram(self, left: Factors, right: Factors) -> Float[Array, "n c n2 c"]:
        """Inner products of the gradients Σ_r Σ_p b_rp a_rpᵀ/√fan-in.

        Each is formed, which costs the number of the layer's weights per pair of outputs; or they are compared position
        by position as Σ_{p,p'} (b_p·b'_p')(a_p·a'_p'), which costs positions² (fan-in + fan-out): whichever is less.
        """
        out, fan_in = self.weight.shape
        if self.positions**2 * (out + fan_in) < out * fan_in:
            inner = jnp.einsum("rnfp,qmfs->rnpqms", left.inputs, right.inputs)
            outer = jnp.einsum("rncwp,qmdws->rncpqmds", left.cotangents, right.cotangents)
            return self.scale**2 * jnp.einsum("rnpqms,rncpqmds->ncmd", inner, outer)
        gradients = [jnp.einsum("rncwp,rnfp->ncwf", side.cotangents, side.inputs) for side in (left, right)]
        return self.scale**2 * jnp.einsum("ncwf,mdwf->ncmd", *gradients)


class Conv(Layered):
    """Convolutions of stride 1, an average over positions or not, and a dense output; NTK parameterisation, no bias.

    z_l[:, p] = W_l a_l[:, patch around p]/√(channels · kernel), a_{l+1} = σ(z_l) (+ h in a residual network, from the
    second convolution on, with h what the patches were taken from), f = σ_out(V mean_p a_{L+1}[:, p]/√channels), or of
    all positions over √(channels · positions).
    Examples are flat: (input channel, position) or (input channel, row, column), with as many rows as columns.
    Sources: arXiv 2010.01092 and arXiv 2205.11786, Section 2; arXiv 2205.11787, experiments
    """

    layers: tuple[Any, ...]
    activations: tuple[str, ...] = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    kernel: int = eqx.field(static=True)
    padding: str = eqx.field(static=True)
    readout: str = eqx.field(static=True)
    residual: bool = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        key: PRNGKeyArray,
        depth: int,
        channels: int,
        activation: str,
        dims: int = 2,
        kernel: int = 3,
        input_channels: int = 1,
        padding: str = "circular",
        readout: str = "average",
        residual: bool = False,
        output_activation: str = "identity",
        init: Mapping[str, Any] | Init | None = None,
    ):
        """`depth` counts convolutions; `kernel` is the side of a patch, odd. `init` holds the fields of `Init`.

        ValueError for unknown names, even kernels and kernels larger than the example, and examples of another size.
        """
        check_choice("activation", activation, ACTIVATIONS)
        check_choice("output_activation", output_activation, ACTIVATIONS)
        check_choice("padding", padding, PADDINGS)
        check_choice("readout", readout, READOUTS)
        side = round((in_size / input_channels) ** (1 / dims))
        if input_channels * side**dims != in_size:
            what = "sequence" if dims == 1 else "square"
            what = f"a {what}" if input_channels == 1 else f"{input_channels} {what}s of one length"
            raise ValueError(f"the examples have {in_size} numbers, which is not {what}; check dims and input_channels")
        if kernel % 2 == 0 or kernel > side:
            raise ValueError(f"kernel must be odd and at most {side}, the side of the examples; got {kernel}")
        law = Init.of(init)
        positions, patch = side**dims, kernel**dims
        shapes = [(channels, patch * fan_in) for fan_in in (input_channels, *[channels] * (depth - 1))]
        shapes.append((out_size, channels * (1 if readout == "average" else positions)))
        noises = normals(key, shapes)
        hidden = [Shared(law.hidden(noise), positions) for noise in noises[:-1]]
        self.layers = (*hidden, Dense(law.last(noises[-1])))
        self.activations = (activation,) * depth + (output_activation,)
        self.shape = (side,) * dims
        self.kernel, self.padding, self.readout, self.residual = kernel, padding, readout, residual

    def through(
        self, x: Float[Array, " d"], additions: Sequence[Addition | None]
    ) -> tuple[Float[Array, " c"], tuple[Float[Array, "*_"], ...]]:
        h = x.reshape(-1, math.prod(self.shape))
        inputs = []
        for index, layer in enumerate(self.layers[:-1]):
            a = self.patches(h)
            inputs.append(a)
            z = ACTIVATIONS[self.activations[index]](add(additions[index], a, layer(a)))
            h = z + h if self.residual and index else z
        a = jnp.mean(h, axis=1) if self.readout == "average" else h.reshape(-1)
        z = add(additions[-1], a, self.layers[-1](a))
        return ACTIVATIONS[self.activations[-1]](z), (*inputs, a)

    def patches(self, h: Float[Array, "channels p"]) -> Float[Array, "in p"]:
        """The values around every position, channel by channel: [channels · kernel^dims, positions]."""
        margin = self.kernel // 2
        grid = h.reshape(-1, *self.shape)
        mode = "wrap" if self.padding == "circular" else "constant"
        for axis, side in enumerate(self.shape, start=1):
            grid = jnp.pad(grid, [(margin, margin) if k == axis else (0, 0) for k in range(grid.ndim)], mode=mode)
            shifted = [lax.slice_in_dim(grid, s, s + side, axis=axis) for s in range(self.kernel)]
            grid = jnp.stack(shifted, axis=-1)
        # [channels, *shape, *offsets] -> [channels, *offsets, *shape]
        dims = len(self.shape)
        grid = jnp.transpose(grid, (0, *range(1 + dims, 1 + 2 * dims), *range(1, 1 + dims)))
        return grid.reshape(-1, math.prod(self.shape))
