"""Two waves: what claims and tunings need, then the scores that tunings chose. Runs are planted, none is computed."""

from dataclasses import replace

import pytest

from tangentbench.runners import schedule, suite
from tangentbench.runners.results import Run, Store
from tangentbench.tasks import load

from . import suite_files

CODE = "c0de"


@pytest.fixture
def planned(tmp_path):
    folder = suite_files.write(tmp_path / "tasks")
    return suite.plan(load.find(["tiny/holds", "tiny/arena"], folder=folder), "laptop")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results", create=True)


titles: list[str] = []


@pytest.fixture
def waves(monkeypatch):
    """Stands in for the scheduler: plants a run for every missing one, and keeps what each wave asked for."""
    asked = []
    titles.clear()

    def execute(cells, store, *, code, tier, argv, jobs, fresh, notify, crew, title):
        lanes = schedule.missing(cells, store, code, fresh=fresh)
        asked.append(lanes)
        titles.append(title)
        for cell, seed in lanes:
            loss = 1.0 / (1 + cell.coords.get("point", 0))  # the last grid point is the best
            store.write(
                Run(
                    task=cell.task,
                    cell=cell.model_dump(mode="json"),
                    coords=dict(cell.coords),
                    digest=cell.digest,
                    code=code,
                    seed=seed,
                    tier=tier,
                    role=cell.role,
                    status="ok",
                    outcome="unconverged",
                    scalars={"train_loss": loss, "validation_loss": loss, "test_loss": loss},
                    certificates={"learning_rate.critical.residual": 0.0},
                )  # fmt: skip
            )
        return len(lanes)

    monkeypatch.setattr(suite.schedule, "execute", execute)
    return asked


def test_a_plan_has_the_cells_of_all_tasks(planned):
    assert [cell.task for cell in planned.first_wave] == ["tiny/holds"] * 2 + ["tiny/arena"] * 12
    assert {cell.role for cell in planned.cells["tiny/arena"]} == {"tune"}


def test_scores_wait_for_their_tuning(planned, store, waves):
    assert suite.second_wave(planned, suite.lookup(store, CODE)) == []
    done = suite.run_missing(planned, store, code=CODE)
    first, second = waves
    assert titles == ["tasks and tuning for the arenas", "scoring on the arenas"]
    assert len(first) == 2 * 3 + 12 and done == len(first) + len(second)
    assert [(cell.role, cell.method["name"], cell.coords["point"], seed) for cell, seed in second] == [
        ("score", name, 5, seed) for name in ("gd", "momentum") for seed in range(3)
    ]
    assert {seed for cell, seed in first if cell.role == "tune"}.isdisjoint(seed for _, seed in second)


def test_a_second_run_finds_everything(planned, store, waves):
    suite.run_missing(planned, store, code=CODE)
    assert suite.run_missing(planned, store, code=CODE) == 0
    assert suite.run_missing(planned, store, code="0ther") > 0
    assert suite.run_missing(planned, store, code=CODE, fresh=True) == len(waves[0]) + len(waves[1])


def test_the_number_of_seeds_reaches_both_waves(tmp_path, store, waves):
    tasks = load.find(["tiny/holds", "tiny/arena"], folder=suite_files.write(tmp_path / "again"))
    planned = suite.plan(tasks, "laptop", seeds=1, base_seed=4)
    suite.run_missing(planned, store, code=CODE)
    first, second = waves
    assert {seed for cell, seed in first if cell.role == "claim"} == {4} == {seed for _, seed in second}
    assert {seed for cell, seed in first if cell.role == "tune"} == {1_000_004}


def test_boards_read_what_was_run(planned, store, waves):
    suite.run_missing(planned, store, code=CODE)
    runs = suite.lookup(store, CODE)
    (arena,) = suite.arenas(planned, runs, CODE)
    assert {row.method for row in arena.rows} == {"gd", "momentum"}
    (verdict,) = suite.verdicts(planned, runs, CODE)
    assert (verdict.task, verdict.claim, verdict.verdict) == ("tiny/holds", "small", "holds")


def test_runs_of_other_code_are_seen_on_demand_only(planned, store, waves):
    suite.run_missing(planned, store, code="0ther")
    cell = planned.first_wave[0]
    assert suite.lookup(store, CODE)(cell, 0) is None
    found = suite.lookup(store, CODE, any_code=True)(cell, 0)
    assert found is not None and found.code == "0ther"


def test_a_claim_about_methods_reads_their_scores(tmp_path, store, waves):
    """Not their tuning: there are as many tuning seeds as the claim needs, and on them nothing is scored."""
    folder = suite_files.write(tmp_path / "ranked")
    path = folder / "tiny" / "arena.yaml"
    claims = """claims:
  - id: ordered
    says: They agree
    rank_correlation: {metric: validation_loss, against: test_loss, at_least: 0.5, methods_at_least: 4}
"""
    path.write_text(path.read_text().replace("methods: [gd, momentum]", "methods: [gd, momentum, adam, lion]") + claims)
    planned = suite.plan(load.find(["tiny/arena"], folder=folder), "laptop")
    (before,) = suite.verdicts(planned, suite.lookup(store, CODE), CODE)
    assert before.verdict == "not run"
    suite.run_missing(planned, store, code=CODE)
    runs = suite.lookup(store, CODE)
    (verdict,) = suite.verdicts(planned, runs, CODE)
    # every planted score is the same: no order at all
    assert (verdict.verdict, verdict.value, verdict.seeds, verdict.missing) == ("fails", 0.0, 3, "")

    def scored(cell, seed):
        run = runs(cell, seed)
        place = 1.0 + ["gd", "momentum", "adam", "lion"].index(cell.method["name"])
        return run if seed >= 1_000_000 else replace(run, scalars={"validation_loss": place, "test_loss": place**2})

    (verdict,) = suite.verdicts(planned, scored, CODE)
    assert (verdict.verdict, verdict.value) == ("holds", 1.0)
