"""Finding task files, claims as they are loaded, and the promise that nothing but `TaskFileError` ever comes out."""

import json
import random
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tangentbench.tasks import catalog as catalog_module
from tangentbench.tasks.load import TaskFileError, UnknownName, catalog, cells, find, load_task, load_tiers, suite
from tangentbench.tasks.spec import TIERS

EXAMPLES = Path(__file__).parent / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_examples_have_cells_at_every_tier(path, tier):
    task = load_task(path, tier)
    assert (task.id, task.tier, task.path) == (path.stem, tier, str(path))
    found = cells(task)
    assert found and len({cell.digest for cell in found}) == len(found)
    json.dumps([cell.model_dump(mode="json") for cell in found], allow_nan=False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_all_tiers_at_once_are_the_tiers_one_by_one(path):
    together = load_tiers(path)
    assert [*together] == [*TIERS]
    for tier, task in together.items():
        assert task == load_task(path, tier)


def test_the_suite_is_valid():
    assert [task.id for task in find()] == suite()


# -- finding ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    text = (EXAMPLES / "exponent.yaml").read_text()
    for name in ("a/one", "a/two", "b/three"):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def names(found):
    return [task.id for task in found]


def test_ids_families_globs_and_paths(folder):
    assert set(catalog(folder)) - set(catalog()) == {"a/one", "a/two", "b/three"}
    assert names(find(["b/three", "a/one"], folder=folder)) == ["b/three", "a/one"]
    assert names(find(["a"], folder=folder)) == ["a/one", "a/two"]
    assert names(find(["*/t*o", "a/*"], folder=folder)) == ["a/two", "a/one"]
    assert names(find([str(folder / "a" / "one.yaml")])) == ["one"]
    assert names(find([str(folder / "a" / "one.yaml"), "a/one"], folder=folder)) == ["a/one"]
    assert find(["nothing/*"], folder=folder) == []
    assert names(find(folder=folder)) == suite(folder)


def test_an_unknown_id_has_suggestions(folder):
    with pytest.raises(UnknownName, match=r"unknown task 'a/onee' \(did you mean 'a/one'"):
        find(["a/onee"], folder=folder)
    with pytest.raises(UnknownName, match="did you mean 'a/one'"):
        load_task("a/onee", folder=folder)
    with pytest.raises(TaskFileError, match="no such folder"):
        find(["a/one"], folder=folder / "c")


def test_mistakes_of_several_files_are_reported_together(folder):
    for name in ("a/one", "b/three"):
        path = folder / f"{name}.yaml"
        path.write_text(path.read_text().replace("half_sse", "half_see"))
    with pytest.raises(TaskFileError) as caught:
        find(["a", "b"], folder=folder)
    assert [Path(problem.file).stem for problem in caught.value.problems] == ["one", "three"]


def test_paths_are_shown_as_given(folder, monkeypatch):
    path = folder / "a" / "one.yaml"
    path.write_text("")
    monkeypatch.chdir(folder)
    for typed, shown in (("a/one.yaml", "a/one.yaml"), ("./a/one.yaml", "./a/one.yaml"), (str(path), str(path))):
        with pytest.raises(TaskFileError) as caught:
            load_task(typed)
        assert str(caught.value).startswith(f"{shown}:1:1: ")


def test_two_tasks_of_one_id_are_refused(folder, monkeypatch):
    monkeypatch.setattr(catalog_module, "_roots", lambda: (("", folder), ("", folder / ".")))
    with pytest.raises(TaskFileError, match="task 'a/one' exists already"):
        catalog()


# -- claims -----------------------------------------------------------------------------------------------------------


def test_claims_carry_kinds_options_and_values_of_the_tier():
    for tier, (least, most) in {"smoke": (5, 64), "laptop": (5, 512)}.items():
        first, second, control = load_task(EXAMPLES / "batch_size.yaml", tier).claims
        assert (first.kind, first.options["along"]) == ("monotone", "method.batch_size")
        assert second.options == {
            "metric": "test_loss", "as": "ratio", "at_most": 0.9, "at_least": None, "within": None,
            "between": [{"method.batch_size": least}, {"method.batch_size": most}],
        }  # fmt: skip
        assert second.model_dump(by_alias=True)["contrast"] == second.options
        assert (control.kind, control.control, control.where) == (
            "", "small_batches_generalise", {"model.activation": "tanh"},
        )  # fmt: skip


def test_the_control_of_a_contrast_may_compare_other_cells(tmp_path):
    text = (EXAMPLES / "batch_size.yaml").read_text().replace("[64, 5]", "[64, 20, 5]")
    pair = "between: [{method.batch_size: 20}, {method.batch_size: largest}]"
    head = "id: medium, says: Not so, control: small_batches_generalise, where: {model.activation: relu}"
    (tmp_path / "x.yaml").write_text(text.replace("tiers:", f"  - {{{head}, {pair}}}\ntiers:"))
    claims = {claim.id: claim for claim in load_task(tmp_path / "x.yaml").claims}
    medium = claims["medium"]
    assert medium.between == [{"method.batch_size": 20}, {"method.batch_size": 512}] and medium.options == {}
    assert claims["tanh_does_not"].between is None


def test_a_tier_changes_and_drops_claims(tmp_path):
    text = (EXAMPLES / "exponent.yaml").read_text()
    text = text.replace("seeds: 2}", "seeds: 2, claims: {bottleneck: null, falls: {exponent: {within: [-9, 9]}}}}")
    (tmp_path / "x.yaml").write_text(text)
    claims = load_task(tmp_path / "x.yaml", "smoke").claims
    assert [claim.id for claim in claims] == ["falls", "output"]
    assert claims[0].options["within"] == [-9.0, 9.0] and claims[0].options["metric"] == "hessian_norm"
    assert len(load_task(tmp_path / "x.yaml").claims) == 3


# -- robustness -------------------------------------------------------------------------------------------------------

KEYS = ["name", "label", "value", "log", "zip", "x", "at", "id", "critical"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | st.text(max_size=5)
    | st.sampled_from(["wide", "gd", "mse", "model.width", "critical", "largest", "12:30", "1e-3", "boundary", "end"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
PLAIN = {path.stem: yaml.safe_load(path.read_text().replace("1e-", "1.0e-")) for path in FILES}


def nodes(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield path
    for key, child in items:
        yield from nodes(child, (*path, key))


def loads_or_complains(path, text):
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        cells(load_task(path))
    except TaskFileError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.message and problem.line >= 0 and str(problem).startswith(str(path))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("mutants") / "mutant.yaml"


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_mutated_values_never_crash(scratch, data):
    tree = json.loads(json.dumps(PLAIN[data.draw(st.sampled_from(sorted(PLAIN)))]))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(sorted(nodes(tree), key=str)))
        if not path:
            continue
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        match data.draw(st.sampled_from(["replace", "delete", "rename"])):
            case "replace":
                parent[path[-1]] = data.draw(VALUES)
            case "delete":
                del parent[path[-1]]
            case "rename" if isinstance(parent, dict):
                parent[data.draw(st.text(max_size=4) | st.just("label"))] = parent.pop(path[-1])
    loads_or_complains(scratch, yaml.safe_dump(tree, allow_unicode=True, sort_keys=False))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 4), file=st.sampled_from(FILES))
def test_mutated_text_never_crashes(scratch, seed, count, file):
    chance = random.Random(seed)
    text = file.read_text()
    for _ in range(count):
        start = chance.randrange(len(text))
        stop = start + chance.choice([0, 1, 1, 3, 20])
        new = chance.choice(["", "&a ", "*a", "- ", "é", *" \n:{}[]'\"!\t0#|"])
        text = text[:start] + new + text[stop:]
    loads_or_complains(scratch, text)


def test_the_watch_for_crashes_would_notice_one(scratch, monkeypatch):
    monkeypatch.setattr("tangentbench.tasks.sweep.points", lambda *_: [][0])
    with pytest.raises(IndexError):
        loads_or_complains(scratch, FILES[0].read_text())
