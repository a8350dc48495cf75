"""Derivative kernels of a model: tangent kernel and spectra, Hessians, convexity, AGOP, distance from Taylor models."""

from .agop import agop, alignment, layer_agop
from .blocks import block_examples, free_product, kernel_in_blocks, kernel_product, product_costs
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
from .hessian import (
    loss_hessian_top,
    loss_hessian_top_from,
    loss_on,
    predictor_hessian_norm,
    predictor_hessian_norms,
)
from .loss_hessian import Density, Sampled, density_of, hessian_product, top_of, trace_of
from .recurrence import recurrence_extreme
from .slopes import Slope, slope_and_kernel
from .spectrum import Difference, Estimate, kernel_norm, lanczos_extreme, largest_eigenpair
from .tangent import tangent_kernel
from .worst import worst_direction_error

__all__ = [
    "Curvature",
    "Density",
    "Difference",
    "Eigenpairs",
    "Estimate",
    "Sampled",
    "Slope",
    "agop",
    "alignment",
    "average_gradient",
    "block_examples",
    "curvature_across",
    "curvature_in_cone",
    "density_of",
    "eigenspace_split",
    "free_product",
    "hessian_product",
    "kernel_in_blocks",
    "kernel_norm",
    "kernel_product",
    "lanczos_extreme",
    "largest_eigenpair",
    "largest_hessian_norm",
    "least_in_cone",
    "layer_agop",
    "loss_hessian_top",
    "loss_hessian_top_from",
    "loss_on",
    "minimum_across",
    "minimum_in_cone",
    "predictor_hessian_norm",
    "predictor_hessian_norms",
    "product_costs",
    "project_onto_cone",
    "recurrence_extreme",
    "slope_and_kernel",
    "tangent_kernel",
    "top_eigenpairs",
    "top_of",
    "trace_of",
    "worst_direction_error",
]
