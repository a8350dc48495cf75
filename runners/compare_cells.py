"""Cells of two sides against each other: which belong together, and what moved in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from ..tasks import registry
from .changes import unlike, unrelated
from .claim_data import value_of
from .compare_rows import Finding, Pair, Row, moved, tally
from .noise import Noise
from .output import cell_name
from .records import Run
from .results import Store
from .sides import Side

MEANING = ("version", "stream", "dataset", "model", "loss", "method", "stop", "record", "bisect")
"""What makes two cells the same question; a metric more or less does not, nor does the precision of the answer."""
BAD_OUTCOMES = ("divergent", "dead")
NOT_FAILED = ("ok", "skipped", "interrupted")


def matched(before: Side, after: Side) -> tuple[list[Pair], list[tuple[Row, str]]]:
    """Cells of both sides, and a row with its role for every cell that has no match."""
    a, b = _grouped(before.runs), _grouped(after.runs)
    pairs = [Pair(a[key], b[key]) for key in a if key in b]
    rest = {place(group): group for key, group in b.items() if key not in a}
    lonely: list[tuple[Row, str]] = []
    for group in (group for key, group in a.items() if key not in b):
        run, other = _any(group), rest.pop(place(group), None)
        if other is None:
            lonely.append((_alone(run, "missing", f"only in {before.name}"), run.role))
        elif differing := [name for name in MEANING if run.cell.get(name) != _any(other).cell.get(name)]:
            lonely.append((_alone(run, "incomparable", f"the task changed: {', '.join(differing)}"), run.role))
        else:
            pairs.append(Pair(group, other))
    lonely += [(_alone(_any(group), "missing", f"only in {after.name}"), _any(group).role) for group in rest.values()]
    return pairs, lonely


def metrics(pair: Pair, noise: Noise) -> Iterator[Finding]:
    """One finding per metric that both sides measured in the same way."""
    specs, others = ({spec["label"]: spec for spec in _any(side).cell.get("metrics", ())} for side in pair.sides)
    for label, spec in specs.items():
        entry = registry.table("metric").get(spec["name"])
        if others.get(label) != spec or entry is None:  # an entry is missing where a plug-in is
            continue
        a, b = (values(side, label) for side in pair.sides)
        if a or b:
            floor = noise.floor(pair.first.digest, label, paired=pair.paired)
            row = pair.row("metric", label, "", floor=floor, note=_lost(pair, label, a, b))
            yield moved(row, a, b, entry, (len(pair.sides[0]), len(pair.sides[1])))


def values(runs: Mapping[int, Run], label: str) -> dict[int, float]:
    """Seed -> value of a metric, for the runs that have one."""
    found = {seed: value_of(run, label) for seed, run in runs.items() if run.status == "ok"}
    return {seed: value for seed, value in found.items() if not isinstance(value, str)}


def statuses(pair: Pair) -> Iterator[Finding]:
    """A finding where a larger share of runs failed on one side."""
    failed = [[run for run in side.values() if run.status not in NOT_FAILED] for side in pair.sides]
    shares = [len(runs) / len(side) for runs, side in zip(failed, pair.sides, strict=True)]
    if shares[0] != shares[1]:
        texts = [tally(run.status for run in side.values()) for side in pair.sides]
        worse = shares[1] > shares[0]
        row = pair.row("status", "status", "worse" if worse else "better", before=texts[0], after=texts[1],
                       note=failed[worse][0].message)  # fmt: skip
        yield Finding(row)


def outcomes(pair: Pair) -> Iterator[Finding]:
    """A finding where outcomes differ: of equal seeds a fact, else chance until the counts exclude it.

    A seed more that diverges or dies is worse. Other outcomes are neither good nor bad: they changed where at least
    half of the seeds did, and fewer may stand at a boundary that rounding moves.
    """
    a, b = ({s: run.outcome for s, run in side.items() if run.status == "ok" and run.outcome} for side in pair.sides)
    if pair.paired:
        a, b = ({seed: side[seed] for seed in a.keys() & b.keys()} for side in (a, b))
    if not a or not b:
        return
    bad = [sum(outcome in BAD_OUTCOMES for outcome in side.values()) for side in (a, b)]
    shares = bad[0] / len(a), bad[1] / len(b)
    if a == b or (not pair.paired and shares[0] == shares[1]):
        return
    if shares[0] == shares[1]:
        verdict = "changed" if 2 * sum(a[seed] != b[seed] for seed in a) >= len(a) else "undecided"
    else:
        verdict = "worse" if shares[1] > shares[0] else "better"
    row = pair.row("outcome", "outcome", verdict, before=tally(a.values()), after=tally(b.values()),
                   seeds_before=len(a), seeds_after=len(b))  # fmt: skip
    yield Finding(row, chance=None if pair.paired else unlike(bad[0], len(a), bad[1], len(b)))


def streams(before: Side, after: Side, pairs: Sequence[Pair]) -> Iterator[Finding]:
    """A finding per task whose seeds no longer mean the same draws: other data, or unrelated numbers at the start.

    All cells of a task share data and initial weights seed by seed, so one of them is looked at: the one that trains,
    has the most common seeds, and comes first.
    """
    by_task: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_task.setdefault(pair.first.task, []).append(pair)
    for members in by_task.values():
        pair = max(members, key=lambda member: (member.first.steps > 0, len(member.common)))
        good = [seed for seed in pair.common if pair.before[seed].status == pair.after[seed].status == "ok"]
        hashes = [[side[seed].provenance.get("dataset") for seed in good] for side in (pair.before, pair.after)]
        others = sum(bool(a and b and a != b) for a, b in zip(*hashes, strict=True))
        a = {seed: _start(before.store, pair.before[seed]) for seed in good}
        b = {seed: _start(after.store, pair.after[seed]) for seed in good}
        labels = sorted({label for start in a.values() for label in start})
        lost = any(unrelated(_column(a, label), _column(b, label)) for label in labels)
        if others or lost:
            note = f"other data on {others} of {len(good)} seeds" if others else "the same seeds start elsewhere"
            yield Finding(pair.row("streams", "random streams", "changed", cell="", note=note))


def _start(store: Store, run: Run) -> dict[str, float]:
    """What was measured before the first step: nothing that training could have made chaotic."""
    if run.steps:
        loss = store.arrays(run).get("loss", np.zeros(0))[:1]
        return {"loss": float(loss[0])} if np.isfinite(loss).all() and loss.size else {}
    labels = [spec["label"] for spec in run.cell.get("metrics", ()) if spec.get("at") == "start"]
    return {label: value for label in labels if (value := run.scalars.get(label)) is not None}


def _column(starts: Mapping[int, Mapping[str, float]], label: str) -> dict[int, float]:
    return {seed: start[label] for seed, start in starts.items() if label in start}


def _lost(pair: Pair, label: str, a: Mapping[int, float], b: Mapping[int, float]) -> str:
    """How many seeds lack a value and why, on the side that lacks more."""
    sides = ((pair.sides[1], b, "after"), (pair.sides[0], a, "before"))
    runs, found, when = max(sides, key=lambda side: len(side[0]) - len(side[1]))
    reasons = Counter(
        run.status.replace("_", " ") if run.status != "ok" else str(value_of(run, label))
        for seed, run in runs.items()
        if seed not in found
    )
    if not reasons:
        return ""
    return f"{reasons.total()} of {len(runs)} seeds without a value {when} ({reasons.most_common(1)[0][0]})"


def _grouped(runs: Iterable[Run]) -> dict[tuple[str, bool], dict[int, Run]]:
    """Runs by cell and seed; those that tuned a method apart from those that scored it, which may be the same cell."""
    groups: dict[tuple[str, bool], dict[int, Run]] = {}
    for run in runs:
        groups.setdefault((run.digest, run.role == "tune"), {})[run.seed] = run
    return groups


def _any(group: Mapping[int, Run]) -> Run:
    return next(iter(group.values()))


def place(group: Mapping[int, Run]) -> tuple[str, str, str]:
    """Task, role and name of the cell whose runs these are."""
    run = _any(group)
    return run.task, run.role, cell_name(run)


def _alone(run: Run, verdict: str, note: str) -> Row:
    return Row("cell", run.task, cell_name(run), "", verdict, note=note)
