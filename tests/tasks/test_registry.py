"""The vocabulary: complete entries, options that fit what they are passed to, and plug-ins."""

import importlib
import inspect
from types import SimpleNamespace

import pytest
from pydantic_core import PydanticUndefined

from tangentbench.tasks import registry
from tangentbench.tasks.entry import METHOD_GRID_POINTS, RUNNER_KEEPS, Entry, MethodEntry, MetricEntry
from tangentbench.tasks.registry import PluginError, UnknownName

ENTRIES = [entry for kind in registry.KINDS for entry in registry.KINDS[kind].values()]
NOT_PASSED = {
    "dataset": set(),
    "model": {"expansion", "truncate"},  # applied to the model afterwards
    "method": {"learning_rate", "schedule", "batch_size"},  # resolved by the runner
    "metric": set(),
}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_entries_are_complete(entry):
    assert registry.find(entry.kind, entry.name) is entry
    assert entry.summary[0].isupper() or entry.kind in ("loss", "model")
    assert not entry.summary.endswith(".") and entry.source and entry.origin == "tangentbench"
    if isinstance(entry, MetricEntry):
        assert entry.unit and entry.definition and entry.cost and entry.direction in ("lower", "higher", "none")
        assert set(entry.at) <= {"start", "end", "schedule", "series"} and entry.reduce in ("last", "max", "min")
        of_a_run = any(f"metrics.{module}:" in entry.build for module in ("series", "mini_batches"))
        assert (entry.at == ("series",)) == of_a_run
        for label in set(entry.needs) - RUNNER_KEEPS:
            assert "schedule" in registry.find("metric", label).at


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.kind in NOT_PASSED], ids=lambda e: f"{e.kind}-{e.name}")
def test_options_fit_what_they_are_passed_to(entry):
    """Every option is a keyword of the component, with the same default, and the other way round."""
    target = entry.load()
    keywords = {
        name: parameter.default
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name != "key"
    }
    schema = entry.schema()
    options = {
        name: info.get_default(call_default_factory=True)
        for name, info in (schema.model_fields if schema else {}).items()
        if name not in NOT_PASSED[entry.kind]
    }
    assert options.keys() == keywords.keys()
    for name, default in options.items():
        if name == "init":
            continue  # None stands for its defaults
        given = keywords[name]
        if default is PydanticUndefined:
            assert given is inspect.Parameter.empty, name
        else:
            assert default == (list(given) if isinstance(given, tuple) else given), name


def test_losses_load():
    for entry in registry.LOSSES.values():
        assert entry.load().name == entry.name


def test_claim_kinds_load():
    for entry in registry.CLAIMS.values():
        assert callable(entry.load())


@pytest.mark.parametrize("entry", registry.METHODS.values(), ids=lambda entry: entry.name)
def test_every_method_has_the_same_number_of_valid_and_distinct_grid_points(entry):
    assert len(entry.grid) == METHOD_GRID_POINTS == 6
    resolved = [entry.schema()(**point).model_dump_json() for point in entry.grid]
    assert len(set(resolved)) == len(resolved)
    for point in entry.grid:
        assert ("critical" in point["learning_rate"]) == entry.critical


def test_unknown_names_have_suggestions():
    with pytest.raises(UnknownName) as caught:
        registry.find("metric", "agop_alignement")
    assert str(caught.value) == "unknown metric 'agop_alignement' (did you mean 'agop_alignment'?)"
    assert (caught.value.kind, caught.value.name) == ("metric", "agop_alignement")


# -- plug-ins ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def plugin(monkeypatch):
    """Installs entries as entry points of the distribution `other`."""
    registry.table.cache_clear()

    def install(kind, name, value, error=None):
        def load():
            if error:
                raise error
            return value

        point = SimpleNamespace(name=name, group=registry.GROUPS[kind], load=load, dist=SimpleNamespace(name="other"))
        monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])

    yield install
    registry.table.cache_clear()


def an_entry(kind="dataset", name="moons", **rest):
    made = {"method": MethodEntry, "metric": MetricEntry}.get(kind, Entry)
    return made(kind, name, "Two moons", "nobody", "other:moons", **rest)


def test_a_plug_in_joins_its_table(plugin):
    plugin("dataset", "moons", an_entry())
    assert registry.find("dataset", "moons").origin == "other"
    assert [*registry.table("dataset")][-1] == "moons"
    assert "moons" not in registry.DATASETS


@pytest.mark.parametrize(
    ("kind", "name", "value", "message"),
    [
        ("dataset", "digits", an_entry(name="digits"), "which tangentbench already defines: rename it"),
        ("dataset", "moons", an_entry(name="suns"), "has name 'suns': use the same name for both"),
        ("dataset", "moons", an_entry(kind="model"), "must be a Entry with kind='dataset'"),
        ("dataset", "moons", "moons", "must be a Entry with kind='dataset', got 'moons'"),
        ("metric", "moons", an_entry(), "must be a MetricEntry"),
        ("method", "moons", an_entry("method"), "has 0 grid points: every method has 6"),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_named(plugin, kind, name, value, message):
    plugin(kind, name, value)
    with pytest.raises(PluginError, match="other") as caught:
        registry.table(kind)
    assert message in str(caught.value)
    assert "rename it" in message or str(caught.value).endswith("to go on without it, `pip uninstall other`")


def test_a_plug_in_that_fails_to_import_is_named(plugin):
    plugin("model", "moons", None, error=ImportError("no module named moon"))
    with pytest.raises(PluginError, match="other: entry point tangentbench.models:moons cannot be imported: Import"):
        registry.table("model")


def test_entry_points_are_read_from_installed_distributions(tmp_path, monkeypatch):
    info = tmp_path / "moons-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: moons\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tangentbench.datasets]\nmoons = moons_plugin:ENTRY\n")
    (tmp_path / "moons_plugin.py").write_text(
        "from tangentbench.tasks.registry import Entry\n"
        "ENTRY = Entry('dataset', 'moons', 'Two moons', 'nobody', 'moons_plugin:moons')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for cache in (registry.table, registry._installed):
        cache.cache_clear()
    try:
        assert registry.find("dataset", "moons").origin == "moons"
    finally:
        for cache in (registry.table, registry._installed):
            cache.cache_clear()
    importlib.invalidate_caches()
