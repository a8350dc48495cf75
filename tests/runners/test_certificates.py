"""Planted certificates: a value whose residual is too large, or that has none, decides nothing and ranks nowhere."""

import inspect

import pytest

from tangentbench.runners.arenas import board, choose
from tangentbench.runners.certificates import uncertified, uncertified_rate
from tangentbench.runners.tables import claims_table, leaderboard_table
from tangentbench.runners.verdicts import evaluate
from tangentbench.tasks.registry import METHODS, METRICS
from tangentbench.tasks.spec import Leaderboard

from .boards import SEEDS, make_cell, make_run, make_task, runs_of

ERROR = {"name": "linearization_error", "label": "error", "at": "start"}
NORM = {"name": "tangent_kernel_norm", "label": "norm", "at": "end"}
LOSS = {"name": "test_loss", "label": "test_loss", "at": "end"}
EDGE = {"name": "boundary", "label": "edge", "at": "series"}
CELL = make_cell(metrics=[ERROR, NORM, LOSS, EDGE])
RATE = "learning_rate.critical.residual"

VANISHING = {"top_loss", "bulk_loss"}
"""Metrics that come with a certificate and pass through zero, where a share of the value says nothing."""


def problem(label, scalars, certificates):
    return uncertified(make_run(CELL, 0, scalars=scalars, certificates=certificates), label)


@pytest.mark.parametrize(
    ("label", "value", "certificates", "expected"),
    [
        ("error", 2.0, {"error.residual": 0.1}, ""),
        ("error", 2.0, {"error.residual": 0.11}, "error not certified"),
        ("error", -2.0, {"error.residual": 0.11}, "error not certified"),
        ("error", 2.0, {}, "error not certified"),
        ("error", 2.0, {"norm.residual": 0.0}, "error not certified"),
        ("error", 0.0, {"error.residual": 0.0}, ""),
        ("error", None, {}, ""),  # no value at all is another reason
        ("error", 0.0, {"error.residual": 1e-7}, "error not certified"),
        ("error", 1e-5, {"error.residual": 1.9e-6}, "error not certified"),  # a fifth of a small number
        ("error", 0.0, {"error.residual": 1e-7, "error.scale": 1.0}, ""),
        ("error", 0.0, {}, "error not certified"),
        # a difference is judged beside its terms, where these are larger
        ("error", -0.01, {"error.residual": 0.1, "error.scale": 2.0}, ""),
        ("error", -0.01, {"error.residual": 0.11, "error.scale": 2.0}, "error not certified"),
        ("error", 4.0, {"error.residual": 0.2, "error.scale": 2.0}, ""),
        ("error", 2.0, {"error.scale": 2.0}, "error not certified"),
        ("norm", 2.0, {"norm.residual": 0.04}, ""),
        ("norm", 2.0, {"norm.residual": 0.05}, "norm not certified"),
        ("edge", 2.0, {"edge.half_width": 0.02}, ""),
        ("edge", 2.0, {"edge.half_width": 0.021}, "edge not certified"),
        ("test_loss", 2.0, {}, ""),
        # the rate of the run is the unit of all that came after the start
        ("test_loss", 2.0, {RATE: 1e-3}, ""),
        ("test_loss", 2.0, {RATE: 2e-3}, "critical rate not certified"),
        ("norm", 2.0, {"norm.residual": 0.0, RATE: 2e-3}, "critical rate not certified"),
        ("error", 2.0, {"error.residual": 0.0, RATE: 2e-3}, ""),
        ("unlisted", 2.0, {}, ""),
    ],
)
def test_a_certificate_is_judged_as_a_share_of_the_value(label, value, certificates, expected):
    assert problem(label, {label: value}, certificates) == expected


CRITICAL, VALUE = {"critical": 0.5}, {"value": 0.5}


