"""Derivative kernels of a model: tangent kernel and spectra, Hessians, convexity, AGOP, distance from Taylor models."""

from .agop import agop, alignment, layer_agop
from .cone import least_in_cone, project_onto_cone
from .convexity import (
    Curvature,
    average_gradient,
    curvature_across,
    curvature_in_cone,
    largest_hessian_norm,
    minimum_across,
    minimum_in_cone,
)
from .eigenspace import Eigenpairs, eigenspace_split, top_eigenpairs
from .hessian import loss_hessian_top, loss_on, predictor_hessian_norm, predictor_hessian_norms
from .spectrum import Difference, Estimate, kernel_norm, lanczos_extreme, largest_eigenpair
from .tangent import tangent_kernel
from .worst import worst_direction_error

__all__ = [
    "Curvature",
    "Eigenpairs",
    "Difference",
    "Estimate",
    "agop",
    "alignment",
    "average_gradient",
    "curvature_across",
    "curvature_in_cone",
    "eigenspace_split",
    "kernel_norm",
    "lanczos_extreme",
    "largest_eigenpair",
    "largest_hessian_norm",
    "least_in_cone",
    "layer_agop",
    "loss_hessian_top",
    "loss_on",
    "minimum_across",
    "minimum_in_cone",
    "predictor_hessian_norm",
    "predictor_hessian_norms",
    "project_onto_cone",
    "tangent_kernel",
    "top_eigenpairs",
    "worst_direction_error",
]
