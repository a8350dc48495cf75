"""Who is to blame for what moved: code, environment or precision, one factor at a time from A to B.

With f(S) a metric where the factors in S are B's and all others A's, the effect of one factor is f({x}) against f({}).
Where effects do not add up to the whole move, what is left is an interaction: f(S) against what all smaller sets
predict, by inclusion and exclusion, on the scale on which the metric is compared (`changes`). Factors that do not
differ are not run, nor is anything where only one does: it is to blame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from ..tasks import registry
from . import compare_cells, comparison, provenance
from .changes import Margin, family_level
from .compare_rows import Finding, Pair, Row, moved
from .compare_speed import speeds
from .noise import NOTHING, Noise
from .records import Run
from .results import StoreError
from .sides import Side

FACTORS = ("code", "environment", "precision")
AND, TIMES, UNDECIDED = " and ", " × ", "undecided"
STILL = ("equivalent", "undecided", "missing", "incomparable")

Place = tuple[str, str, str]
Key = tuple[Place, str, str]  # and the kind of a row and what it is about
Groups = Mapping[Place, Mapping[int, Run]]
Rerun = Callable[[frozenset[str], Sequence[Pair]], Side]
"""Runs A's cells of these pairs with these factors taken from B."""


@dataclass(frozen=True)
class Cause:
    """What moved, what each factor alone (`code`) or beyond the others (`code × precision`) moves, and who is to blame.

    `cause`: factors whose effect is beyond the margin; `undecided` where none is.
    """

    row: Row
    effects: Mapping[str, Row]
    cause: str


def differing(before: Side, after: Side, pairs: Sequence[Pair]) -> list[str]:
    """The factors in which two sides differ."""
    a, b = (side.runs[0].provenance for side in (before, after))
    cells = ((pair.first.cell, next(iter(pair.after.values())).cell) for pair in pairs)
    differ = {
        "code": _code_differs(a.get("package") or {}, b.get("package") or {}),
        "environment": environment(before) != environment(after),
        "precision": any(old.get("precision") != new.get("precision") for old, new in cells),
    }
    return [factor for factor in FACTORS if differ[factor]]


def environment(side: Side) -> tuple[str, dict[str, str], str]:
    """Python's minor version, the versions of libraries, and XLA's flags."""
    made = side.runs[0].provenance
    versions = {name: str(version) for name, version in (made.get("versions") or {}).items() if version}
    return ".".join(str(made.get("python") or "").split(".")[:2]), versions, str(made.get("xla_flags") or "")


