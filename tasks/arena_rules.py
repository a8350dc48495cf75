"""What a task that opens an arena may say: which keys the arena decides itself, and what it ranks and tunes by."""

from __future__ import annotations

from . import registry
from .claim_options import RankCorrelation
from .document import Node
from .problem import counted, did_you_mean
from .report import Report
from .spec import Leaderboard


def check_arena(merged: Node, board: Leaderboard | None, report: Report) -> None:
    """What an arena decides itself must not be given."""
    reasons = {
        "method": "every registered method competes in an arena",
        "sweep": "an arena is one cell per method",
        "bisect": "an arena searches no boundary",
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


OF_METHODS = "rank_correlation"
"""The kind of claim that is about the methods of an arena; no other is."""


def check_claims(items: Node | None, arena: bool, methods: int | None, report: Report) -> None:
    """Claims about methods stand in arenas, and all others elsewhere.

    Args:
        items: the list of claims.
        arena: whether the task opens an arena.
        methods: how many compete; ``None`` where that does not matter, as in a smoke run.
        report: collects the problems.
    """
    for item in items.value if items is not None and isinstance(items.value, list) else ():
        kinds = [key for key in item.value if key in registry.table("claim")] if isinstance(item.value, dict) else []
        for kind in kinds:
            place = item.place((kind,), key=True)
            if arena and kind != OF_METHODS:
                what = f"'{kind}' is about cells, and those of an arena belong to its methods"
                report.add(place, what, f"write a {OF_METHODS}, or remove `leaderboard`")
            elif not arena and kind == OF_METHODS:
                report.add(
                    place, f"a {OF_METHODS} is about the methods of an arena", "add `leaderboard: …` to the task"
                )
            elif kind == OF_METHODS and methods is not None:
                _enough_methods(item.value[kind][1], methods, report)


def _enough_methods(body: Node, methods: int, report: Report) -> None:
    given = body.get("methods_at_least") if isinstance(body.value, dict) else None
    least = given.value if given is not None else RankCorrelation.model_fields["methods_at_least"].default
    if isinstance(least, int) and methods < least:
        hint = "let more methods compete, or lower methods_at_least"
        report.add(given or body, f"{counted(methods, 'method')} compete; at least {least} are needed", hint)


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