@pytest.mark.parametrize(
    ("method", "steps", "expected"),
    [
        ({"name": "gd", "learning_rate": CRITICAL}, 10, "critical rate not certified"),
        ({"name": "gd", "learning_rate": CRITICAL}, 0, ""),
        ({"name": "gd", "learning_rate": VALUE}, 10, ""),
        ({"name": "catapult_gd", "learning_rate": VALUE}, 10, "critical rate not certified"),
        ({"name": "catapult_gd", "learning_rate": VALUE}, 0, ""),
        ({}, 0, ""),
    ],
)
def test_a_rate_in_critical_units_needs_a_certificate(method, steps, expected):
    cell = make_cell(metrics=[LOSS, ERROR], method=method, stop={"steps": steps})
    found = make_run(cell, 0, scalars={"test_loss": 1.0, "error": 1.0}, certificates={"error.residual": 0.0})
    assert uncertified(found, "test_loss") == uncertified_rate(found) == expected
    assert uncertified(found, "error") == ""  # of the start
    certified = make_run(cell, 0, scalars={"test_loss": 1.0}, certificates={RATE: 1e-6})
    assert uncertified(certified, "test_loss") == uncertified_rate(certified) == ""


ALIGNMENT = {"name": "agop_alignment", "label": "aligned", "at": "end"}


@pytest.mark.parametrize(
    ("reference", "certificates", "expected"),
    [
        ({"width": 16}, {"aligned.residual": 0.05}, ""),
        ({"width": 16}, {"aligned.residual": 0.06}, ": reference models differ by more than 0.05"),
        ({"width": 16}, {}, ": a reference model ended above its train_loss"),  # what is not finite is not kept
        (None, {"aligned.residual": 0.06}, "not certified"),
    ],
)
def test_references_that_disagree_are_named(reference, certificates, expected):
    cell = make_cell(metrics=[ALIGNMENT, ERROR])
    cell = cell.model_copy(update={"dataset": {"name": "digits", "reference": reference}})
    scale = {"aligned.scale": 1.0, "error.residual": 9.0}
    run = make_run(cell, 0, scalars={"aligned": 0.9, "error": 1.0}, certificates={**certificates, **scale})
    found = uncertified(run, "aligned")
    assert found.endswith(expected) and bool(found) == bool(expected)
    assert not found or found.startswith("aligned not certified")
    assert uncertified(run, "error") == "error not certified"  # of no reference


def test_every_metric_that_comes_as_an_estimate_has_a_tolerance():
    for name, entry in METRICS.items():
        kind = inspect.signature(entry.load()).return_annotation
        certified = kind in ("Estimate", "Difference") or name == "boundary"
        assert certified == (entry.tolerance is not None or name in VANISHING), name
        assert entry.tolerance is None or 0 < entry.tolerance <= 0.05, name


THRESHOLD = {"threshold": {"metric": "norm", "at_least": 0.5}}
TASK = make_task({"id": "big", **THRESHOLD, "where": {"a": 1}}, {"id": "small", "control": "big", "where": {"a": 2}})
CELLS = [make_cell({"a": a}, metrics=[NORM]) for a in (1, 2)]


def planted(residual, on=(2, 5)):
    """Values that hold in the first cell and fail in the second, with this residual on some seeds."""

    def values(cell, seed):
        value = 1.0 if cell.coords["a"] == 1 else 0.1
        return {"scalars": {"norm": value}, "certificates": {"norm.residual": residual * value if seed in on else 0.0}}

    return runs_of(values)


def test_an_uncertified_seed_lets_no_claim_hold_and_rejects_no_control():
    claim, control = evaluate(TASK, CELLS, planted(0.019))
    assert (claim.verdict, claim.seeds, control.verdict, claim.missing) == ("holds", 8, "rejected", "")
    claim, control = evaluate(TASK, CELLS, planted(0.021))
    assert (claim.verdict, claim.seeds, claim.finished) == ("undecided", 6, 8)
    assert claim.missing == "2 of 8 seeds left out: 2 norm not certified"
    assert claim.reason == "cannot hold: 2 of 8 seeds gave no value (2 norm not certified)"
    assert (control.verdict, control.reason[:18]) == ("not rejected", "cannot be rejected")
    assert "2 norm not certified" in claims_table([claim], width=200)
    # where no seed is certified there is nothing to judge
    claim, _ = evaluate(TASK, CELLS, planted(0.021, on=SEEDS))
    assert (claim.verdict, claim.value, claim.seeds) == ("undecided", None, 0)


