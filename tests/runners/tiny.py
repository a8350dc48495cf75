"""Cells so small that training them takes milliseconds, and an independent account of what training them must give.

`reference` trains a two-layer tanh network in numpy, gradient written out by hand: it shares with the compiled runner
the data, the initial weights and the order of mini-batches, and no line of code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from tangentbench.runners import build
from tangentbench.runners.compiled import Compiled
from tangentbench.runners.train import WORKING_SET, Outcome, Trainer, run_batch
from tangentbench.tasks import registry, streams
from tangentbench.tasks.options import Options
from tangentbench.tasks.spec import Cell

Weights = tuple[np.ndarray, np.ndarray]


def part(kind: str, name: str, **options: Any) -> dict[str, Any]:
    """A component with every default filled in, as a resolved cell has it."""
    schema = registry.find(kind, name).schema() or Options
    return {"name": name, **schema(**options).model_dump(mode="json")}


def metric(name: str, at: str = "", label: str = "", **options: Any) -> dict[str, Any]:
    entry = registry.find("metric", name)
    return {**part("metric", name, **options), "label": label or name, "at": at or entry.at[0]}


METRICS = [metric("train_loss", "schedule"), metric("test_loss"), metric("parameter_distance")]
MODEL = {"depth": 1, "width": 5, "activation": "tanh"}


def tiny_cell(**changes: Any) -> Cell:
    """Six points on a sphere, five neurons, twelve steps of gradient descent, in float64."""
    fields: dict[str, Any] = {
        "task": "family/tiny", "version": 1, "stream": 900, "loss": "mse", "precision": "float64", "seeds": [0],
        "dataset": part("dataset", "sphere", dim=3, train=6, test=4),
        "model": part("model", "wide", **MODEL),
        "method": part("method", "gd", learning_rate={"value": 0.3}),
        "stop": {"steps": 12, "train_loss": None, "relative_loss": None},
        "record": {"every": 3}, "metrics": METRICS, "limits": {"seconds": 60.0, "memory_gib": 4.0},
    }  # fmt: skip
    return Cell(**{**fields, **changes})


def outcomes(
    cells: Cell | Iterable[Cell],
    seeds: Iterable[int] = (0,),
    *,
    compiled: Compiled | None = None,
    working_set: int = WORKING_SET,
) -> list[Outcome]:
    """Every seed of every cell, in one batch."""
    lanes = [(cell, seed) for cell in ([cells] if isinstance(cells, Cell) else cells) for seed in seeds]
    with jax.enable_x64(lanes[0][0].precision == "float64"):
        trainer = Trainer(*lanes[0], compiled)
        return list(run_batch(trainer, lanes, lambda info: None, working_set=working_set))


def network(cell: Cell, seed: int) -> Any:
    """The network of a cell at initialisation, made without the runner (an expansion's network, not the expansion)."""
    options = {k: v for k, v in cell.model.items() if k not in ("name", "expansion", "truncate")}
    data = build.dataset(cell, seed)
    make = registry.find("model", cell.model["name"]).load()
    with jax.enable_x64(True):
        return make(data.in_size, data.out_size, key=streams.jax_key(cell.stream, "init", seed), **options)


class Two:
    """f(x) = V tanh(W x / √d) / √m with w = (W, V) and L = (1/n) Σ |f − y|² on fixed data; derivatives by hand."""

    def __init__(self, cell: Cell, seed: int):
        data = build.dataset(cell, seed)
        self.x, self.y, self.held_out = data.train.x, data.train.y, data.test or data.train
        first, last = network(cell, seed).chain.layers
        self.m, self.d, self.c = *first.weight.shape, last.weight.shape[0]
        self.start = np.concatenate([np.asarray(first.weight).ravel(), np.asarray(last.weight).ravel()])

    def split(self, w: np.ndarray) -> Weights:
        return w[: self.m * self.d].reshape(self.m, self.d), w[self.m * self.d :].reshape(self.c, self.m)

    def output(self, w: np.ndarray, x: np.ndarray) -> np.ndarray:
        inner, outer = self.split(w)
        return np.tanh(x @ inner.T / np.sqrt(self.d)) @ outer.T / np.sqrt(self.m)

    def loss(self, w: np.ndarray, rows: Any = slice(None)) -> float:
        return float(np.mean(np.sum((self.output(w, self.x[rows]) - self.y[rows]) ** 2, axis=1)))

    def test_loss(self, w: np.ndarray) -> float:
        return float(np.mean(np.sum((self.output(w, self.held_out.x) - self.held_out.y) ** 2, axis=1)))

    def jacobian(self, w: np.ndarray, rows: Any = slice(None)) -> np.ndarray:
        """∂f_k(x_i)/∂w as a matrix [n c, p]."""
        inner, outer = self.split(w)
        x = self.x[rows]
        h = np.tanh(x @ inner.T / np.sqrt(self.d))
        to_inner = np.einsum("kj,ij,il->ikjl", outer, 1 - h**2, x) / np.sqrt(self.m * self.d)
        to_outer = np.einsum("kq,ij->ikqj", np.eye(self.c), h) / np.sqrt(self.m)
        return np.concatenate([part.reshape(len(x) * self.c, -1) for part in (to_inner, to_outer)], axis=1)

    def kernel(self, w: np.ndarray, rows: Any = slice(None)) -> np.ndarray:
        jacobian = self.jacobian(w, rows)
        return jacobian @ jacobian.T

    def gradient(self, w: np.ndarray, rows: Any = slice(None)) -> np.ndarray:
        residual = self.output(w, self.x[rows]) - self.y[rows]
        return 2 * residual.ravel() @ self.jacobian(w, rows) / len(residual)

    def critical(self, w: np.ndarray, rows: Any = slice(None)) -> float:
        """2/(s λmax(K)) with s = 2/n."""
        return len(self.x[rows]) / largest(self.kernel(w, rows))

    def hessian(self, w: np.ndarray) -> np.ndarray:
        """∇²L = (2/n) (JᵀJ + Σ_i Σ_k r_ik ∇²f_k(x_i)), as a matrix [p, p]."""
        inner, outer = self.split(w)
        h = np.tanh(self.x @ inner.T / np.sqrt(self.d))
        residual = self.output(w, self.x) - self.y
        p, q = self.m * self.d, self.c * self.m
        bend = np.einsum("ik,kj,ij,il,ir->jlr", residual, outer, -2 * h * (1 - h**2), self.x, self.x)
        both = np.einsum("jlr,jt->jltr", bend, np.eye(self.m)).reshape(p, p) / (self.d * np.sqrt(self.m))
        cross = np.einsum("ik,ij,il,jt->jlkt", residual, 1 - h**2, self.x, np.eye(self.m)) / np.sqrt(self.m * self.d)
        curved = np.block([[both, cross.reshape(p, q)], [cross.reshape(p, q).T, np.zeros((q, q))]])
        jacobian = self.jacobian(w)
        return 2 / len(self.x) * (jacobian.T @ jacobian + curved)


def largest(matrix: np.ndarray) -> float:
    """The largest eigenvalue of a symmetric matrix."""
    return float(np.linalg.eigvalsh(matrix)[-1])


class Account(NamedTuple):
    """The weights before each step and after the last, and the full training loss at each of them."""

    weights: list[np.ndarray]
    loss: np.ndarray


def reference(
    two: Two,
    step: Callable[[int, np.ndarray, np.ndarray], np.ndarray],
    steps: int,
    *,
    target: float = -np.inf,
    rows: Callable[[int], Any] = lambda t: slice(None),
) -> Account:
    """Trains in a plain loop; ``step(t, w, gradient)`` gives the next weights; it ends at a loss of ``target``."""
    weights = [two.start]
    for t in range(steps):
        w = weights[-1]
        if two.loss(w) <= target:
            break
        weights.append(step(t, w, two.gradient(w, rows(t))))
    return Account(weights, np.array([two.loss(w) for w in weights]))
