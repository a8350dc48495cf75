"""A store with workers that see the plug-in of troubles."""

import os

import pytest

from tangentbench.runners import page, report, schedule, suite
from tangentbench.runners.results import Store

from . import report_store
from .troubles import install


class Stage:
    """A folder with a store, the scheduler on it, and what the scheduler said."""

    CODE = "c0de"

    def __init__(self, folder):
        self.folder, self.store = folder, Store(folder / "results", create=True)
        self.events = []

    def log(self, name):
        """The file in which a cell's data set counts its calls."""
        return self.folder / name

    def execute(self, cells, jobs=1, **options):
        notify = self.events.append
        return schedule.execute(cells, self.store, code=self.CODE, tier="smoke", notify=notify, jobs=jobs, **options)

    def rows(self, cell):
        return [self.store.read(cell.digest, self.CODE, seed) for seed in cell.seeds]

    def ended(self, cell):
        """Status and message of every seed; ``None`` for a missing run."""
        return [row and (row.status, row.message) for row in self.rows(cell)]


@pytest.fixture(scope="session")
def trouble_path(tmp_path_factory):
    """PYTHONPATH with the plug-in first."""
    site = install(tmp_path_factory.mktemp("plug-in"))
    return os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))


@pytest.fixture(scope="module")
def stage(tmp_path_factory, trouble_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", trouble_path)
        yield Stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture(scope="session")
def reported(tmp_path_factory):
    """(report, store, folder of task files, page) of the tasks of `report_store`."""
    folder = tmp_path_factory.mktemp("report")
    planned = report_store.planned(report_store.write_tasks(folder / "tasks"))
    store = Store(folder / "store", create=True)
    report_store.fill(store, planned)
    runs = suite.lookup(store, report_store.CODE)
    found = report.collect(planned, store, runs, report_store.CODE)
    return found, store, folder / "tasks", page.html(found)