def attribute(before: Side, after: Side, rerun: Rerun, noise: Noise = NOTHING) -> list[Cause]:
    """One cause for everything that moved in cells that both sides have.

    Where a task's random streams moved its seeds are no pairs, and little can be decided of the whole move; a factor
    that leaves the draws alone is still seen seed by seed. So such a task counts as moved in every metric, and those in
    which no factor is found to move anything are dropped.

    Args:
        before, after: the sides.
        rerun: runs A's cells, of some pairs, with factors taken from B.
        noise: this machine's; without it no time has moved.

    Raises:
        StoreError: the sides are of two kinds of device, or cannot be run again.
    """
    if before.device != after.device:
        devices = f"{before.device} and {after.device}"
        raise StoreError(f"--attribute runs cells again, on one kind of device; these sides are of {devices}")
    pairs, _, streams = comparison.paired(before, after)
    factors = differing(before, after, pairs)
    pairs = [pair for pair in pairs if pair.first.role != "tune"]
    redrawn = {finding.row.task: finding.row for finding in streams}
    whole = {key: finding for pair in pairs for key, finding in _findings(pair)}
    level = family_level(sum(finding.may_err for finding in whole.values()))
    settled = {key: finding.settled(level) for key, finding in whole.items()}
    rows = {key: row for key, row in settled.items() if row.verdict not in STILL or row.task in redrawn}
    times = {row.task: row for row in speeds(pairs, noise) if row.verdict not in STILL}
    if not (rows or redrawn or times) or not factors:
        return []
    if len(factors) == 1:
        moved_rows = [*times.values(), *redrawn.values(), *(row for row in rows.values() if row.verdict not in STILL)]
        return [Cause(row, {factors[0]: row}, factors[0]) for row in moved_rows]
    tasks = {row.task for row in (*rows.values(), *redrawn.values(), *times.values())}
    found = _Found(factors, {_place(pair): pair for pair in pairs if pair.first.task in tasks})
    found.take(frozenset(), before)
    for factor in factors:
        found.take(frozenset([factor]), rerun(frozenset([factor]), found.concerned))
    found.take(found.everything, after)
    level = family_level(len(rows) * (len(factors) + 1))
    left = [key for key in rows if _moves(found.beyond(key, found.everything), level)]
    if left and len(factors) > 2:
        for two in map(frozenset, combinations(factors, 2)):
            found.take(two, rerun(two, found.concerned))
    causes = [_redrawn(row, found) for row in redrawn.values()]
    for key, row in rows.items():
        sets = [*found.parts, *([found.everything] if key in left else [])]
        effects = {_name(part): e.settled(level) for part in sets if (e := found.effect(key, part)) is not None}
        cause = _blamed(effects, factors)
        if row.verdict not in STILL or cause != UNDECIDED:
            causes.append(Cause(row, effects, cause))
    if times:  # A again, since its stored times are of another day
        found.take(frozenset(), rerun(frozenset(), [pair for pair in pairs if pair.first.task in times]))
        causes += [_timed(row, found, noise) for row in times.values()]
    return causes


class _Found:
    """Runs by the factors that they have from B, and what follows from them."""

    def __init__(self, factors: Sequence[str], pairs: Mapping[Place, Pair]) -> None:
        self.everything = frozenset(factors)
        self.pairs = pairs
        self.runs: dict[frozenset[str], Groups] = {}
        self.redrawn: dict[frozenset[str], set[str]] = {}

    @property
    def concerned(self) -> list[Pair]:
        return list(self.pairs.values())

    @property
    def parts(self) -> list[frozenset[str]]:
        """Sets of factors that were run, but for none and all, the smallest first."""
        ran = [part for part in self.runs if part and part != self.everything]
        return sorted(ran, key=lambda part: (len(part), sorted(map(FACTORS.index, part))))

    def take(self, part: frozenset[str], side: Side) -> None:
        groups: dict[Place, dict[int, Run]] = {}
        for run in side.runs:
            groups.setdefault(compare_cells.place({run.seed: run}), {})[run.seed] = run
        self.runs[part] = groups
        base = self.base = side if not part else self.base
        pairs = [replace(pair, after=groups[place]) for place, pair in self.pairs.items() if place in groups]
        self.redrawn[part] = (
            {finding.row.task for finding in compare_cells.streams(base, side, pairs)} if part else set()
        )

    def effect(self, key: Key, part: frozenset[str]) -> Finding | None:
        """What a factor moves alone, or several beyond what fewer of them do; None where it was not measured."""
        if len(part) > 1:
            return self.beyond(key, part)
        pair, runs = self.pairs[key[0]], self.runs[part].get(key[0])
        if not runs:
            return None
        same_draws = pair.first.task not in self.redrawn[part]
        alone = replace(pair, after=runs, paired=same_draws and bool(pair.before.keys() & runs.keys()))
        still = Finding(alone.row(key[1], key[2], "equivalent"))
        return dict(_findings(alone)).get(key, still)

    def beyond(self, key: Key, part: frozenset[str]) -> Finding | None:
        """The move of a metric from what smaller sets of factors predict; None for outcomes and statuses.

        Seeds are pairs here whatever they draw: of each, all sets together give one number, and these are independent.
        """
        place, kind, label = key
        if kind != "metric":
            return None
        pair = self.pairs[place]
        entry = registry.find("metric", next(s["name"] for s in pair.first.cell["metrics"] if s["label"] == label))
        smaller = [other for other in self.runs if other < part]
        values = {other: compare_cells.values(self.runs[other].get(place, {}), label) for other in (*smaller, part)}
        weights = _weights(part, smaller)
        margin = Margin(entry.margin, entry.negligible)
        expected = predicted([(weights[other], values[other]) for other in smaller], margin)
        found = {seed: value for seed, value in values[part].items() if seed in expected}
        if not found:
            return None
        expected = {seed: expected[seed] for seed in found}
        row = replace(pair, paired=True).row(kind, label, "", note="")
        return moved(row, expected, found, entry, (len(expected), len(found)))


