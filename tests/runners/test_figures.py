"""Figures: what is written in them, the same bytes twice, and SVG that an HTML page can hold many of."""

import re

import pytest

from tangentbench.runners import figures
from tangentbench.runners.charts import Axis, Block, Centre, Chart, Edge, Phase, PhaseRow, Point, Series
from tangentbench.runners.figure_style import OUTCOMES, palette, power_of_ten
from tangentbench.runners.inline_svg import inline_svg, rules
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


def one_axis(xs, series=3, kind="trend") -> Chart:
    """Series above each other at the same places of a logarithmic axis."""
    made = []
    for k in range(series):
        centre = tuple(Centre(x, x * (k + 1), None, None, 3) for x in xs) if kind == "trend" else ()
        made.append(Series(f"s{k}", points=tuple(Point(x, x * (k + 1), 0) for x in xs), centre=centre))
    return make_chart(kind=kind, title="t", series=tuple(made))


SWEEPS = [
    (0.1, 0.11, 0.2, 0.5, 1.0, 2.0),  # two labels on one another
    (0.1, 0.11, 0.12, 0.13, 0.15, 0.17, 0.19, 0.21),
    tuple(10.0**k for k in range(-3, 6)),
    (0.00012, 0.00015, 0.0002, 0.0003, 0.0005),
    (1.02, 1.021, 1.022, 1.03),
    (1e-12, 1e12),
]


@pytest.mark.parametrize("xs", SWEEPS, ids=str)
def test_labels_of_ticks_do_not_touch(xs):
    """As matplotlib sets them, which is not how they are measured (`figure_style.label_width`)."""
    figure = figures.draw(one_axis(xs), SOURCE)
    figure.draw_without_rendering()
    (ax,) = figure.axes
    for axis, low, high in ((ax.xaxis, "x0", "x1"), (ax.yaxis, "y0", "y1")):
        (left, right) = axis.get_view_interval()
        ticks = [tick for tick in axis.get_major_ticks() if left <= tick.get_loc() <= right]
        boxes = [tick.label1.get_window_extent() for tick in ticks]
        assert len({tick.label1.get_text() for tick in ticks}) == len(ticks) >= 2
        assert all(getattr(a, high) < getattr(b, low) for a, b in zip(boxes, boxes[1:], strict=False))


def test_labels_that_touch_would_be_noticed(monkeypatch):
    monkeypatch.setattr(figures, "log_ticks", lambda *_: list(SWEEPS[0]))
    with pytest.raises(AssertionError):
        test_labels_of_ticks_do_not_touch(SWEEPS[0])


def looks(chart) -> list[tuple]:
    """What the legend shows of each series: shape, filling and colour."""
    legend = figures.draw(chart, SOURCE).legends[0]
    return [(h.get_marker(), h.get_fillstyle(), h.get_color()) for h in legend.legend_handles]


@pytest.mark.parametrize("kind", ["scatter", "trend"])
def test_no_two_series_look_the_same(kind):
    """There are eleven methods, and plug-ins may add more; neither colour alone nor filling alone tells two apart."""
    found = looks(one_axis((1.0, 2.0), 16, kind))
    assert len({(shape, fill) for shape, fill, _ in found}) == len(found) == 16
    assert len({(shape, colour) for shape, _, colour in found}) == 16
    assert len(set(looks(one_axis((1.0, 2.0), 24, kind)))) == 24


def test_every_outcome_has_a_colour():
    assert set(STORED) < set(OUTCOMES)


def test_every_colour_has_one_counterpart_on_dark():
    light = [entry[1] for entry in palette()]
    assert len(set(light)) == len(light)
    assert len({name for name, _, _ in palette()}) == len(light)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.kind)
def test_inline_svg_keeps_to_itself(chart, shared):
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

    classes: dict[str, str] = {}
    svg = inline_svg(chart, SOURCE, "k7", classes if shared else None)
    Reader().feed(svg)
    assert tags[0] == "svg" and not {"style", "script", "metadata", "b"} & set(tags)
    assert len(ids) == len(set(ids)) and all(name.startswith("k7.") for name in ids)
    assert set(links) <= set(ids) and links
    assert "://" not in svg and 'aria-labelledby="k7.title"' in svg
    assert inline_svg(chart, SOURCE, "k7", {} if shared else None) == svg
    used = {name for value in re.findall(r' class="([^"]*)"', svg) for name in value.split()}
    assert used - {"plot"} == set(classes.values()) and bool(classes) == shared


def test_classes_say_what_styles_said():
    """Each element as it was, two charts with one set of classes."""
    import xml.etree.ElementTree as ElementTree

    classes: dict[str, str] = {}
    declared = []
    for chart in CHARTS:
        own = ElementTree.fromstring(inline_svg(chart, SOURCE, "k"))
        shared = ElementTree.fromstring(inline_svg(chart, SOURCE, "k", classes))
        rule = dict(re.findall(r"\.(p\d+)\{(.*)\}", rules(classes)))
        assert rule == {name: style for style, name in classes.items()}
        for a, b in zip(own.iter(), shared.iter(), strict=True):
            name = b.get("class")
            assert a.tag == b.tag and a.text == b.text
            assert a is own or a.get("style") == (b.get("style") if name is None else rule[name])
            declared.append(name)
    assert len(set(declared)) < len(declared) / 3  # they are shared


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.kind)
def test_nothing_that_is_seen_is_left_out(chart, monkeypatch):
    """Groups without attributes and paths without ink are, and nothing else is."""
    import xml.etree.ElementTree as ElementTree

    def elements() -> list[tuple]:
        found = ElementTree.fromstring(inline_svg(chart, SOURCE, "k")).iter()
        return [(e.tag, e.attrib, e.text) for e in found if e.attrib.get("style") != "fill: none"]

    thin = elements()
    monkeypatch.setattr("tangentbench.runners.inline_svg._thin", lambda svg: None)
    whole = elements()
    kept = [item for item in whole if item[0] not in ("g", "defs")]
    assert [item for item in thin if item[0] not in ("g", "defs")] == kept
    assert [item for item in thin if item[0] == "g"] == [item for item in whole if item[0] == "g" and item[1]]
    assert len(thin) < len(whole)


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
