"""The whole vocabulary: every dataset, model, loss, method, metric and claim kind, by name, without importing any.

Explicit tables for what ships here; other distributions add to the same tables with entry points
(``[project.entry-points."tangentbench.models"]``, ``.datasets``, ``.losses``, ``.methods``, ``.metrics``, ``.claims``)
whose value is the address of an `Entry` in a module that does not import jax. A name can be given once only.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Iterable
from typing import Any

from .entry import METHOD_GRID_POINTS, Entry, MethodEntry, MetricEntry
from .method_entries import METHODS
from .metric_entries import METRICS
from .problem import did_you_mean

__all__ = [
    "CLAIMS", "DATASETS", "KINDS", "LOSSES", "METHODS", "METRICS", "MODELS",
    "Entry", "MethodEntry", "MetricEntry", "PluginError", "UnknownName", "find", "table",
]  # fmt: skip

GROUPS = {kind: f"tangentbench.{kind}s" for kind in ("dataset", "model", "method", "metric", "claim")}
GROUPS["loss"] = "tangentbench.losses"
_TASKS = "tangentbench.tasks"
_MODELS = "tangentbench.models"


class UnknownName(LookupError):
    """No component of that kind has that name; ``suggestion`` says which do."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        other = "`tangentbench list` shows them all" if kind == "task" else ""
        self.kind, self.name, self.suggestion = kind, name, did_you_mean(name, known, otherwise=other)
        super().__init__(f"unknown {kind} '{name}'")

    def __str__(self) -> str:
        return self.args[0] + (f" ({self.suggestion})" if self.suggestion else "")


class PluginError(Exception):
    """An installed plug-in cannot be used; the message names its distribution, what to change, and how to go on."""

    def __init__(self, message: str, origin: str = ""):
        super().__init__(message + (f"; mend it or, to go on without it, `pip uninstall {origin}`" if origin else ""))


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _dataset(name: str, summary: str, source: str) -> Entry:
    options = f"{_TASKS}.dataset_options:{_camel(name)}Options"
    return Entry("dataset", name, summary, source, f"{_TASKS}.datasets:{name}", options)


def _loss(name: str, summary: str, source: str) -> Entry:
    return Entry("loss", name, summary, source, f"tangentbench.tasks.losses:{name}")


def _claim(name: str, summary: str, source: str) -> Entry:
    options = "OutcomeShare" if name == "outcome" else _camel(name)
    build = f"tangentbench.runners.verdicts:{name}"
    return Entry("claim", name, summary, source, build, f"{_TASKS}.claim_options:{options}")


def _by_name(*entries: Entry) -> dict[str, Entry]:
    return {entry.name: entry for entry in entries}


DATASETS = _by_name(
    _dataset("monomial", "Product of a few coordinates of Gaussian inputs", "arXiv 2306.04815, rank-2 regression"),
    _dataset(
        "low_rank_polynomial", "Polynomial of a few directions of Gaussian inputs", "arXiv 2306.04815, regression"
    ),
    _dataset("gaussian_mixture", "Classes drawn from separated Gaussians", "stands in for images, arXiv 2209.15106"),
    _dataset(
        "sphere",
        "Inputs on a sphere with a linear, sign or noise target",
        "inputs as in arXiv 2209.15106, Assumption 2",
    ),
    _dataset("single_example", "One input and one target", "arXiv 2205.11787, Theorem 1"),
    _dataset("two_clusters", "Scalar inputs in two clusters of opposite sign", "arXiv 2205.11787, Theorem 3"),
    _dataset("digits", "Hand-written digits, 8 x 8 pixels (scikit-learn)", "Alpaydin & Kaynak 1998, UCI repository"),
    _dataset("diabetes", "Disease progression from ten measurements (scikit-learn)", "Efron et al. 2004"),
    _dataset("mnist", "Handwritten digits, 28 x 28 pixels (downloaded)", "LeCun, Cortes & Burges 1998"),
    _dataset("fashion_mnist", "Articles of clothing, 28 x 28 pixels (downloaded)", "arXiv 1708.07747"),
    _dataset("cifar10", "Photographs, 32 x 32 pixels in colour (downloaded)", "Krizhevsky 2009"),
    _dataset("svhn", "House numbers, 32 x 32 pixels in colour (downloaded)", "Netzer et al. 2011"),
)

MODELS = _by_name(
    Entry(
        "model", "wide", "Fully connected network of any depth and widths", "arXiv 2010.01092, Theorem 3.2",
        f"{_MODELS}:Wide", f"{_TASKS}.model_options:WideOptions",
    ),
    Entry(
        "model", "bottleneck", "Fully connected network with narrow hidden layers", "arXiv 2206.15058",
        f"{_MODELS}:Bottleneck", f"{_TASKS}.model_options:BottleneckOptions",
    ),
    Entry(
        "model", "dag", "Network on any feed-forward graph", "arXiv 2205.11786, Section 2",
        f"{_MODELS}:Dag", f"{_TASKS}.model_options:DagOptions",
    ),
    Entry(
        "model", "conv", "Convolutional network in one or two dimensions, residual or not",
        "arXiv 2010.01092, arXiv 2205.11786, Section 2", f"{_MODELS}:Conv", f"{_TASKS}.model_options:ConvOptions",
    ),
    Entry(
        "model", "general_quadratic", "g(w; x) = w^T phi(x) + (gamma/2) w^T Sigma(x) w",
        "arXiv 2205.11787, Figure 8(A)",
        f"{_MODELS}:GeneralQuadratic", f"{_TASKS}.model_options:GeneralQuadraticOptions",
    ),
)  # fmt: skip