def test_a_check_that_ignored_certificates_would_let_the_claim_hold(monkeypatch):
    """Wrong on purpose: what the test above rejects."""
    monkeypatch.setattr("tangentbench.runners.claim_data.uncertified", lambda run, label: "")
    claim, control = evaluate(TASK, CELLS, planted(0.5))
    assert (claim.verdict, control.verdict) == ("holds", "rejected")


def test_an_uncertified_rate_says_nothing_of_the_outcome():
    task = make_task({"id": "catapults", "outcome": {"is": ["catapult"], "at_least": 0.6}})

    def values(cell, seed):
        return {"outcome": "catapult", "certificates": {RATE: 0.1 if seed < 6 else 1e-6}}

    (claim,) = evaluate(task, [make_cell()], runs_of(values))
    assert (claim.verdict, claim.seeds) == ("undecided", 2)
    assert claim.missing == "6 of 8 seeds left out: 6 critical rate not certified"


TUNE_SEEDS = [1_000_000, 1_000_001, 1_000_002]
ARENA = make_task(
    leaderboard=Leaderboard(
        metric="test_loss", validation_metric="validation_loss", target=0.5, budget=1000, tune_seeds=3,
        reference={"method": "gd", "score": 2.0},
    )
)  # fmt: skip
ARENA_METRICS = [LOSS, {"name": "validation_loss", "label": "validation_loss", "at": "end"}]


def contestants():
    return [
        make_cell(role="tune", seeds=TUNE_SEEDS, metrics=ARENA_METRICS, method={"name": name, **point})
        for name in ("gd", "momentum")
        for point in METHODS[name].grid
    ]


def score_cell(task, method, point):
    return make_cell(role="score", seeds=SEEDS, metrics=ARENA_METRICS, method={"name": method, **point})


def scored(share):
    """The board, with `share(cell, seed)` as the certificate of momentum's rates."""

    def runs(cell, seed):
        momentum = cell.method["name"] == "momentum"
        loss = (1.0 if momentum else 2.0) * (1 + 0.01 * (seed % 8))
        certificates = {RATE: share(cell, seed) if momentum else 1e-6}
        scalars = {"test_loss": loss, "validation_loss": 1.0}
        return make_run(cell, seed, scalars=scalars, certificates=certificates)

    arena = board(ARENA, contestants(), runs, score_cell=score_cell)
    return arena, {row.method: row for row in arena.rows}, choose(ARENA, contestants(), runs)


def test_an_uncertified_run_is_not_ranked_in_an_arena():
    _, rows, _ = scored(lambda cell, seed: 1e-6)
    assert (rows["momentum"].rank_low, rows["gd"].rank_low) == (1, 2)
    arena, rows, _ = scored(lambda cell, seed: 0.1 if cell.role == "score" and seed in (1, 3) else 1e-6)
    row = rows["momentum"]
    assert (row.state, row.rank_low, row.seeds, row.failures) == ("incomplete", None, 6, ())
    assert row.detail == "2 of 8 scoring runs not certified" and rows["gd"].rank_low == 1
    assert "momentum: 2 of 8 scoring runs not certified" in leaderboard_table([arena], width=200)
    _, rows, _ = scored(lambda cell, seed: 0.1 if cell.role == "score" else 1e-6)
    row = rows["momentum"]
    assert (row.state, row.score, row.rank_low) == ("not certified", None, None)


def test_an_uncertified_grid_point_is_not_chosen():
    first = METHODS["momentum"].grid[0]
    *_, choice = scored(lambda cell, seed: 0.1 if cell.method == {"name": "momentum", **first} else 1e-6)
    assert (choice["gd"].index, choice["momentum"].index) == (0, 1)
    *_, choice = scored(lambda cell, seed: 0.1 if cell.role == "tune" else 1e-6)
    assert (choice["momentum"].state, choice["momentum"].detail) == ("no stable point", "18 not certified")
