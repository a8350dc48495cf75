"""Figures: what is written in them, the same bytes twice, and SVG that an HTML page can hold many of."""

import re

import pytest

from tangentbench.runners import figures
from tangentbench.runners.charts import Axis, Block, Centre, Chart, Edge, Phase, PhaseRow, Point, Series
from tangentbench.runners.figure_style import OUTCOMES, palette, power_of_ten
from tangentbench.runners.inline_svg import inline_svg
from tangentbench.runners.records import OUTCOMES as STORED

SOURCE = "tangentbench 0.1.0 · 01234567 · family/task v1 · 8 seeds"
NASTY = "<b>& $x$ url(#a) #d55e00 </svg>"


def make_chart(**changes) -> Chart:
    series = tuple(
        Series(
            name=f"{name} {NASTY}",
            points=tuple(Point(x, x * factor, seed) for x in (1.0, 10.0, 100.0) for seed in range(3)),
            centre=tuple(Centre(x, x * factor, x * factor / 2, None, 3) for x in (1.0, 10.0, 100.0)),
            line=tuple(Point(x, x * factor) for x in (1.0, 10.0, 100.0)),
            fan=tuple((x, x * factor / 2, x * factor * 2) for x in (1.0, 10.0, 100.0)),
        )
        for name, factor in (("one", 1.0), ("two", 3.0))
    )
    fields = {
        "kind": "scaling", "name": "s", "title": NASTY, "caption": "what is seen", "x": Axis("width", True),
        "y": Axis("loss", True), "series": series,
    }  # fmt: skip
    return Chart(**{**fields, **changes})


def make_phase() -> Phase:
    blocks = [Block(k, k + 1, 0.0, 1.0, outcome, k + 0.5, 8) for k, outcome in enumerate(OUTCOMES)]
    searched = PhaseRow(NASTY, (Block(0.0, 1.0, 0.0, 1.0, "monotone"),), (Edge(1.0, 0.9, 1.1, "leaves monotone"),))
    return Phase("p", "Outcomes", "shares", Axis("rate"), (PhaseRow("network", tuple(blocks)), searched), 1.0)


CHARTS = [make_chart(), make_chart(kind="trend", x=Axis("", names=("a", "b", "c"))), make_phase()]


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.kind)
def test_a_figure_says_what_it_shows_and_where_it_is_from(chart):
    from matplotlib.text import Text

    figure = figures.draw(chart, SOURCE)
    words = [text.get_text().replace("\n", " ") for text in figure.findobj(Text)]
    assert chart.title in words and SOURCE in words
    names = [series.name for series in chart.series] if isinstance(chart, Chart) else [row.name for row in chart.rows]
    for name in names:
        assert any(name.replace(" ", "") == word.replace(" ", "") for word in words), name


def test_every_outcome_has_a_colour():
    assert set(STORED) < set(OUTCOMES)


def test_every_colour_has_one_counterpart_on_dark():
    light = [entry[1] for entry in palette()]
    assert len(set(light)) == len(light)
    assert len({name for name, _, _ in palette()}) == len(light)


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.kind)
def test_inline_svg_keeps_to_itself(chart):
    from html.parser import HTMLParser

    tags, ids, links = [], [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append(tag)
            found = dict(attributes)
            ids.extend(filter(None, [found.get("id")]))
            links.extend(re.findall(r"#([\w.-]+)", " ".join(found.get(n) or "" for n in ("href", "clip-path"))))
            assert not any(name.startswith("on") for name in found)
            assert not re.search(r"#[0-9a-f]{6}", found.get("style") or ""), found["style"]

    svg = inline_svg(chart, SOURCE, "k7")
    Reader().feed(svg)
    assert tags[0] == "svg" and not {"style", "script", "metadata", "b"} & set(tags)
    assert len(ids) == len(set(ids)) and all(name.startswith("k7.") for name in ids)
    assert set(links) <= set(ids) and links
    assert "://" not in svg and 'aria-labelledby="k7.title"' in svg
    assert inline_svg(chart, SOURCE, "k7") == svg


def test_inline_svg_has_other_ids_for_another_key():
    ids = [set(re.findall(r' id="([^"]+)"', inline_svg(CHARTS[0], SOURCE, key))) for key in ("a", "b")]
    assert ids[0] and not ids[0] & ids[1]


def test_files_are_the_same_twice_and_name_their_origin(tmp_path):
    from PIL import Image

    files = {}
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        files[name] = figures.save(CHARTS[0], SOURCE, tmp_path / name, "chart")
    assert [path.name for path in files["first"]] == ["chart.png", "chart.svg", "chart.pdf"]
    for first, second in zip(*files.values(), strict=True):
        assert first.read_bytes() == second.read_bytes()
    with Image.open(files["first"][0]) as picture:
        assert picture.format == "PNG" and picture.info["Description"] == SOURCE
    assert files["first"][2].read_bytes()[:4] == b"%PDF"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01, "0.01"), (5.0, "5"), (30000.0, "30000"), (1e-5, "10⁻⁵"), (3e6, "3·10⁶"), (1e12, "10¹²")],
)
def test_ticks(value, text):
    assert power_of_ten(value) == text
