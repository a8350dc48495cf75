"""Data sets: `(rng, **options) -> Dataset`, numpy float64, the same arrays on every device."""

from .base import Dataset as Dataset
from .base import DatasetUnavailable as DatasetUnavailable
from .base import Split as Split
from .bundled import diabetes as diabetes
from .bundled import digits as digits
from .images import cifar10 as cifar10
from .images import fashion_mnist as fashion_mnist
from .images import mnist as mnist
from .images import svhn as svhn
from .synthetic import gaussian_mixture as gaussian_mixture
from .synthetic import low_rank_polynomial as low_rank_polynomial
from .synthetic import monomial as monomial
from .synthetic import single_example as single_example
from .synthetic import sphere as sphere
from .synthetic import two_clusters as two_clusters
