"""Hessian norms and sharpness on PyTorch, as its packages and the edge-of-stability code take them; for `worker`."""

from collections.abc import Callable
from typing import Any

import arrays  # pyright: ignore[reportMissingImports]
import numpy as np
import scipy.sparse.linalg
import torch  # pyright: ignore[reportMissingImports]


class _Dense(torch.nn.Module):
    def __init__(self, weight: np.ndarray):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.from_numpy(weight))

    def forward(self, x: Any) -> Any:
        return x @ self.weight.T / self.weight.shape[1] ** 0.5


class _Output(torch.nn.Module):
    """The output itself as the loss."""

    reduction = "sum"

    def forward(self, prediction: Any, target: Any) -> Any:
        return prediction.sum() + 0 * target.sum()


def _network(dim: int, width: int) -> Any:
    layers: list[Any] = []
    for weight in arrays.weights(arrays.sizes(dim, width)):
        layers += [_Dense(weight), torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


def _extreme(matvec: Callable[[Any], Any], size: int, tolerance: float, which: str) -> float:
    sparse: Any = scipy.sparse.linalg  # its stubs know neither of the two keywords
    operator = sparse.LinearOperator(
        (size, size), matvec=lambda v: matvec(torch.from_numpy(v.astype(np.float32).ravel())).numpy(), dtype=np.float32
    )
    start = np.random.default_rng(3).standard_normal(size, dtype=np.float32)
    return float(sparse.eigsh(operator, 1, which=which, tol=tolerance, v0=start, return_eigenvectors=False)[0])


def curvlinops_norm(width: int, dim: int, tolerance: float) -> Callable[[], float]:
    """SciPy's eigsh on curvlinops' Hessian of the output on one example."""
    import curvlinops  # pyright: ignore[reportMissingImports]

    network, x = _network(dim, width), torch.from_numpy(arrays.examples(1, dim))
    data = [(x, torch.zeros(1, 1))]
    params = list(network.parameters())
    hessian = curvlinops.HessianLinearOperator(network, _Output(), params, data, check_deterministic=False)
    return lambda: abs(_extreme(lambda v: hessian @ v, hessian.shape[0], tolerance, "LM"))


def pyhessian_norm(width: int, dim: int, tolerance: float) -> Callable[[], float]:
    """PyHessian's power method on the Hessian of the output on one example."""
    import pyhessian  # pyright: ignore[reportMissingImports]

    network, x = _network(dim, width), torch.from_numpy(arrays.examples(1, dim))

    def job() -> float:
        hessian = pyhessian.hessian(network, _Output(), data=(x, torch.zeros(1, 1)), cuda=False)
        values, _ = hessian.eigenvalues(maxIter=1000, tol=tolerance, top_n=1)
        return abs(float(values[0]))

    return job


def sharpness_along(n: int, width: int, dim: int, rate: float, steps: int, tolerance: float) -> Callable[[], float]:
    """Gradient descent with the largest eigenvalue of the loss Hessian before every step; the last one is the number.

    As the code of the edge-of-stability paper (Cohen et al. 2021): SciPy's eigsh (there at its default
    tolerance, 0) on Hessian–vector products of autograd.
    """
    x, y = torch.from_numpy(arrays.examples(n, dim)), torch.from_numpy(arrays.targets(n))

    def job() -> float:
        network = _network(dim, width)
        params = list(network.parameters())
        size, top = sum(p.numel() for p in params), 0.0

        def loss() -> Any:
            return torch.mean((network(x) - y) ** 2)

        def product(v: Any) -> Any:
            gradients = torch.autograd.grad(loss(), params, create_graph=True)
            flat = torch.nn.utils.parameters_to_vector(gradients)
            return torch.nn.utils.parameters_to_vector(torch.autograd.grad(flat @ v, params)).detach()

        for _ in range(steps):
            top = _extreme(product, size, tolerance, "LA")
            for parameter, gradient in zip(params, torch.autograd.grad(loss(), params), strict=True):
                parameter.data -= rate * gradient
        return top

    return job
