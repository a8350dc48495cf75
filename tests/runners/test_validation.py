"""What `validate` prints."""

import json
from pathlib import Path

from tangentbench.runners import validation
from tangentbench.runners.validation import validate
from tangentbench.tasks.load import suite

EXAMPLES = Path(__file__).parents[1] / "tasks" / "examples"


def without_costs(out):
    """Lines of an answer that tell no estimated cost; those are in `test_cost`."""
    return [line for line in out.splitlines() if ": estimated cost: " not in line and ": note: estimated " not in line]


def test_validate(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert validate() == 0
    assert capsys.readouterr().out.strip() == f"{len(suite())} of {len(suite())} task files are valid"
    Path("good.yaml").write_text((EXAMPLES / "exponent.yaml").read_text())
    Path("bad.yaml").write_text(Path("good.yaml").read_text().replace("half_sse", "half_see"))
    assert validate(["good.yaml"]) == 0
    capsys.readouterr()
    assert validate(["."]) == 1
    out, err = capsys.readouterr()
    assert without_costs(out) == ["1 of 2 task files are valid"]
    assert err == "bad.yaml:6:7: unknown loss 'half_see' (did you mean 'half_sse' or 'half_mse'?)\n"
    assert validate(["."], "json") == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["files"], document["valid"], document["problems"][0]["line"]) == (2, 1, 6)
    assert validate(["."], "csv") == 1
    assert capsys.readouterr().out.splitlines()[0] == "file,line,col,message,suggestion"
    assert validate(["quadratic/no_such_task"]) == 1
    assert "quadratic/no_such_task: unknown task" in capsys.readouterr().err
    Path("empty").mkdir()
    assert validate(["empty"]) == 4
    assert "no task file there" in capsys.readouterr().out


def test_a_bad_file_does_not_hide_the_others(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("title: [1\n")
    Path("b.yaml").write_text((EXAMPLES / "exponent.yaml").read_text().replace("half_sse", "half_see"))
    assert validate(["a.yaml", "b.yaml", "c.yaml", "no/such"]) == 1
    out, err = capsys.readouterr()
    assert out == "0 of 4 task files are valid\n"
    assert [line.partition(":")[0] for line in err.splitlines()] == ["a.yaml", "b.yaml", "c.yaml", "no/such"]


UNCONTROLLED = """
  - id: alone
    says: Nothing could refute this
    where: {model: plain}
    monotone: {metric: hessian_norm, along: model.width, direction: decreasing, at_least: 0.5}
tiers:"""


def test_a_claim_without_a_control_is_noted(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (EXAMPLES / "exponent.yaml").read_text()
    Path("good.yaml").write_text(text)
    Path("noted.yaml").write_text(text.replace("\ntiers:", UNCONTROLLED))
    assert validate(["good.yaml"]) == 0
    assert without_costs(capsys.readouterr().out) == ["1 of 1 task file is valid"]
    line = 1 + next(i for i, text in enumerate(Path("noted.yaml").read_text().splitlines()) if "id: alone" in text)
    for _ in range(2):  # a file that is known to be valid is noted again
        assert validate(["."]) == 0
        out, err = capsys.readouterr()
        note, count = without_costs(out)
        assert err == "" and count == "2 of 2 task files are valid"
        assert note.startswith(f"noted.yaml:{line}:9: note: claim 'alone' has no control (add one: ")
        assert note.endswith("with `control: alone`)")
    assert validate(["."], "json") == 0
    assert [note["line"] for note in json.loads(capsys.readouterr().out)["notes"] if note["line"]] == [line]
    assert validate(["."], "csv") == 0
    assert capsys.readouterr().out == "file,line,col,message,suggestion\n"


def test_the_suite_is_not_estimated_unless_a_task_is_named(capsys, monkeypatch, tmp_path):
    """What a bare call found valid is estimated when it is named, and only then."""
    monkeypatch.setenv("TANGENTBENCH_CACHE", str(tmp_path))
    asked = []
    estimates = validation.cost.estimates
    monkeypatch.setattr(validation.cost, "estimates", lambda tiers: asked.append(1) or estimates(tiers))
    assert validate() == 0
    assert not asked and "estimated" not in capsys.readouterr().out
    for _ in range(2):
        assert validate(["quadratic/single_example"]) == 0
        assert "quadratic/single_example: estimated cost: " in capsys.readouterr().out
    assert len(asked) == 1
