"""Strict YAML: values as YAML 1.2 reads them, positions of keys and values, and bounds."""

import pytest
import yaml

from tangentbench.tasks.document import Mark, parse, positions, read
from tangentbench.tasks.problem import TaskFileError


@pytest.fixture(params=["C scanner", "Python scanner"])
def scanner(request, monkeypatch):
    """Both scanners of PyYAML: not every platform has the C one."""
    if request.param == "Python scanner":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)


# PyYAML's own reading stands beside ours: each of these is a trap that it falls into.
@pytest.mark.parametrize(
    ("text", "ours", "pyyaml"),
    [
        ("1e-3", 0.001, "1e-3"),
        ("1E5", 1e5, "1E5"),
        ("no", "no", False),
        ("off", "off", False),
        ("Yes", "Yes", True),
        ("12:30", "12:30", 750),
        ("2020-01-01", "2020-01-01", yaml.safe_load("2020-01-01")),
    ],
)
def test_traps_of_yaml_1_1(scanner, text, ours, pyyaml):
    assert parse(f"key: {text}").plain() == {"key": ours}
    assert yaml.safe_load(text) == pyyaml != ours


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("0", 0), ("-12", -12), ("+3", 3),
        ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("-1.5e+3", -1500.0), ("'12'", "12"), ('"true"', "true"),
        ("a b", "a b"),
        ("1e3x", "1e3x"), ("1.2.3", "1.2.3"), ("[1, [x]]", [1, ["x"]]), ("{a: {b: 1}}", {"a": {"b": 1}}),
        ("|\n  12\n", "12\n"), ("'<<'", "<<"), ("é", "é"),
    ],
)  # fmt: skip
def test_values(scanner, text, value):
    plain = parse(f"key: {text}").plain()["key"]
    assert plain == value
    assert type(plain) is type(value)


@pytest.mark.parametrize(
    "text", ["010", "0x1F", "0o17", "0b11", "1_000", "09.5", ".inf", "-.INF", ".nan", "1e999", "9" * 30]
)
def test_numbers_that_two_readers_read_differently_are_refused(scanner, text):
    with pytest.raises(TaskFileError, match="<text>:1:6: "):
        parse(f"key: {text}")
    assert parse(f"key: '{text}'").plain() == {"key": text}


def test_positions_of_keys_and_values(scanner):
    root = parse("a: 1\nb:\n  - x\n  - {c: é, d: 2}\n")
    places = {path: ((k.line, k.col), (v.line, v.col)) for path, (k, v) in positions(root).items()}
    assert places == {
        ("a",): ((1, 1), (1, 4)),
        ("b",): ((2, 1), (3, 3)),
        ("b", 0): ((3, 5), (3, 5)),
        ("b", 1): ((4, 5), (4, 5)),
        ("b", 1, "c"): ((4, 6), (4, 9)),
        ("b", 1, "d"): ((4, 12), (4, 15)),
    }
    assert root.place(("b", 1, "c"), key=True) == Mark(4, 6)
    assert root.place(("b", 1, "nothing", "below")) == Mark(4, 5)
    at = root.at(("b", 1, "d"))
    assert at is not None and (at.value, at.text) == (2, "2")


def test_aliases_stand_for_their_anchors(scanner):
    root = parse("a: &x {b: 1}\nc: *x\n")
    assert root.plain() == {"a": {"b": 1}, "c": {"b": 1}}
    assert root.place(("c", "b")) == Mark(1, 11)


def test_a_billion_laughs(scanner):
    lines = ["a0: &a0 [" + ", ".join("1" * 10) + "]"]
    lines += [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 10) + "]" for i in range(1, 10)]
    with pytest.raises(TaskFileError, match=r"<text>:\d+:\d+: expands to more than 50000 values"):
        parse("\n".join(lines))
    assert len(positions(parse("\n".join(lines[:4])))) > 10_000  # the bound is on the size, not on aliases


def test_nesting_is_bounded_before_anything_recurses(scanner):
    with pytest.raises(TaskFileError, match="nested deeper than 32 levels"):
        parse("a: " + "[" * 100_000)
    with pytest.raises(TaskFileError, match="nested deeper than 32 levels"):
        parse("\n".join(" " * i + "a:" for i in range(100)))
    parse("a: " + "[" * 31 + "]" * 31)


def test_all_mistakes_of_a_mapping_are_collected(scanner):
    with pytest.raises(TaskFileError) as caught:
        parse("a: 010\na: 1\n<<: {}\n? [x]\n: 1\nb: !t 1\nnull: 2\n")
    messages = [f"{p.line} {p.message}" for p in caught.value.problems]
    assert messages == [
        "1 '010' is read differently by YAML 1.1 and 1.2",
        "2 duplicate key 'a'",
        "3 merge key '<<' is not allowed",
        "4 a key must be text",
        "6 tag '!t' is not allowed",
        "7 a key must be text",
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_byte_order_mark(scanner, end):
    root = parse(f"\ufeffa: 1{end}b: 2{end}".encode())
    assert root.plain() == {"a": 1, "b": 2}
    assert root.place(("b",)) == Mark(2, 4)


def test_endless_files_are_not_read(tmp_path):
    with pytest.raises(TaskFileError, match="not a file"):
        read("/dev/zero")
    (tmp_path / "big.yaml").write_text("# " + "x" * 300_000)
    with pytest.raises(TaskFileError, match="larger than 256 KiB"):
        read(tmp_path / "big.yaml")
    with pytest.raises(TaskFileError):
        read("a\0b")
