"""What a task that opens an arena may say: which keys the arena decides itself, and what it ranks and tunes by."""

from __future__ import annotations

from . import registry
from .document import Node
from .problem import did_you_mean
from .report import Report
from .spec import Leaderboard


def check_arena(merged: Node, board: Leaderboard | None, report: Report) -> None:
    """What an arena decides itself must not be given."""
    reasons = {
        "method": "every registered method competes in an arena",
        "sweep": "an arena is one cell per method",
        "bisect": "an arena searches no boundary",
        "claims": "an arena ranks methods; its cells belong to no claim",
    }
    for key, reason in reasons.items():
        if merged.get(key) is not None:
            place = merged.place((key,), key=True)
            report.add(place, f"'{key}' is not allowed beside `leaderboard`: {reason}", "remove it")
    if merged.at(("stop", "steps")) is not None:
        place = merged.place(("stop", "steps"), key=True)
        report.add(place, "'steps' is not allowed in an arena: the budget decides", "remove it")
    reference = merged.at(("leaderboard", "reference", "method"))
    known = registry.table("method")
    if board is not None and reference is not None and board.reference.method not in known:
        what = f"unknown method '{board.reference.method}'"
        report.add(reference, what, did_you_mean(board.reference.method, known))


def check_board(merged: Node, board: Leaderboard, labels: dict[str, str], report: Report) -> None:
    for key in ("metric", "validation_metric"):
        label = getattr(board, key)
        if label not in labels:
            hint = did_you_mean(label, labels, otherwise="add it to metrics")
            report.add(merged.place(("leaderboard", key)), f"the task does not measure '{label}'", hint)
    fit = [label for label, name in labels.items() if _of_validation(name)]
    name = labels.get(board.validation_metric)
    if name in registry.table("metric") and board.validation_metric not in fit:
        measured = "" if name == board.validation_metric else f", which is {name}"
        report.add(
            merged.place(("leaderboard", "validation_metric")),
            f"validation_metric is '{board.validation_metric}'{measured}: methods are tuned on the validation "
            "set only, never on the training or the test set",
            f"write {' or '.join(fit)}" if fit else "write validation_loss, and add it to metrics",
        )


def _of_validation(metric: str) -> bool:
    """Whether a metric is measured on the validation set alone."""
    entry = registry.table("metric").get(metric)
    return entry is not None and "validation" in entry.requires and "test" not in entry.requires
