"""Which charts a task gets and the numbers in them, against the store they come from."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from tangentbench.runners import chart_rules, suite
from tangentbench.runners.chart_curves import BINS, thinned
from tangentbench.runners.charts import OTHER, Axis, Chart, Point, Series, coordinate_words
from tangentbench.runners.results import Store
from tangentbench.runners.statistics import loglog_slope
from tangentbench.tasks import load
from tangentbench.tasks.spec import TIERS

from . import report_store


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Task id -> its charts, its cells, and the lookup."""
    folder = tmp_path_factory.mktemp("charts")
    planned = report_store.planned(report_store.write_tasks(folder / "tasks"))
    store = Store(folder / "store", create=True)
    report_store.fill(store, planned)
    runs = suite.lookup(store, report_store.CODE)
    return {task.id: (_charts(task, planned, runs, store), planned.cells[task.id], runs) for task in planned.tasks}


def _charts(task, planned, runs, store):
    verdicts = [v for v in suite.verdicts(planned, runs, report_store.CODE) if v.task == task.id]
    scored = [cell for cell in suite.second_wave(planned, runs) if cell.task == task.id]
    return chart_rules.charts(task, planned.cells[task.id], runs, store.arrays, verdicts, scored)


def kinds(charts) -> list[str]:
    return [chart.kind for chart in charts]


def test_charts_follow_from_claims_and_metrics(made):
    assert {name: kinds(charts) for name, (charts, _, _) in made.items()} == {
        "show/scaling": ["scaling", *["curves"] * 4],  # loss and kernel change, for each of two models
        "show/rates": ["phase", "trend", *["curves"] * 4],
        "show/search": ["phase"],  # the curves of a bisection's last trial show nothing
        "show/split": ["trend", "curves"],
        "show/arena": ["scatter", *["curves"] * 3],
        "show/arena_2": ["scatter", *["curves"] * 3],
    }


@pytest.mark.parametrize("tier", TIERS)
def test_every_task_of_the_suite_gets_what_its_claims_ask(tier, tmp_path):
    planned = suite.plan(load.find(tier=tier), tier, seeds=3)
    made = {}

    def runs(cell, seed):
        key = cell.digest, seed
        if key not in made:
            made[key] = report_store.made_run(cell, seed)[0]
        return made[key]

    verdicts = suite.verdicts(planned, runs, report_store.CODE)
    for task in planned.tasks:
        own = [v for v in verdicts if v.task == task.id]
        charts = chart_rules.charts(task, planned.cells[task.id], runs, lambda run: {}, own)
        by_id = {claim.id: claim for claim in task.claims}
        asked = [by_id[claim.control] if claim.control else claim for claim in task.claims]
        drawn = kinds(charts)
        wanted = {(claim.options["metric"], claim.options["along"]) for claim in asked if claim.kind == "exponent"}
        valued = {v.metric for v in own if v.kind == "exponent" and v.seeds}
        assert drawn.count("scaling") >= len({pair for pair in wanted if pair[0] in valued}), task.id
        assert ("phase" in drawn) >= any(claim.kind == "outcome" for claim in asked if _rates(task)), task.id
        assert ("phase" in drawn) >= any(v.kind == "boundary" and v.seeds for v in own), task.id
        names = [chart.name for chart in charts]
        assert len(set(names)) == len(names), task.id


def _rates(task) -> bool:
    return any(axis.startswith("method.learning_rate") for draft in task.drafts for axis in draft.coords)


def test_the_fit_is_the_claim_s(made):
    charts, cells, runs = made["show/scaling"]
    wide, other = charts[0].series
    assert wide.name.startswith("wide <i>one</i>: exponent -0.7") and wide.name.endswith("holds")
    assert other.name.endswith("rejected")
    expected = {
        (cell.coords["model.width"], runs(cell, seed).scalars["kernel_change"], seed)
        for cell in cells
        for seed in cell.seeds
        if cell.model["activation"] == "tanh"
    }
    assert set(wide.points) == expected
    slope = np.mean(
        [
            loglog_slope(*zip(*sorted((x, y) for x, y, seed in expected if seed == wanted), strict=True))
            for wanted in range(6)
        ]
    )
    first, last = wide.line[0], wide.line[-1]
    assert math.log(last.y / first.y) / math.log(last.x / first.x) == pytest.approx(slope)
    # a line through the means of the logarithms passes below and above as many of them
    errors = [math.log(p.y) - np.interp(math.log(p.x), *np.log([(q.x, q.y) for q in wide.line]).T) for p in wide.points]
    assert sum(errors) == pytest.approx(0, abs=1e-9)
    centre = wide.centre[0]
    assert centre.y == pytest.approx(np.exp(np.mean([math.log(y) for x, y, _ in expected if x == centre.x])))
    assert centre.low < centre.y < centre.high
    for (_, low, high), point in zip(wide.fan, wide.line, strict=True):
        assert low <= point.y <= high