LOSSES = _by_name(
    _loss("mse", "(1/n) sum_i ||f_i - y_i||^2", "arXiv 2306.04815"),
    _loss("mse_mean", "(1/(n c)) sum_i ||f_i - y_i||^2, c outputs", "torch.nn.MSELoss"),
    _loss("half_mse", "(1/(2n)) sum_i ||f_i - y_i||^2", "Cohen et al. 2021, arXiv 2103.00065"),
    _loss("half_sse", "(1/2) sum_i ||f_i - y_i||^2", "arXiv 2205.11787, Theorem 1"),
)

CLAIMS = _by_name(
    _claim("exponent", "The log-log slope of a metric along a sweep lies in a band", "least squares per seed"),
    _claim("threshold", "A metric of one cell lies in a region", "Student t interval over seeds"),
    _claim("monotone", "A metric rises or falls along a sweep", "Kendall's tau per seed"),
    _claim("contrast", "A metric differs between two cells by enough", "paired by seed, Student t interval"),
    _claim("outcome", "Enough seeds end in one of the named outcomes", "Clopper & Pearson 1934"),
    _claim("boundary", "A phase boundary lies in a band", "bisection per seed, Student t interval"),
    _claim(
        "rank_correlation",
        "Two metrics rise and fall together over the methods of an arena",
        "Spearman's rho per seed",
    ),
)

KINDS: dict[str, dict[str, Any]] = {
    "dataset": DATASETS, "model": MODELS, "loss": LOSSES, "method": METHODS, "metric": METRICS, "claim": CLAIMS,
}  # fmt: skip


@functools.cache
def table(kind: str) -> dict[str, Any]:
    """Every entry of a kind, the suite's own first; raises `PluginError` for a plug-in that cannot be used."""
    entries: dict[str, Any] = dict(KINDS[kind])
    for point in entry_points(GROUPS[kind]):
        entry = _plugin(kind, point)
        if entry.name in entries:
            raise PluginError(
                f"{entry.origin} defines {kind} '{entry.name}', which {entries[entry.name].origin} already defines: "
                "rename it in the plug-in, or uninstall one of them"
            )
        entries[entry.name] = entry
    return entries


def find(kind: str, name: str) -> Any:
    """The entry of a name; raises `UnknownName`."""
    entries = table(kind)
    if name not in entries:
        raise UnknownName(kind, name, entries)
    return entries[name]


@functools.cache
def _installed() -> dict[str, list[Any]]:
    """Entry points of all groups of ours, from the distributions on the path.

    Only those whose file mentions us are parsed: `importlib.metadata` alone takes 30 ms for a hundred distributions.
    """
    groups: dict[str, list[Any]] = {}
    seen: set[str] = set()
    for folder in sys.path:
        for info in _infos(folder):
            from importlib.metadata import Distribution

            found = Distribution.at(info)
            if found.name not in seen:  # the first on the path is the one that is imported
                seen.add(found.name)
                for point in found.entry_points:
                    groups.setdefault(point.group, []).append(point)
    return groups


def _infos(folder: str) -> list[str]:
    """Metadata folders below a folder of the path whose entry points mention us."""
    try:
        names = [name for name in os.listdir(folder or ".") if name.endswith((".dist-info", ".egg-info"))]
    except OSError:  # archives and folders that do not exist are on many paths
        return []
    infos = []
    for name in sorted(names):
        try:
            with open(os.path.join(folder, name, "entry_points.txt"), "rb") as file:
                if b"[tangentbench." in file.read():
                    infos.append(os.path.join(folder, name))
        except OSError:
            continue
    return infos


def entry_points(group: str) -> list[Any]:
    """Entry points of one group, sorted by name and distribution."""
    return sorted(_installed().get(group, ()), key=lambda p: (p.name, p.dist.name if p.dist else ""))


def _plugin(kind: str, point: Any) -> Entry:
    """The entry that an entry point names, checked: kind, name, and what its kind must declare."""
    origin = point.dist.name if point.dist else "a plug-in"
    installed = point.dist.name if point.dist else ""
    where = f"{origin}: entry point {point.group}:{point.name}"
    try:
        entry = point.load()
    except Exception as error:  # a plug-in may fail in any way; the user needs to know which one it was
        raise PluginError(f"{where} cannot be imported: {type(error).__name__}: {error}", installed) from error
    wanted = {"method": MethodEntry, "metric": MetricEntry}.get(kind, Entry)
    if not isinstance(entry, wanted) or entry.kind != kind:
        raise PluginError(f"{where} must be a {wanted.__name__} with kind='{kind}', got {entry!r:.80}", installed)
    if entry.name != point.name:
        raise PluginError(f"{where} has name '{entry.name}': use the same name for both", installed)
    if isinstance(entry, MethodEntry) and len(entry.grid) != METHOD_GRID_POINTS:
        raise PluginError(
            f"{where} has {len(entry.grid)} grid points: every method has {METHOD_GRID_POINTS}", installed
        )
    return dataclasses.replace(entry, origin=origin)
