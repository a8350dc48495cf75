"""Every check of `tangentbench check` passes for what is right and rejects what is wrong on purpose."""

import dataclasses
import importlib
import json
from pathlib import Path

import pytest

from tangentbench.runners import check
from tangentbench.runners.contracts.promises import PROMISES, words
from tangentbench.tasks import registry
from tangentbench.tasks.entry import Entry, MethodEntry, MetricEntry

GRID = tuple({"learning_rate": {"value": 0.1 * k}} for k in range(1, 7))
RIGHT = ("sphere", "general_quadratic", "half_sse", "gd", "catapult_gd", "train_loss")


def data(name, options="DataOptions", **rest):
    return Entry("dataset", name, "Wrong", "nowhere", f"wrong_components:{name}", f"wrong_components:{options}", **rest)


def model(name, options="NetOptions"):
    return Entry("model", name, "Wrong", "nowhere", f"wrong_components:{name}", f"wrong_components:{options}")


def loss(name):
    return Entry("loss", name, "Wrong", "nowhere", f"wrong_components:{name}")


def method(name, options="StepOptions", **rest):
    made = MethodEntry("method", name, "Wrong", "nowhere", f"wrong_components:{name}", f"wrong_components:{options}")
    return dataclasses.replace(made, **{"grid": GRID, **rest})


def metric(name, options="Plain", **rest):
    made = MetricEntry("metric", name, "Wrong", "nowhere", f"wrong_components:{name}", f"wrong_components:{options}")
    return dataclasses.replace(made, **{"definition": "a number", "at": ("schedule",), **rest})


WRONG = {
    ("dataset", "entry"): (dataclasses.replace(data("no_seed"), source=""), "has no source"),
    ("dataset", "options"): (data("silent", "Silent"), "option 'dim' has no sentence"),
    ("dataset", "shapes"): (data("too_many"), "train has other than the 5 examples"),
    ("dataset", "targets"): (data("zero_one", "Labelled"), "neither -1 and 1"),
    ("dataset", "determinism"): (data("global_state"), "two draws from one generator differ"),
    ("dataset", "splits"): (data("leaked"), "3 examples are in two splits"),
    ("dataset", "content hash"): (data("hashed"), "another process draws other data"),
    ("dataset", "agop"): (data("twice_agop", "Known"), "AGOP: differs by 1"),
    ("model", "entry"): (dataclasses.replace(model("Net"), summary="A net."), "without a full stop"),
    ("model", "options"): (model("OtherDefault", "Other"), "'width' is 3 by default in the options and 4"),
    ("model", "single example"): (model("Scalar"), "[9] gives [], not [2]"),
    ("model", "precision"): (model("Single"), "with x64 they are float32, float64"),
    ("model", "finite"): (model("Infinite"), "outputs hold NaN or infinity"),
    ("model", "vmap"): (model("Batched"), "a batch and its examples: differs by"),
    ("model", "parameters"): (model("Untrained"), "no array is trained"),
    ("model", "determinism"): (model("Unseeded"), "two models from one key differ"),
    ("model", "gradient"): (model("Bent"), "off by"),
    ("model", "expansions"): (model("HalfBlocks", "Blocks"), "multilinear"),
    ("model", "tangent kernel"): (model("DoubleGram"), "the kernel: differs by"),
    ("loss", "entry"): (loss("misnamed"), "calls itself 'other'"),
    ("loss", "value"): (loss("offset"), "not zero at the targets"),
    ("loss", "gradient"): (loss("kinked"), "the gradient: differs by"),
    ("loss", "scale"): (loss("scaled"), "the Hessian and per_kernel(3, 2) = 0.333"),
    ("loss", "shapes"): (loss("broadcast"), "broadcast to [n n]"),
    ("loss", "static"): (loss("unhashable"), "unhashable"),
    ("method", "entry"): (method("missing"), "has no attribute 'missing'"),
    ("method", "options"): (method("restless", "Restless"), "'period' is 4 by default in the options and 3"),
    ("method", "grid"): (method("ascent", grid=GRID[:1] * 6), "two points are equal"),
    ("method", "descent"): (method("ascent"), "after 12 steps"),
    ("method", "state"): (method("counting"), "of int32[] in the state"),
    ("method", "rate"): (method("concrete"), "ConcretizationTypeError"),
    ("method", "determinism"): (method("noisy"), "two runs on the same gradients differ"),
    ("method", "resets"): (method("restless", "PeriodOptions", resets_rate=True), "the rate changes at step 1"),
    ("metric", "entry"): (metric("constant", unit=""), "has no unit"),
    ("metric", "options"): (metric("constant", "Power"), "'power' is a keyword-only argument or an option"),
    ("metric", "finite"): (metric("not_a_number", definition="a number"), "it is NaN, and its definition does not say"),
    ("metric", "certificate"): (metric("constant", tolerance=0.1), "returns no residual"),
    ("metric", "batch"): (metric("traced"), "side by side with 2 others"),
}