def test_outcomes_become_shares(made):
    phase = made["show/rates"][0][0]
    network, linear = phase.rows
    assert [(block.x, block.outcome, block.seeds) for block in network.blocks] == [
        (0.5, "monotone", 6), (0.9, "monotone", 6), (1.5, "catapult", 6), (2.5, "divergent", 6),
    ]  # fmt: skip
    assert [block.outcome for block in linear.blocks] == ["monotone", "monotone", "divergent", "divergent"]
    assert all(a.right == b.left for a, b in zip(network.blocks, network.blocks[1:], strict=False))
    (edge,) = network.edges
    assert (edge.low, edge.high) == (0.9, 1.5)
    assert phase.critical == 1.0


def test_shares_of_a_rate_add_up_and_no_bracket_is_invented(made):
    _, cells, runs = made["show/rates"]

    def mixed(cell, seed):
        run = runs(cell, seed)
        rate = cell.coords["method.learning_rate.critical"]
        outcome = "monotone" if seed < {0.5: 6, 0.9: 3, 1.5: 4, 2.5: 1}[rate] else "dead"
        return type(run)(**{**vars(run), "outcome": outcome})

    from tangentbench.runners.chart_phase import phases

    (phase,) = phases(cells, mixed, about_outcomes=True)
    blocks = [block for block in phase.rows[0].blocks if block.x == 0.9]
    assert [(b.outcome, b.seeds, b.bottom, b.top) for b in blocks] == [("monotone", 3, 0, 0.5), ("dead", 3, 0.5, 1.0)]
    assert phase.rows[0].edges == ()


def test_no_critical_line_where_a_rate_is_a_sum_of_two(made):
    """What is swept is then its first part, and 1 is no critical rate of anything."""
    from tangentbench.runners.chart_curves import _critical
    from tangentbench.runners.chart_phase import phases

    _, cells, runs = made["show/rates"]

    def with_second(cell, amount):
        rate = cell.method["learning_rate"] | {"second_critical": amount}
        return cell.model_copy(update={"method": cell.method | {"learning_rate": rate}})

    for amount, line, height in ((0.0, 1.0, 1 / 0.5), (0.5, None, None)):
        summed = {with_second(cell, amount).digest: cell for cell in cells}
        moved = [with_second(cell, amount) for cell in cells]
        (phase,) = phases(moved, lambda cell, seed, of=summed: runs(of[cell.digest], seed), about_outcomes=True)
        assert phase.critical == line and ("Dashed" in phase.caption) == (line is not None)
        assert _critical(SimpleNamespace(cell=moved[0])) == height
    words = {"method.learning_rate.critical": 0.5, "method.learning_rate.second_critical": 0.5}
    assert coordinate_words(words) == "0.5 critical, 0.5 second critical"


def test_boundaries_have_their_interval(made):
    (phase,) = made["show/search"][0]
    (row,) = phase.rows
    assert [edge.name for edge in row.edges] == ["leaves monotone", "leaves monotone and catapult"]
    for edge, middle in zip(row.edges, (1.01, 2.01), strict=True):
        assert edge.low < edge.x < edge.high and edge.x == pytest.approx(middle, abs=0.01)
    assert [block.outcome for block in row.blocks] == ["monotone", "catapult", OTHER]
    assert row.blocks[-1].right == 2.8


def test_curves_are_one_seed_s_with_its_critical_line(made):
    charts, _, _ = made["show/rates"]
    curvature = next(chart for chart in charts if chart.title == "λmax / its start: network")
    assert [series.guide for series in curvature.series] == [1 / 0.5, 1 / 0.9, 1 / 1.5, 1 / 2.5]
    assert all(series.line[0].y == 1 for series in curvature.series)
    assert {point.seed for series in curvature.series for point in series.line} == {0}
    loss = next(chart for chart in charts if chart.title == "Training loss: linear model")
    assert all(math.isfinite(point.y) for series in loss.series for point in series.line)
    assert loss.limits[1] < max(point.y for point in loss.series[-1].line)  # what diverged leaves the picture


