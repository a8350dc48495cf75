"""Verdicts: one estimate per seed, an interval over seeds, an acceptance region.

A claim **holds** where the interval lies inside its region, **fails** where the two are disjoint, and is **undecided**
otherwise. A control is the same claim in a setting where it must fail: it is **rejected** where it fails (an exponent
only on the side and at the distance that `Rejection` says), and **not rejected** otherwise. A seed whose run ended
without a value, as after divergence, or with one that is not certified (see `certificates`), is not dropped: the others
alone neither let a claim hold nor reject a control. Nor is there a verdict before every seed asked for was run: until
then it is **not run**.
Everything is answered from stored runs; neither jax nor `scipy.stats` is imported.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..tasks import registry
from ..tasks.claim_options import LEAST_SEEDS
from ..tasks.problem import counted
from . import statistics
from .certificates import uncertified_rate
from .claim_data import Data, Sample
from .records import Cell, Lookup
from .regions import Region, Rejection, region_of
from .statistics import Interval

VERDICTS = ("holds", "fails", "undecided", "rejected", "not rejected", "not run")


@dataclass(frozen=True)
class Verdict:
    """One row of the claims board.

    `value`, `low`, `high`: the estimate with its 95% interval, None where there is none or an end is unbounded; every
    number is finite. `detectable`: how far outside the region the truth would have to lie for as many seeds to say
    `fails` in four cases of five (a factor on the log scale); what is nearer may have been missed. `region`: the
    accepted values in words and, for the control of an exponent, what rejects it. `seeds`: how many gave a value.
    `missing`: the seeds and methods left out, with reasons. `finished`: seeds whose runs all ended well, with a value
    or without. `stale`: how many of the runs used were made by other code than the current one.
    """

    task: str
    paper: str
    claim: str
    says: str
    kind: str
    verdict: str
    control: bool
    value: float | None
    low: float | None
    high: float | None
    region: str
    region_low: float | None
    region_high: float | None
    scale: str
    detectable: float | None
    seeds: int
    missing: str
    reason: str
    tier: str
    metric: str = ""
    where_in_paper: str = ""
    explanation: str = ""
    finished: int = 0
    stale: int = 0


@dataclass(frozen=True)
class Measurement:
    """A sample with its interval, region and scale (`linear`, or `log` where the interval was made of logarithms).

    `note`: what else the reader must know of it, such as methods that were left out.
    """

    sample: Sample
    interval: Interval | None
    region: Region
    scale: str = "linear"
    note: str = ""


Evaluator = Callable[[Mapping[str, Any], Data], Measurement]
"""(the options of the claim's kind, its data) -> what was measured."""


def exponent(options: Mapping[str, Any], data: Data) -> Measurement:
    """Slope of log metric on log of the axis, by least squares per seed."""
    points = data.along(options["along"])
    x = [position for position, _ in points]

    def slope(values: list[float]) -> float:
        if min(values) <= 0:
            raise ValueError("a value is not positive")
        return statistics.loglog_slope(x, values)

    return _by_t(data.estimate([cell for _, cell in points], options["metric"], slope), region_of(options))


def monotone(options: Mapping[str, Any], data: Data) -> Measurement:
    """Kendall's τ-b between axis and metric per seed, with its sign turned where the claim says decreasing."""
    points = data.along(options["along"])
    x = [position for position, _ in points]
    sign = -1.0 if options["direction"] == "decreasing" else 1.0
    sample = data.estimate(
        [cell for _, cell in points], options["metric"], lambda values: sign * statistics.kendall_tau(x, values)
    )
    return _by_t(sample, region_of(options))


def threshold(options: Mapping[str, Any], data: Data) -> Measurement:
    """The metric in one cell; on the log scale the geometric mean, unless a value is not positive."""
    sample = data.estimate([data.cell()], options["metric"], lambda values: values[0])
    logarithmic = options.get("scale") == "log" and all(value > 0 for value in sample.estimates.values())
    return _by_t(sample, region_of(options), "log" if logarithmic else "linear")


def contrast(options: Mapping[str, Any], data: Data) -> Measurement:
    """First cell minus (or over) the second, paired by seed; ratios are averaged as logarithms."""
    cells = [data.cell(where) for where in options["between"]]
    if options["as"] == "difference":
        return _by_t(data.estimate(cells, options["metric"], lambda v: v[0] - v[1]), region_of(options))

    def ratio(values: list[float]) -> float:
        if min(values) <= 0:
            raise ValueError("a value is not positive")
        return values[0] / values[1]

    return _by_t(data.estimate(cells, options["metric"], ratio), region_of(options), "log")


def outcome(options: Mapping[str, Any], data: Data) -> Measurement:
    """Share of seeds whose dynamics ended as named, with the exact binomial interval."""
    cell = data.cell()
    estimates: dict[int, float] = {}
    left_out: dict[int, str] = {}
    for seed in sorted(cell.seeds):
        run = data.run(cell, seed)
        if isinstance(run, str):
            left_out[seed] = run
        elif run.outcome is None:
            left_out[seed] = "no outcome"
        elif problem := uncertified_rate(run):
            left_out[seed] = problem
        else:
            estimates[seed] = float(run.outcome in options["is"])
    interval = statistics.clopper_pearson(int(sum(estimates.values())), len(estimates)) if estimates else None
    return Measurement(Sample(estimates, left_out), interval, region_of(options))


def boundary(options: Mapping[str, Any], data: Data) -> Measurement:
    """The phase boundary that bisection found in one cell."""
    sample = data.estimate([data.cell()], options.get("metric") or "boundary", lambda values: values[0])
    return _by_t(sample, region_of(options))


def rank_correlation(options: Mapping[str, Any], data: Data) -> Measurement:
    """Spearman's ρ between two metrics over the methods of an arena at their tuned rates, per scoring seed.

    Methods are a fixed population: one without a stable rate, or that diverged or gave no value on any seed, is left
    out of all of them and named. One that could not be tuned because runs did not end well is no such method: its
    tuning seeds are seeds without a value.

    Raises:
        ValueError: fewer methods are left than the claim asks for.
    """
    metrics, least = (options["metric"], options["against"]), options["methods_at_least"]
    methods = data.methods(*metrics)
    if methods.pending:
        return Measurement(Sample({}, methods.pending), None, region_of(options))
    note = f"without {', '.join(f'{name} ({why})' for name, why in methods.left_out.items())}"
    note = note if methods.left_out else ""
    if len(methods.complete) < least:
        got = counted(len(methods.complete), "method")
        raise ValueError(f"needs {least} methods with both values, got {got}" + (f", {note}" if note else ""))
    cells = list(methods.complete.values())
    sample = data.estimate_of(
        [(cell, metric) for metric in metrics for cell in cells],
        lambda values: statistics.spearman_rho(values[: len(cells)], values[len(cells) :]),
    )
    sample = Sample(sample.estimates, sample.left_out | methods.failed)
    return replace(_by_t(sample, region_of(options)), note=note)


def evaluate(task: Any, cells: Iterable[Cell], runs: Lookup, *, code: str | None = None) -> list[Verdict]:
    """The verdict of every claim and control of a task.

    Args:
        task: a `tasks.load.Task`.
        cells: its resolved cells (`tasks.load.cells`); of an arena also its scoring cells.
        runs: looks a run up (`Store.lookup`).
        code: the current code digest; runs of any other count as stale.

    Returns:
        One verdict per claim, in the order of the file.
    """
    claims = {claim["id"]: claim for claim in map(_plain, task.claims)}
    of_claims = ("claim",) if task.leaderboard is None else ("tune", "score")
    ordinary = [cell for cell in cells if cell.role in of_claims]
    return [_verdict(task, claim, claims, ordinary, runs, code) for claim in claims.values()]


def verdict_counts(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How often each verdict was given, zeros included."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    return {name: counts[name] for name in VERDICTS}


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """3 if a claim fails or a control is not rejected although enough of its seeds have finished, else 0."""
    bad = (v.verdict == "fails" or (v.verdict == "not rejected" and v.finished >= LEAST_SEEDS) for v in verdicts)
    return 3 if any(bad) else 0


def _verdict(
    task: Any,
    claim: dict[str, Any],
    claims: Mapping[str, dict[str, Any]],
    cells: list[Cell],
    runs: Lookup,
    code: str | None,
) -> Verdict:
    control = claim.get("control") is not None
    kind, options = _kind(claims[claim["control"]] if control else claim)
    options = {**options, **{key: claim[key] for key in ("between", "metric") if claim.get(key) is not None}}
    data = Data(cells, claim.get("where") or {}, runs)
    reason, measured = "", None
    try:
        evaluator: Evaluator = registry.find("claim", kind).load()
        measured = evaluator(options, data)
    except ValueError as error:
        reason = str(error)
    sample = measured.sample if measured else Sample({}, {})
    enough = len(sample.estimates) >= LEAST_SEEDS
    if sample.pending:
        enough = False
    elif measured and not enough:
        reason = f"a verdict needs {LEAST_SEEDS} seeds with a value, got {len(sample.estimates)}"
    interval = measured.interval if measured and enough else None
    region = measured.region if measured else region_of(options)
    scale = measured.scale if measured else "linear"
    rejection = Rejection.of(region) if control and kind == "exponent" else None
    verdict = region.judge(interval) if interval else "undecided"
    if control:
        rejected = verdict == "fails" and (rejection is None or interval is None or rejection.rejects(interval))
        verdict = "rejected" if rejected else "not rejected"
    # seeds are lost to the dynamics, not at random: those that are left are no sample
    if sample.lost and verdict in ("holds", "rejected"):
        reason = f"cannot {'be rejected' if control else 'hold'}: {_lost_text(sample)}"
        verdict = "not rejected" if control else "undecided"
    if sample.pending:
        reason, verdict = "", "not run"
    paper = _plain(task.paper) if task.paper is not None else {}
    return Verdict(
        task=task.id,
        paper=paper.get("arxiv") or "",
        claim=claim["id"],
        says=claim.get("says") or "",
        kind=kind,
        verdict=verdict,
        control=control,
        value=_or_none(interval.value) if interval else None,
        low=_or_none(interval.low) if interval else None,
        high=_or_none(interval.high) if interval else None,
        region=f"{region}, {rejection}" if rejection else str(region),
        region_low=_or_none(region.low),
        region_high=_or_none(region.high),
        scale=scale,
        detectable=_detectable(kind, interval, region, scale, len(sample.estimates)) if interval else None,
        seeds=len(sample.estimates),
        missing="; ".join(filter(None, (_left_out_text(sample), measured.note if measured else ""))),
        reason=reason,
        tier=getattr(task, "tier", "") or "",
        metric=options.get("metric") or ("boundary" if kind == "boundary" else ""),
        where_in_paper=claim.get("where_in_paper") or "",
        explanation=claim.get("explanation") or "",
        finished=data.finished,
        stale=sum(run.code != code for run in data.used.values()) if code is not None else 0,
    )


def _kind(claim: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    kinds = registry.table("claim")
    for kind in kinds:
        if claim.get(kind) is not None:
            return kind, claim[kind]
    raise ValueError(f"the claim {claim['id']} has none of the kinds {', '.join(kinds)}")


def _by_t(sample: Sample, region: Region, scale: str = "linear") -> Measurement:
    values = list(sample.estimates.values())
    if not values:
        return Measurement(sample, None, region, scale)
    if scale == "linear":
        return Measurement(sample, statistics.t_interval(values), region)
    logs = statistics.t_interval([math.log(value) for value in values])
    # exp(log(x)) may miss x by a rounding, which must not carry equal values over the region's edge
    ends = values[:1] * 3 if len(set(values)) == 1 and len(values) > 1 else [_exp(end) for end in logs]
    return Measurement(sample, Interval(*ends), region, scale)


def _exp(value: float) -> float:
    return math.exp(value) if value < 709 else math.inf


def _detectable(kind: str, interval: Interval, region: Region, scale: str, n: int) -> float | None:
    if kind == "outcome":  # a share of at most b is one of at least 1 - b of the others
        return _or_none(statistics.share_seen(region.low if math.isfinite(region.low) else 1 - region.high, n))
    if scale == "linear":
        return _or_none(statistics.smallest_seen(interval, n))
    if not (interval.low > 0 and math.isfinite(interval.high)):
        return None
    return _or_none(_exp(statistics.smallest_seen(Interval(*map(math.log, interval)), n)))


def _left_out_text(sample: Sample) -> str:
    if not sample.left_out:
        return ""
    return f"{len(sample.left_out)} of {_total(sample)} seeds left out: {_counted(sample.left_out.values())}"


def _lost_text(sample: Sample) -> str:
    if set(sample.lost) == {"divergent"}:
        return f"{len(sample.lost)} of {_total(sample)} seeds diverged"
    return f"{len(sample.lost)} of {_total(sample)} seeds gave no value ({_counted(sample.lost)})"


def _total(sample: Sample) -> int:
    return len(sample.left_out) + len(sample.estimates)


def _counted(reasons: Iterable[str]) -> str:
    return ", ".join(f"{n} {why}" for why, n in Counter(reasons).most_common())


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(model: Any) -> dict[str, Any]:
    """A pydantic model as plain data, under the names used in task files."""
    return dict(model) if isinstance(model, Mapping) else model.model_dump(by_alias=True)
