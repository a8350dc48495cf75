"""Derivative kernels of a model: tangent kernel and spectra, Hessians, AGOP, distance from Taylor models."""

from .agop import agop, alignment
from .hessian import loss_hessian_top, predictor_hessian_norm
from .spectrum import Estimate, kernel_norm, lanczos_extreme
from .tangent import tangent_kernel
from .worst import worst_direction_error

__all__ = [
    "Estimate",
    "agop",
    "alignment",
    "kernel_norm",
    "lanczos_extreme",
    "loss_hessian_top",
    "predictor_hessian_norm",
    "tangent_kernel",
    "worst_direction_error",
]
