"""Who is to blame for what moved: code, environment or precision, one factor at a time from A to B.

With f(S) a metric where the factors in S are B's and all others A's, all run now, the effect of one factor is f({x})
against f({}). Where effects do not add up to the whole move, what is left is an interaction: f(S) against what all
smaller sets predict, by inclusion and exclusion, on the scale on which the metric is compared (`changes`). Factors that
do not differ are not run. What moves between stored runs and the same runs made now has a cause that no run records:
the machine, its drivers, a library that is not among those whose versions are kept. Where no factor differs A alone is
run again, and the cause is undecided if that gives what is stored. Cells that use a plug-in are not run again, since a
commit's environment has none: what moved in them is undecided, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

from ..tasks import registry
from ..tasks.spec import digest_of
from . import compare_cells, comparison, provenance
from .changes import Margin, family_level
from .compare_rows import Finding, Pair, Row, moved
from .compare_speed import speeds
from .noise import NOTHING, Noise
from .records import Run
from .results import StoreError
from .sides import Side

FACTORS = ("code", "environment", "precision")
UNRECORDED = "unrecorded"
"""What moves though no factor does: stored runs against the same runs made now."""
VARIABLES = ("XLA_FLAGS", *provenance.NUMERICS)
AND, TIMES, UNDECIDED = " and ", " × ", "undecided"
STILL = ("equivalent", "undecided", "missing", "incomparable")

Place = tuple[str, str, str]
Key = tuple[Place, str, str]  # and the kind of a row and what it is about
Groups = Mapping[Place, Mapping[int, Run]]
Rerun = Callable[[frozenset[str], Sequence[Pair]], Side]
"""Runs A's cells of these pairs with these factors, or none, taken from B."""
Part = frozenset[str] | str
"""The factors that runs have from B or, as they are stored, one of the sides."""
NONE: frozenset[str] = frozenset()
A, B = "A", "B"


@dataclass(frozen=True)
class Cause:
    """What moved, what each factor alone (`code`) or beyond the others (`code × precision`) moves, and who is to blame.

    `effects` has `UNRECORDED`, too, where that was measured. `cause`: those whose effect is beyond the margin;
    `undecided` where none is.
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


class Environment(NamedTuple):
    """Python's minor version, the versions of libraries, those of `VARIABLES` that were set, and plug-ins."""

    python: str
    versions: dict[str, str]
    variables: dict[str, str]
    plug_ins: tuple[str, ...]


def environment(side: Side) -> Environment:
    """What a side was made with, apart from its code; a run that says nothing of variables had none."""
    made = side.runs[0].provenance
    versions = {name: str(version) for name, version in (made.get("versions") or {}).items() if version}
    variables = {"XLA_FLAGS": made.get("xla_flags"), **(made.get("variables") or {})}
    return Environment(
        ".".join(str(made.get("python") or "").split(".")[:2]),
        versions,
        {name: str(variables[name]) for name in VARIABLES if variables.get(name)},
        tuple(sorted(map(str, made.get("plug_ins") or ()))),
    )


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
    moving = {**{((task, "", ""), "speed", ""): row for task, row in times.items()},
              **{((task, "", ""), "streams", ""): row for task, row in redrawn.items()}, **rows}  # fmt: skip
    if not moving:
        return []
    tasks = {row.task for row in moving.values()}
    concerned = {_place(pair): pair for pair in pairs if pair.first.task in tasks and not _uses_plug_ins(pair)}
    again = {*concerned, *((pair.first.task, "", "") for pair in concerned.values())}
    causes = [Cause(row, {}, UNDECIDED) for key, row in moving.items() if key[0] not in again]
    moving = {key: row for key, row in moving.items() if key[0] in again}
    causes += _measured(before, after, rerun, noise, factors, concerned, moving, level) if moving else []
    return [cause for cause in causes if cause.row.verdict not in STILL or cause.cause != UNDECIDED]