def test_the_loss_stands_beside_its_parts(made):
    chart = made["show/split"][0][1]
    assert [series.name for series in chart.series] == ["training loss", "top loss", "bulk loss"]
    assert chart.title == "Training loss and its parts"
    assert chart.x.log and chart.series[0].line[0].x == 1


def test_an_arena_compares_at_equal_work(made):
    charts, cells, runs = made["show/arena"]
    scatter, loss = charts[:2]
    assert [series.name for series in scatter.series] == [series.name for series in loss.series]
    assert loss.x.label == "per-example gradient evaluations"
    assert loss.series[0].line[-1].x == runs(cells[0], cells[0].seeds[0]).work


def ranked(tmp_path, metric, against, control, *measured):
    """The two scatters of an arena of four methods that claims a rank correlation, and the verdicts."""
    folder = report_store.write_tasks(tmp_path / "tasks")
    path = folder / "show" / "arena.yaml"
    claims = f"""claims:
  - id: aligned
    says: It orders them
    rank_correlation: {{metric: {metric}, against: {against}, at_most: -0.5, methods_at_least: 4}}
  - {{id: not_so, says: Not so, control: aligned, metric: {control}}}
"""
    text = path.read_text().replace("[gd, adam, momentum]", "[gd, adam, momentum, lion]") + claims
    path.write_text(text.replace("agop_alignment]", ", ".join(("agop_alignment", *measured)) + "]"))
    planned = report_store.planned(folder, ["show/arena"])
    store = Store(tmp_path / "store", create=True)
    report_store.fill(store, planned)
    runs = suite.lookup(store, report_store.CODE)
    (task,) = planned.tasks
    scatters = [chart for chart in _charts(task, planned, runs, store) if chart.kind == "scatter"]
    return scatters, suite.verdicts(planned, runs, report_store.CODE)


def test_a_claim_about_methods_is_drawn_with_its_correlation(made, tmp_path):
    (first, second), (verdict, control) = ranked(tmp_path, "test_loss", "agop_alignment", "validation_loss")
    assert (first.name, first.title) == ("alignment", "Test loss against AGOP alignment")
    assert (second.name, second.title) == (
        "scatter validation_loss agop_alignment",
        "Validation loss against AGOP alignment",
    )
    assert first.x.label.startswith("AGOP alignment") and first.y.label.startswith("test loss")
    assert f"rho over methods, per seed: {verdict.value:.3f} [" in first.caption
    assert f"rho over methods, per seed: {control.value:.3f} [" in second.caption and verdict.value != control.value
    assert "rho" not in made["show/arena"][0][0].caption


def test_alignment_with_something_else_is_not_called_alignment(tmp_path):
    """Where a metric is measured twice, the scatter that every such task has is of the first, with its claim's rho."""
    again = "{name: agop_alignment, label: alignment_elsewhere, roll: 2}"
    (first, second), _ = ranked(tmp_path, "agop_alignment", "test_loss", "alignment_elsewhere", again)
    assert first.title == "Test loss against AGOP alignment"
    assert first.x.label.startswith("AGOP alignment") and "rho over methods" in first.caption
    assert second.title == "Alignment elsewhere against test loss"


def test_thinning_keeps_every_spike():
    x = np.arange(5000.0) + 1
    y = np.ones(5000)
    y[1234], y[4321], y[777] = 50.0, 0.01, np.nan
    kept = thinned(x, y, log=False)
    assert len(kept) <= 2 * BINS + 2
    assert (1235.0, 50.0) in kept and (4322.0, 0.01) in kept
    assert [a for a, _ in kept] == sorted({a for a, _ in kept})
    assert (kept[0][0], kept[-1][0]) == (1.0, 5000.0)
    assert all(math.isfinite(value) for _, value in kept)
    assert thinned(x, np.full(5000, np.inf), log=True) == []


def test_the_table_of_a_chart_names_places():
    series = Series("a", points=(Point(1.0, 2.5, 3),))
    chart = Chart("trend", "n", "t", "c", Axis("", names=("left", "right")), Axis("y"), (series,))
    assert chart.table()[1] == [["a", "seed", "right", 2.5, None, None, 3]]


def test_coordinates_in_words():
    words = {
        "model": "wide",
        "model.width": 64,
        "method.learning_rate.critical": 0.5,
        "method.learning_rate.value": 0.1,
    }
    assert coordinate_words(words) == "wide, width 64, 0.5 critical, rate 0.1"
    assert coordinate_words({"model.bias": True}) == "True"
