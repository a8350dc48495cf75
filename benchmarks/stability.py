"""Do verdicts depend on the seeds? `python -m benchmarks.stability [TASK ...] [--base-seeds 1000 2000 3000]`.

Runs tasks (by default the whole suite) at the suite's own seeds and again from each base seed, prints every verdict
that moved, and counts moves by kind. No claim may turn from holds to fails or back, and at most a twentieth of all
verdicts may move to or from undecided, a control's between rejected and not rejected; otherwise it exits with 1.
Runs are kept in the results folder, so that a second call computes what is missing only.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tangentbench.runners import suite
from tangentbench.runners.verdicts import Verdict

BASE_SEEDS = (1000, 2000, 3000)
LARGEST_SHARE = 0.05
"""Of all verdicts, how many may move to or from undecided."""
FLIP, UNDECIDED, CONTROL, MISSING = "holds to fails or back", "to or from undecided", "control", "not run"
ALLOWED = (UNDECIDED, CONTROL)


class Move(NamedTuple):
    """A claim or control whose verdict differs between the suite's seeds and those from a base seed."""

    base_seed: int
    task: str
    claim: str
    before: str
    after: str
    kind: str


def kind_of(before: str, after: str) -> str:
    """What kind of move it is from one verdict to another; empty where they are the same.

    Raises:
        ValueError: one verdict is a claim's and the other a control's.
    """
    pair = {before, after}
    if "not run" in pair:
        return MISSING
    if before == after:
        return ""
    if pair == {"rejected", "not rejected"}:
        return CONTROL
    if pair <= {"holds", "fails", "undecided"}:
        return UNDECIDED if "undecided" in pair else FLIP
    raise ValueError(f"a claim and a control cannot be compared: {before} and {after}")


def moves(base_seed: int, before: Iterable[Verdict], after: Iterable[Verdict]) -> list[Move]:
    """The verdicts that differ, claims and controls by task and id.

    Raises:
        ValueError: the two are not of the same claims.
    """
    first, second = ({(verdict.task, verdict.claim): verdict for verdict in each} for each in (before, after))
    if first.keys() != second.keys():
        raise ValueError(f"different claims: {sorted(first.keys() ^ second.keys())}")
    pairs = ((key, verdict.verdict, second[key].verdict) for key, verdict in first.items())
    return [Move(base_seed, *key, old, new, kind) for key, old, new in pairs if (kind := kind_of(old, new))]


def stable(found: Sequence[Move], verdicts: int) -> bool:
    """Whether that many verdicts, over all base seeds, count as stable although these moved."""
    kinds = Counter(move.kind for move in found)
    allowed = sum(kinds[kind] for kind in ALLOWED)
    return allowed == kinds.total() and allowed <= LARGEST_SHARE * verdicts


def table(found: Sequence[Move], verdicts: int) -> str:
    """Every move on a line, then the count of each kind."""
    lines = [f"{m.base_seed}  {m.task}: {m.claim}  {m.before} → {m.after}  ({m.kind})" for m in found]
    kinds = Counter(move.kind for move in found)
    counts = [f"{kind}: {kinds[kind]} of {verdicts}" for kind in (FLIP, UNDECIDED, CONTROL, MISSING)]
    return "\n".join([*lines, *counts, "stable" if stable(found, verdicts) else "not stable"])


def verdicts_of(tasks: Sequence[str], tier: str, base_seed: int, results: str) -> list[Verdict]:
    """The verdicts of some tasks, after running what is missing."""
    from tangentbench.runners import progress
    from tangentbench.tasks import load

    planned = suite.plan(load.find(tasks, tier), tier, base_seed=base_seed)
    store, code = suite.open_store(results)
    with progress.progress(quiet=False) as notify:
        suite.run_missing(planned, store, code=code, notify=notify)
    return suite.verdicts(planned, suite.lookup(store, code), code)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # pyright: ignore[reportOptionalMemberAccess]
    parser.add_argument("tasks", nargs="*", help="ids or globs; by default all")
    parser.add_argument("--tier", default="laptop")
    parser.add_argument("--base-seeds", type=int, nargs="+", default=BASE_SEEDS)
    parser.add_argument("--results", default="results")
    options = parser.parse_args(arguments)
    before = verdicts_of(options.tasks, options.tier, 0, options.results)
    found = []
    for base_seed in options.base_seeds:
        found += moves(base_seed, before, verdicts_of(options.tasks, options.tier, base_seed, options.results))
    total = len(before) * len(options.base_seeds)
    print(table(found, total))
    return 0 if stable(found, total) else 1


if __name__ == "__main__":
    sys.exit(main())