def _measured(
    before: Side,
    after: Side,
    rerun: Rerun,
    noise: Noise,
    factors: Sequence[str],
    concerned: Mapping[Place, Pair],
    moving: Mapping[Key, Row],
    level: float,
) -> list[Cause]:
    """The cause of every row, by as many reruns as it takes."""
    rows = [key for key in moving if key[1] not in ("speed", "streams")]
    level = family_level(len(rows) * (len(factors) + 2)) if rows else level
    found = _Found(factors, concerned, moving, noise, level)
    found.take(A, before)
    found.take(B, after)
    for part in (NONE, *map(frozenset, combinations(factors, 1))):
        found.take(part, rerun(part, found.asked))
    if len(factors) > 1 and any(map(found.unexplained, moving)):  # it may be that B's stored runs cannot be had again
        found.take(found.everything, rerun(found.everything, found.asked))
    left = {key for key in moving if found.unexplained(key)}
    if len(factors) > 2 and any(kind == "metric" for _, kind, _ in left):
        for two in map(frozenset, combinations(factors, 2)):
            found.take(two, rerun(two, found.asked))
    return [found.cause(key, everything=key in left) for key in moving]


class _Found:
    """Runs by the factors that they have from B (or, of both sides, as they are stored), and what follows from them."""

    def __init__(
        self, factors: Sequence[str], pairs: Mapping[Place, Pair], rows: Mapping[Key, Row], noise: Noise, level: float
    ) -> None:
        self.factors, self.everything = factors, frozenset(factors)
        self.pairs, self.rows, self.noise, self.level = pairs, rows, noise, level
        self.asked = list(pairs.values())
        self.sides: dict[Part, Side] = {}
        self.runs: dict[Part, Groups] = {}
        self._redrawn: dict[tuple[Part, ...], set[str]] = {}

    def take(self, part: Part, side: Side) -> None:
        self.sides[part] = side
        if part in (A, B):
            self.runs[part] = {place: pair.before if part == A else pair.after for place, pair in self.pairs.items()}
            return
        groups: dict[Place, dict[int, Run]] = {}
        for run in side.runs:
            groups.setdefault(compare_cells.place({run.seed: run}), {})[run.seed] = run
        self.runs[part] = {place: groups[place] for place in self.pairs if place in groups}

    @property
    def parts(self) -> list[frozenset[str]]:
        """Sets of one factor or two that were run, the smallest first."""
        ran = [part for part in self.runs if isinstance(part, frozenset) and part]
        ran = [part for part in ran if part != self.everything or len(part) == 1]
        return sorted(ran, key=lambda part: (len(part), sorted(map(FACTORS.index, part))))

    @property
    def whole(self) -> Part:
        """B made now or, where that was not run, as it is stored."""
        return self.everything if self.everything in self.runs else B

    def cause(self, key: Key, *, everything: bool) -> Cause:
        """Every effect, with that of all factors together where `everything` is asked for, and who is to blame."""
        parts = [*self.parts, *([self.everything] if everything and key[1] == "metric" else [])]
        effects = {_name(part): effect for part in parts if (effect := self.effect(key, part)) is not None}
        alone = [row.verdict for name, row in effects.items() if name in self.factors]
        if (unrecorded := self.unrecorded(key)) is not None:
            effects[UNRECORDED] = unrecorded
        guilty = [name for name, row in effects.items() if row.verdict not in STILL]
        if not guilty and alone == ["equivalent"] * len(self.factors) and _moved(self.step(key, NONE, self.whole)):
            guilty = [TIMES.join(self.factors)]  # none of them alone
        return Cause(self.rows[key], effects, AND.join(guilty) or UNDECIDED)

    def unexplained(self, key: Key) -> bool:
        """Whether the factors, one by one, do not add up to the move from A made now to B."""
        if len(self.factors) < 2:
            return False
        if key[1] == "metric":
            return _moved(self.beyond(key, self.everything))
        alone = (self.step(key, NONE, frozenset([factor])) for factor in self.factors)
        return _moved(self.step(key, NONE, self.whole)) and not any(map(_moved, alone))

    def effect(self, key: Key, part: frozenset[str]) -> Row | None:
        """What a factor moves alone, or several beyond what fewer of them do; None where it was not measured."""
        return self.beyond(key, part) if len(part) > 1 else self.step(key, NONE, part)

    def unrecorded(self, key: Key) -> Row | None:
        """What moves between the stored runs and those made now: of A or, where it is only there, of B.

        Without a factor only A was made now.
        """
        rows = [self.step(key, A, NONE)]
        if self.factors and self.everything in self.runs:
            rows.append(self.step(key, self.everything, B))
        return next(filter(_moved, rows), rows[0])

    def step(self, key: Key, first: Part, second: Part) -> Row | None:
        """What moves from some runs to others; None where one of them is missing."""
        place, kind, label = key
        if kind == "streams":
            return replace(
                self.rows[key], verdict="changed" if place[0] in self.redrawn(first, second) else "equivalent"
            )
        groups = self.runs[first], self.runs[second]
        if kind == "speed":
            there = (p for p, pair in self.pairs.items() if pair.first.task == place[0] and all(p in g for g in groups))
            return next(speeds([Pair(groups[0][p], groups[1][p]) for p in there], self.noise), None)
        before, after = (group.get(place) for group in groups)
        if not before or not after:
            return None
        draws = place[0] not in self.redrawn(first, second)
        alone = replace(
            self.pairs[place], before=before, after=after, paired=draws and bool(before.keys() & after.keys())
        )
        still = Finding(alone.row(kind, label, "equivalent"))
        return dict(_findings(alone)).get(key, still).settled(self.level)

    def redrawn(self, first: Part, second: Part) -> set[str]:
        """Tasks whose seeds mean other draws in the second runs than in the first."""
        if (first, second) not in self._redrawn:
            both = self.runs[first].keys() & self.runs[second].keys()
            pairs = [replace(pair, before=self.runs[first][place], after=self.runs[second][place])
                     for place, pair in self.pairs.items() if place in both]  # fmt: skip
            found = compare_cells.streams(self.sides[first], self.sides[second], pairs)
            self._redrawn[first, second] = {finding.row.task for finding in found}
        return self._redrawn[first, second]

    def beyond(self, key: Key, part: frozenset[str]) -> Row | None:
        """The move of a metric from what smaller sets of factors predict; None for all else.

        Seeds are pairs here whatever they draw: of each, all sets together give one number, and these are independent.
        """
        place, kind, label = key
        if kind != "metric":
            return None
        pair = self.pairs[place]
        entry = registry.find("metric", next(s["name"] for s in pair.first.cell["metrics"] if s["label"] == label))
        smaller = [NONE, *(other for other in self.parts if other < part)]
        runs = {**{other: self.runs[other] for other in smaller}, part: self.runs[part if part in self.runs else B]}
        values = {other: compare_cells.values(groups.get(place, {}), label) for other, groups in runs.items()}
        weights = _weights(part, smaller)
        margin = Margin(entry.margin, entry.negligible)
        expected = predicted([(weights[other], values[other]) for other in smaller], margin)
        found = {seed: value for seed, value in values[part].items() if seed in expected}
        if not found:
            return None
        expected = {seed: expected[seed] for seed in found}
        row = replace(pair, paired=True).row(kind, label, "", note="")
        return moved(row, expected, found, entry, (len(expected), len(found))).settled(self.level)


