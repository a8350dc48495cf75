"""Whether a stored value is evidence: the certificate it came with against what its metric admits.

Iterative methods return a value with a residual, a search with how far its last round moved the value, bisection with
half the width of its bracket; a run keeps them as `label.residual` and `label.half_width`, in the value's unit, and
`learning_rate.critical.residual` as a share of the rate. `MetricEntry.tolerance` is the largest admissible share of the
value; of `label.scale`, where that is larger: the size of the terms of a difference, which may cancel. A value whose
certificate is worse, or missing, decides nothing: its seed counts as one without a value.
"""

from __future__ import annotations

import math

from ..tasks import registry
from .records import Run

UNCERTIFIED = "not certified"
"""What every reason given here says."""


def uncertified(run: Run, label: str) -> str:
    """Why the run's metric with this label is no evidence, or "" if it is: its own certificate, and its rate's."""
    spec = next((metric for metric in run.cell.get("metrics", ()) if metric.get("label", metric["name"]) == label), {})
    entry = registry.table("metric").get(spec.get("name", ""))
    value = run.scalars.get(label)
    if value is not None and entry is not None and entry.tolerance is not None:
        found = min(run.certificates.get(f"{label}.{kind}", math.inf) for kind in ("residual", "half_width"))
        size = max(abs(value), run.certificates.get(f"{label}.scale", 0.0))
        if not found <= entry.tolerance * size:
            return f"{label} {UNCERTIFIED}{_of_reference(run, entry.name, found, entry.tolerance)}"
    return "" if spec.get("at") == "start" else uncertified_rate(run)


def _of_reference(run: Run, metric: str, residual: float, tolerance: float) -> str:
    """What is wrong with the reference models of the run, where they are what its metric is measured against."""
    if metric != "agop_alignment" or not run.cell.get("dataset", {}).get("reference"):
        return ""
    if not math.isfinite(residual):  # none is kept where a network was not trained to the end
        return ": a reference model ended above its train_loss"
    return f": reference models differ by more than {tolerance:g}"


def uncertified_rate(run: Run) -> str:
    """Why the dynamics of the run are no evidence, or "": the critical rate that its learning rates are given in."""
    tolerance = registry.find("metric", "critical_rate").tolerance
    share = run.certificates.get("learning_rate.critical.residual", math.inf if _in_critical_units(run) else 0.0)
    return "" if share <= tolerance else f"critical rate {UNCERTIFIED}"


def _in_critical_units(run: Run) -> bool:
    """Whether the run trains at multiples of a critical rate: that at its start, or one to which its method resets."""
    method = run.cell.get("method") or {}
    if not method or not run.cell["stop"]["steps"]:
        return False
    entry = registry.table("method").get(method["name"])
    rate = method.get("learning_rate")
    return (isinstance(rate, dict) and "critical" in rate) or getattr(entry, "resets_rate", False)
