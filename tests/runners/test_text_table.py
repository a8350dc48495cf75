"""Tables of text: nothing lost, nothing wider than asked where words allow it, columns in line."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tangentbench.runners.text_table import Head, definitions, hanging, layout, measure, styled, wrapped

WORDS = st.text("abcdefgh-_é", min_size=1, max_size=12)
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)


def test_what_continues_a_line_hangs_below_its_second_column():
    text = hanging("  name   one two three four\nshort\n  five six seven eight", 17)
    assert text.split("\n") == [
        "  name   one two",
        "         three",
        "         four",
        "short",
        "  five six seven",
        "  eight",
    ]
    assert definitions({"a": "one two three", "key": "four\nfive"}, 13) == [
        "a    one two", "     three", "key  four", "     five",
    ]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(WORDS, TEXTS, TEXTS), max_size=5), width=st.integers(50, 120))
def test_no_word_is_lost_and_no_line_is_too_wide(rows, width):
    heads = [Head("name", keep=True), Head("what"), Head("number", right=True)]
    lines = layout(heads, rows, width)
    assert max(map(len, lines)) <= width
    letters = "".join(lines[:1] + lines[2:]).replace(" ", "")
    expected = "namewhatnumber" + "".join("".join(row) for row in rows).replace(" ", "")
    assert sorted(letters) == sorted(expected)


def test_columns_line_up_and_right_is_right():
    lines = layout([Head("a", keep=True), Head("n", right=True)], [["x", "1"], ["yy", "1000"]], 40)
    assert lines == [" a      n", " ────────", " x      1", " yy  1000"]
    widths = measure([Head("a"), Head("n")], [["x", "1"], ["yyyy", "1"]], 40)
    assert layout([Head("a"), Head("n")], [["x", "1"]], 40, widths=widths)[2] == " x     1"


def test_a_narrow_table_breaks_between_words_only():
    heads = [Head("value", least=0), Head("says", least=10)]
    rows = [["0.123 [0.110,\u00a00.140]", "a long sentence about it"]]
    lines = layout(heads, rows, 30)
    assert any("0.123 " in line and "[" not in line for line in lines) and any(
        "[0.110, 0.140]" in line for line in lines
    )
    assert max(map(len, lines)) <= 30 and "\u00a0" not in "".join(lines)


def test_cells_that_are_kept_make_the_table_wider():
    lines = layout([Head("name", keep=True), Head("says", least=4)], [["a" * 40, "one two"]], 30)
    assert any("a" * 40 in line for line in lines)


@pytest.mark.parametrize(("style", "code"), [("green", "32"), ("bold red", "1;31"), ("dim", "2")])
def test_styles_do_not_change_the_layout(style, code):
    heads, rows = [Head("name"), Head("verdict")], [["x", "holds"], ["y", "fails"]]
    plain, coloured = layout(heads, rows, 40), layout(heads, rows, 40, styles=[["", style], ["", ""]])
    assert f"\x1b[{code}mholds\x1b[0m" in "".join(coloured)
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in coloured] == plain
    assert styled("x", "") == "x" and styled("", style) == ""


def test_wrapping_keeps_lines_and_splits_what_does_not_fit():
    assert wrapped("one two\nthree", 7) == ["one two", "three"]
    assert wrapped("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert wrapped("", 4) == [""]
    assert wrapped("a/b: bound_is_negative_at_most", 14) == ["a/b: bound_is_", "negative_at_", "most"]
    assert wrapped("quadratic: bound_is", 8) == ["quadrati", "c:", "bound_is"]
