"""What moved between two sets of stored runs: boards, metrics, outcomes, random streams and speed.

Seeds are paired while they mean the same draws: not across device kinds, and not once a task's streams moved. Every
metric's shift is judged against its own margin, with intervals that hold for all rows of a comparison at once; rows
whose seeds gave the same numbers to the last bit cannot err and do not count among them. Tuning runs have no rows: what
they decide shows on the boards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import compare_boards, compare_cells
from .arenas import Arena
from .changes import family_level
from .compare_rows import REGRESSIONS, Finding, Pair, Row
from .compare_speed import speeds
from .noise import NOTHING, Noise, joined, read
from .results import StoreError
from .sides import Side, resolve

KINDS = ("board", "streams", "status", "outcome", "metric", "cell", "count", "speed")


@dataclass(frozen=True)
class Comparison:
    """Both sides in words, every row, the coverage of each metric's interval, and the arenas as they are after."""

    before: str
    after: str
    tier: str
    level: float
    arenas: tuple[Arena, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> Counter[str]:
        """Rows by verdict."""
        return Counter(row.verdict for row in self.rows)

    @property
    def regressed(self) -> bool:
        """Whether something is worse, changed or slower."""
        return any(row.verdict in REGRESSIONS for row in self.rows)


def between(
    before: str,
    after: str,
    results: str | Path,
    tier: str | None = None,
    folder: str | None = None,
    only: Sequence[str] = (),
) -> Comparison:
    """Compares two sides by their names (`sides.resolve`), with the noise that was measured on their stores.

    Raises:
        StoreError: there are no such runs, or they cannot be compared.
    """
    a, b = (resolve(name, results, tier, only) for name in (before, after))
    return compare(a, b, noise=joined(read(a), read(b)), folder=folder)


def paired(before: Side, after: Side) -> tuple[list[Pair], list[tuple[Row, str]], list[Finding]]:
    """The cells that both sides have, paired where equal seeds mean equal draws; a row and role for every other; and
    the tasks whose draws moved."""
    pairs, lonely = compare_cells.matched(before, after)
    same_device = before.device == after.device
    streams = list(compare_cells.streams(before, after, pairs)) if same_device else []
    unpaired = frozenset(finding.row.task for finding in streams)
    pairs = [
        replace(pair, paired=same_device and bool(pair.common) and pair.first.task not in unpaired) for pair in pairs
    ]
    return pairs, lonely, streams


def compare(before: Side, after: Side, *, noise: Noise = NOTHING, folder: str | None = None) -> Comparison:
    """Compares two sides.

    Args:
        before, after: the runs.
        noise: this machine's, as far as it was measured.
        folder: of more task files, for their arenas.

    Raises:
        StoreError: the sides are of different tiers, or share no cell.
    """
    if before.tier != after.tier:
        raise StoreError(
            f"{before.name} is of tier {before.tier} and {after.name} of tier {after.tier}, and two tiers are never "
            "compared; choose one that both have with --tier"
        )
    pairs, lonely, streams = paired(before, after)
    redefined = sorted({row.task for row, _ in lonely if row.verdict == "incomparable"})
    if not pairs and not redefined:
        raise StoreError(f"{before.name} and {after.name} have no cell in common; run the same tasks on both sides")
    same_device = before.device == after.device
    unpaired = frozenset(finding.row.task for finding in streams)
    arenas, findings = compare_boards.arenas(before, after, folder, unpaired if same_device else None)
    ranked = {(arena.task, arena.metric) for arena in arenas}
    findings += streams
    for pair in (pair for pair in pairs if pair.first.role != "tune"):
        findings += [*compare_cells.statuses(pair), *compare_cells.outcomes(pair)]
        scores = pair.first.role == "score"  # whose ranked metric is on the board
        found = compare_cells.metrics(pair, noise)
        findings += [f for f in found if not (scores and (f.row.task, f.row.metric) in ranked)]
    on_board = {task for task, _ in ranked}
    shown = {"claim": set(), "score": on_board}  # the cells of a board move as its tuning does
    findings += [Finding(row) for row, role in lonely if role in shown and row.task not in shown[role]]
    level = family_level(sum(finding.may_err for finding in findings))
    rows = [finding.settled(level) for finding in findings]
    if same_device:
        rows += speeds(pairs, noise)
    rows.sort(key=lambda row: (KINDS.index(row.kind), row.task))
    notes = [] if same_device else [f"other devices, {before.device} and {after.device}: no times are compared"]
    if redefined:
        notes.append(f"cells that mean something else now are not compared: {', '.join(redefined)}")
    for side in (before, after):
        notes += [f"{side.name} has runs on {kind}, too, which are not compared" for kind in side.other_devices]
    precisions = sorted({_precisions(pair) for pair in pairs} - {""})
    notes += [f"precision changed from {change}, in the tasks' own files" for change in precisions]
    if before.code == after.code and all(p.first.digest == next(iter(p.after.values())).digest for p in pairs):
        notes.append("both sides were made by the same code")
    return Comparison(before.words(), after.words(), before.tier, level, tuple(arenas), tuple(rows), tuple(notes))


def _precisions(pair: Pair) -> str:
    """`float32 to float64`; empty where both sides have the same."""
    a, b = (str(next(iter(side.values())).cell.get("precision")) for side in (pair.before, pair.after))
    return "" if a == b else f"{a} to {b}"