@pytest.fixture
def wrong(monkeypatch):
    """Puts the wrong components on Python's path, and an entry into the registry."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "wrong"))

    def install(entry):
        monkeypatch.setitem(registry.KINDS[entry.kind], entry.name, entry)
        registry.table.cache_clear()
        return entry

    yield install
    monkeypatch.undo()
    registry.table.cache_clear()


def test_every_promise_has_a_check_and_a_wrong_component():
    assert set(WRONG) == {(kind, name) for kind, promised in PROMISES.items() for name in promised}
    for kind, promised in PROMISES.items():
        contract = importlib.import_module(f"tangentbench.runners.contracts.{kind}")
        assert all(callable(getattr(contract, name.replace(" ", "_"))) for name in promised)
        assert f"checks of a {kind}:" in words() and all(says in words() for says in promised.values())


@pytest.mark.parametrize(("kind", "name"), WRONG, ids=lambda word: word.replace(" ", "_"))
def test_what_is_wrong_is_rejected(kind, name, wrong):
    entry, reason = WRONG[kind, name]
    found = check.result_of(wrong(entry), name)
    assert found.result == "failed" and reason in found.says, found


@pytest.mark.parametrize(
    ("entry", "name", "reason"),
    [
        (data("no_seed"), "determinism", "the seed has no effect"),
        (metric("infinite_series", at=("series",)), "finite", "it returns inf"),
        (metric("not_a_number", definition="x, none where there is none"), "finite", "schedule empty"),
        (metric("infinite", definition="x, none where there is none"), "finite", "it is infinite"),
        (metric("constant", requires=("moons",)), "finite", "no tiny task offers"),
    ],
)
def test_more_that_is_wrong(entry, name, reason, wrong):
    assert reason in check.result_of(wrong(entry), name).says


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes(name):
    results = [result for entry in check._named(name) for result in check.results_of(entry)]
    assert [result for result in results if result.result == "failed"] == []
    assert {result.check for result in results} == set(PROMISES[results[0].kind])


def test_a_data_set_without_its_files_is_not_applicable(monkeypatch):
    monkeypatch.setenv("TANGENTBENCH_DATA", "off")
    found = {result.check: result for result in check.results_of(registry.find("dataset", "mnist"))}
    assert [found[name].result for name in ("entry", "options")] == ["passed"] * 2
    assert {found[name].result for name in found.keys() - {"entry", "options"}} == {"not applicable"}
    assert "TANGENTBENCH_DATA is off" in found["shapes"].says


def test_what_is_printed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert check.check(["half_sse"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "loss half_sse: 6 passed" and len(lines) == 1 + len(PROMISES["loss"])
    assert all(line.startswith("  passed ") for line in lines[1:])
    assert check.check(["half_sse"], "json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["check"] for row in rows] == list(PROMISES["loss"]) and rows[3]["says"].endswith("(s(3, 2) = 1)")


def test_a_failed_check_is_exit_code_1(capsys, wrong):
    wrong(loss("scaled"))
    assert check.check(["scaled"]) == 1
    assert "loss scaled: 5 passed, 1 failed" in capsys.readouterr().out


def test_a_source_that_cannot_be_read_is_told_once(tmp_path, monkeypatch):
    (tmp_path / "half_written.py").write_text("def build():\n    return (\n")
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = check.results_of(Entry("model", "half_written", "Half", "nowhere", "half_written:build"))
    assert found.result == "failed" and found.says.startswith(f"{tmp_path / 'half_written.py'}:2: SyntaxError: ")


def test_an_unknown_component_is_named():
    with pytest.raises(registry.UnknownName, match="'nothing' .`tangentbench list KIND` shows them: datasets, models"):
        check.check(["nothing"])
    with pytest.raises(registry.UnknownName, match=r"unknown component 'half_see' \(did you mean 'half_sse'"):
        check.check(["half_see"])
