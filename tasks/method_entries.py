"""The methods: how weights are trained, and the grid of learning rates that arenas tune each one on.

Rates of gradient-descent-like methods are in units of the critical rate ``2/lambda_max(grad^2 L)`` at initialisation,
so one grid serves every width and data set. Adaptive methods have no critical rate: their grids are absolute, and
large, because weights are N(0, 1) in the neural-tangent parameterisation.
"""

from __future__ import annotations

from typing import Any

from .entry import MethodEntry

BATCH = 32


def _method(name: str, summary: str, source: str, grid: list[dict[str, Any]], **rest: Any) -> MethodEntry:
    words = "".join(part.capitalize() for part in name.split("_"))
    return MethodEntry(
        kind="method",
        name=name,
        summary=summary,
        source=source,
        build=f"tangentbench.runners.methods:{name}",
        options=f"tangentbench.tasks.method_options:{words}Options",
        grid=tuple(grid),
        **rest,
    )


def _critical(*values: float, **rest: Any) -> list[dict[str, Any]]:
    return [{"learning_rate": {"critical": c}, **rest} for c in values]


def _absolute(*values: float) -> list[dict[str, Any]]:
    return [{"learning_rate": {"value": v}, "batch_size": BATCH} for v in values]


METHODS = {
    entry.name: entry
    for entry in (
        _method(
            "gd",
            "Gradient descent on the full training set",
            "arXiv 2205.11787, Theorem 1",
            _critical(0.25, 0.5, 0.9, 1.2, 1.5, 1.8),
            critical=True,
        ),
        _method(
            "sgd",
            "Gradient descent on mini-batches, reshuffled every epoch",
            "arXiv 2306.04815, Claim 2",
            _critical(0.2, 0.4, 0.6, 0.9, 1.2, 1.5, batch_size=BATCH),
            critical=True,
        ),
        _method(
            "momentum",
            "Heavy-ball momentum",
            "Polyak 1964",
            _critical(0.1, 0.2, 0.4, 0.8, 1.6, 2.4),
            critical=True,
        ),
        _method(
            "nesterov",
            "Nesterov's accelerated gradient",
            "Sutskever et al. 2013, eq. 3-4",
            _critical(0.05, 0.1, 0.2, 0.4, 0.8, 1.2),
            critical=True,
        ),
        _method(
            "catapult_gd",
            "Gradient descent whose rate is raised above the current critical rate several times",
            "arXiv 2306.04815, multiple catapults",
            [
                {"learning_rate": {"critical": 0.5}, "multiple": m, "period": 50, "raises": 3}
                for m in (1.1, 1.3, 1.5, 1.7, 1.9, 2.1)
            ],
            critical=True,
            resets_rate=True,
            overhead="raises",
        ),
        _method("adam", "Adam", "Kingma & Ba 2015, Algorithm 1", _absolute(0.003, 0.01, 0.03, 0.1, 0.3, 1.0)),
        _method(
            "adamw",
            "Adam with decoupled weight decay",
            "Loshchilov & Hutter 2019, Algorithm 2",
            _absolute(0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
        ),
        _method(
            "nadam",
            "Adam with Nesterov's momentum",
            "Dozat 2016, Algorithm 8",
            _absolute(0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
        ),
        _method(
            "rmsprop",
            "Gradient over a running root mean square",
            "Tieleman & Hinton 2012, Lecture 6.5",
            _absolute(0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
        ),
        _method(
            "adagrad",
            "Gradient over the root of its accumulated squares",
            "Duchi, Hazan & Singer 2011, diagonal form",
            _absolute(0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
        ),
        _method(
            "lion",
            "The sign of an interpolated momentum",
            "Chen et al. 2023, Algorithm 2",
            _absolute(0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
        ),
    )
}
