"""Architectures, their Taylor expansions and, in `kernels`, their derivative kernels."""

from .bottleneck import Bottleneck
from .chain import Chain
from .conv import Conv
from .dag import Dag
from .expansion import Expansion, LinearExpansion, MultilinearExpansion, QuadraticExpansion, expand
from .layered import Layered
from .layers import Dense, Init
from .parameters import Frozen, partition, predict
from .quadratic import GeneralQuadratic
from .wide import Wide

__all__ = [
    "Bottleneck",
    "Chain",
    "Conv",
    "Dag",
    "Dense",
    "Expansion",
    "Frozen",
    "GeneralQuadratic",
    "Init",
    "Layered",
    "LinearExpansion",
    "MultilinearExpansion",
    "QuadraticExpansion",
    "Wide",
    "expand",
    "partition",
    "predict",
]