def _code_differs(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    if (a.get("commit"), a.get("diff")) == (b.get("commit"), b.get("diff")):
        return False
    if a.get("dirty") or b.get("dirty") or not a.get("commit") or not b.get("commit"):
        return True
    digests = [provenance.code_digest_at(str(made["commit"])) for made in (a, b)]
    return digests[0] is None or digests[0] != digests[1]


def _uses_plug_ins(pair: Pair) -> bool:
    """Whether the digest of a cell covers sources of plug-ins, by which it is another than that of its meaning."""
    runs = (next(iter(side.values())) for side in (pair.before, pair.after))
    return any(run.provenance.get("plug_ins") and run.digest != digest_of(run.cell) for run in runs)


def _findings(pair: Pair) -> Iterator[tuple[Key, Finding]]:
    found = [*compare_cells.statuses(pair), *compare_cells.outcomes(pair), *compare_cells.metrics(pair, NOTHING)]
    for finding in found:
        yield (_place(pair), finding.row.kind, finding.row.metric), finding


def _moved(row: Row | None) -> bool:
    return row is not None and row.verdict not in STILL


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


def _place(pair: Pair) -> Place:
    return compare_cells.place(pair.before)


def _name(subset: frozenset[str]) -> str:
    return TIMES.join(factor for factor in FACTORS if factor in subset)