def _code_differs(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    if (a.get("commit"), a.get("diff")) == (b.get("commit"), b.get("diff")):
        return False
    if a.get("dirty") or b.get("dirty") or not a.get("commit") or not b.get("commit"):
        return True
    digests = [provenance.code_digest_at(str(made["commit"])) for made in (a, b)]
    return digests[0] is None or digests[0] != digests[1]


def _findings(pair: Pair) -> Iterator[tuple[Key, Finding]]:
    found = [*compare_cells.statuses(pair), *compare_cells.outcomes(pair), *compare_cells.metrics(pair, NOTHING)]
    for finding in found:
        yield (_place(pair), finding.row.kind, finding.row.metric), finding


def _moves(finding: Finding | None, level: float) -> bool:
    return finding is not None and finding.settled(level).verdict not in STILL


def _timed(row: Row, found: _Found, noise: Noise) -> Cause:
    """Who moved the time of a task; each factor's runs against those of A, both made now."""
    effects = {}
    for part in (part for part in found.parts if len(part) == 1):
        groups = ((found.runs[frozenset()].get(place), found.runs[part].get(place)) for place in found.pairs)
        pairs = [Pair(a, b) for a, b in groups if a and b and next(iter(a.values())).task == row.task]
        effects |= {_name(part): moved for moved in speeds(pairs, noise)}
    return Cause(row, effects, _blamed(effects, [*effects]))


def _redrawn(row: Row, found: _Found) -> Cause:
    """Who moved the random streams of a task."""
    verdicts = {_name(part): row.task in found.redrawn[part] for part in found.parts if len(part) == 1}
    effects = {name: replace(row, verdict="changed" if moved else "equivalent") for name, moved in verdicts.items()}
    return Cause(row, effects, _blamed(effects, list(verdicts)))


def _weights(subset: frozenset[str], smaller: Sequence[frozenset[str]]) -> dict[frozenset[str], int]:
    """How often each smaller set counts: by inclusion and exclusion, or of single factors alone, their sum."""
    if all(len(part) < 2 for part in smaller):
        return {part: 1 if part else 1 - len(subset) for part in smaller}
    return {part: (-1) ** (len(subset) - len(part) + 1) for part in smaller}


def predicted(terms: Sequence[tuple[int, Mapping[int, float]]], margin: Margin) -> dict[int, float]:
    """Seed by seed the weighted sum of values, or of their logarithms where all are positive (`changes.shift`)."""
    seeds = sorted(set.intersection(*(set(values) for _, values in terms)))
    least = min((values[seed] for _, values in terms for seed in seeds), default=0.0)
    if least < 0 or least + margin.offset <= 0:
        return {seed: math.fsum(weight * values[seed] for weight, values in terms) for seed in seeds}
    logs = {s: math.fsum(weight * math.log(values[s] + margin.offset) for weight, values in terms) for s in seeds}
    return {seed: max(math.exp(log) - margin.offset, 0.0) for seed, log in logs.items()}


def _blamed(effects: Mapping[str, Row], factors: Sequence[str]) -> str:
    guilty = [name for name, row in effects.items() if row.verdict not in STILL]
    if not guilty and all(row.verdict == "equivalent" for row in effects.values()) and len(effects) == len(factors):
        return TIMES.join(factors)  # none of them alone
    return AND.join(guilty) or UNDECIDED


def _place(pair: Pair) -> Place:
    return compare_cells.place(pair.before)


def _name(subset: frozenset[str]) -> str:
    return TIMES.join(factor for factor in FACTORS if factor in subset)
