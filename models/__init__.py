"""Architectures, their Taylor expansions and, in `kernels`, their derivative kernels."""

from .bottleneck import Bottleneck
from .chain import Chain
from .expansion import Expansion, LinearExpansion, MultilinearExpansion, QuadraticExpansion, expand
from .layers import Dense, Init
from .parameters import Frozen, partition, predict
from .quadratic import GeneralQuadratic
from .wide import Wide

__all__ = [
    "Bottleneck",
    "Chain",
    "Dense",
    "Expansion",
    "Frozen",
    "GeneralQuadratic",
    "Init",
    "LinearExpansion",
    "MultilinearExpansion",
    "QuadraticExpansion",
    "Wide",
    "expand",
    "partition",
    "predict",
]
