"""Charts as SVG elements of a page: ids of their own, colours that follow the theme, words to be read aloud."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from io import BytesIO

from . import figures
from .charts import AnyChart
from .figure_style import STYLE, palette

_DROPPED = ("metadata", "style")  # the latter would hold for the whole page
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_NUMBER = re.compile(r"-?\d+\.\d+")
_SPACE = re.compile(r"\s*([A-Za-z])\s*")
_FONT = re.compile(r"font-family: [^;]*;?\s*")  # the page's own


def inline_svg(chart: AnyChart, source: str, key: str, classes: dict[str, str] | None = None) -> str:
    """The chart as an SVG element for an HTML page: no ids but its own, colours as variables of `palette`.

    Args:
        chart, source: see `figures.draw`.
        key: what ids start with; unique in the page, and short, as every marker names one.
        classes: of the page's charts, by what they declare (`rules`): elements get these, and new ones are added. By
            default they keep their styles.
    """
    import matplotlib

    out = BytesIO()
    figure = figures.draw(chart, source)
    with matplotlib.rc_context(STYLE):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    drawn = ElementTree.fromstring(out.getvalue())
    _adopt(drawn, key)
    _thin(drawn)
    if classes is not None:
        _share(drawn, classes)
    names = {"aria-labelledby": f"{key}.title", "aria-describedby": f"{key}.text"}
    svg = ElementTree.Element("svg", {"class": "plot", "role": "img", **names, "viewBox": drawn.get("viewBox", "")})
    ElementTree.SubElement(svg, "title", {"id": f"{key}.title"}).text = chart.title
    ElementTree.SubElement(svg, "desc", {"id": f"{key}.text"}).text = f"{chart.caption} {source}"
    svg.extend(drawn)
    return ElementTree.tostring(svg, encoding="unicode").replace(" />", "/>")  # no text or attribute has a bare >


def rules(classes: Mapping[str, str]) -> str:
    """The style sheet of classes: weaker than a style, as strong as any other class."""
    return "\n".join(f".{name}{{{style}}}" for style, name in classes.items())


def _adopt(svg: ElementTree.Element, key: str) -> None:
    """Strips what HTML does not want, renames ids with what refers to them, and turns colours into variables."""
    variables = {light: name for name, light, _ in palette()}

    def themed(match: re.Match[str]) -> str:
        return f"var({variables[match[0]]})" if match[0] in variables else match[0]

    for parent in list(svg.iter()):
        for child in [child for child in parent if _name(child.tag) in _DROPPED]:
            parent.remove(child)
    ids: dict[str, str] = {}

    def renamed(old: str) -> str:
        return ids.setdefault(old, f"{key}.{len(ids)}")

    for element in svg.iter():
        element.tag = _name(element.tag)
        element.text, element.tail = (text if text and text.strip() else None for text in (element.text, element.tail))
        for name, value in list(element.attrib.items()):
            del element.attrib[name]
            match _name(name):
                case "href":
                    element.set("href", f"#{renamed(value.removeprefix('#'))}")
                case "clip-path":
                    element.set("clip-path", f"url(#{renamed(value[5:-1])})")
                case "style":
                    element.set("style", _COLOUR.sub(themed, _FONT.sub("", value)))
                case "d":
                    element.set("d", _SPACE.sub(r"\1", _rounded(value)).strip())
                case "x" | "y" | "transform" as plain:
                    if not value.startswith("rotate(-0 "):
                        element.set(plain, _rounded(value))
                case plain:
                    element.set(plain, value)
    for element in svg.iter():
        if "id" in element.attrib and element.attrib["id"] not in ids:
            del element.attrib["id"]
        elif "id" in element.attrib:
            element.set("id", ids[element.attrib["id"]])
        styles = {child.get("style") for child in element if child.tag == "use"}
        if len(styles) == 1 and all(child.tag == "use" for child in element):  # markers of one series: said once
            element.set("style", styles.pop() or "")
            for child in element:
                child.attrib.pop("style", None)


def _thin(svg: ElementTree.Element) -> None:
    """Leaves out what is not seen: groups that say nothing, paths without ink, definitions of nothing."""
    for element in svg:
        _thin(element)
    kept: list[ElementTree.Element] = []
    for child in svg:
        if child.tag == "g" and not child.attrib:
            kept += child
        elif (child.tag, child.get("style")) != ("path", "fill: none") and not (child.tag == "defs" and not len(child)):
            kept.append(child)
    svg[:] = kept


def _share(svg: ElementTree.Element, classes: dict[str, str]) -> None:
    """Turns styles into classes, but for what `use` repeats: browsers differ in which rules they apply there."""
    repeated = {id(element) for definitions in svg.iter("defs") for element in definitions.iter()}
    for element in svg.iter():
        if "style" in element.attrib and id(element) not in repeated:
            style = element.attrib.pop("style")
            element.set("class", classes.setdefault(style, f"p{len(classes)}"))


def _rounded(numbers: str) -> str:
    """Coordinates to a tenth of a point."""
    return _NUMBER.sub(lambda match: f"{float(match[0]):.1f}".removesuffix(".0"), numbers)


def _name(qualified: str) -> str:
    return qualified.rpartition("}")[2]
