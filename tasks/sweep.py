"""Sweeps: from ``{path: values}`` to the points of a product.

An axis is a dotted path into the task (``model.width``, ``method.learning_rate.critical``, ``dataset``) with a list of
values, ``{linear: [first, last, count]}`` or ``{log: [first, last, count]}``; ``zip`` holds axes that advance together.
A value that is a mapping or a list has a ``label``, which stands for it in coordinates and tables.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

from .document import Mark, Node
from .merge import put, without
from .problem import did_you_mean
from .report import Report, describe

SWEEPABLE = ("dataset", "model", "loss", "method", "stop", "record", "precision", "bisect")
MAX_CELLS = 10_000


@dataclass(frozen=True)
class Setting:
    """One value of one axis."""

    axis: str
    coord: Any
    value: Node
    mark: Mark

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self.axis.split("."))


Point = tuple[Setting, ...]


def is_number(value: Any) -> bool:
    """Whether a coordinate has a place on a numeric axis."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def points(sweep: Node | None, report: Report) -> list[Point]:
    """The points of the product in file order, the last axis fastest; one empty point without a sweep."""
    if sweep is None or not isinstance(sweep.value, dict):
        return [()]
    axes: list[list[Point]] = []
    for name, (mark, node) in sweep.value.items():
        if name == "zip":
            axes.append(_zip(node, report, set(sweep.value)))
        else:
            axes.append([(setting,) for setting in _axis(name, mark, node, report)])
    axes = [axis for axis in axes if axis]  # a broken axis has been reported; the others are still checked
    if math.prod(map(len, axes)) > MAX_CELLS:
        report.add(sweep, f"the sweep has {math.prod(map(len, axes))} points; at most {MAX_CELLS} are allowed")
        return [()]
    return [tuple(itertools.chain(*chosen)) for chosen in itertools.product(*axes)]


Memo = dict[tuple[int, ...], tuple[Node | None, Point, Node]]


def apply(root: Node, point: Point, memo: Memo | None = None) -> Node:
    """The task at one point: shorter paths first, so that ``model.width`` is set within the ``model`` that was chosen.

    ``memo`` keeps sections that many points of a product share: they stay one node, and are then validated once.
    """
    memo = {} if memo is None else memo
    sections: dict[str, list[Setting]] = {}
    for setting in sorted(point, key=lambda s: s.axis.count(".")):
        sections.setdefault(setting.path[0], []).append(setting)
    children = dict(root.value)
    for name, settings in sections.items():
        old = root.get(name)
        key = (id(old), *map(id, settings))
        if key not in memo:
            small = Node({} if old is None else {name: root.value[name]}, root.mark)
            for setting in settings:
                small = put(small, setting.path, setting.value, setting.mark)
            memo[key] = (old, tuple(settings), small)  # what was the key is kept, so that no id is given away
        children[name] = memo[key][2].value[name]
    return Node(children, root.mark)


def _zip(node: Node, report: Report, others: set[str]) -> list[Point]:
    if not isinstance(node.value, dict) or not node.value:
        report.add(node, f"'zip': expected a mapping of axes, got {describe(node)}")
        return []
    columns = {name: _axis(name, mark, child, report, again=True) for name, (mark, child) in node.value.items()}
    for name in columns.keys() & others:
        report.add(node.place((name,), key=True), f"axis '{name}' is swept twice", "remove one")
    lengths = {name: len(column) for name, column in columns.items() if column}
    if len(set(lengths.values())) > 1:
        sizes = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        report.add(node, f"zipped axes must have equal lengths: {sizes}")
        return []
    points = list(zip(*(column for column in columns.values() if column), strict=True))
    seen: set[str] = set()
    for point in points:  # one axis may have a value twice; a point is given once
        values = repr([setting.coord for setting in point])
        if values in seen:
            shown = ", ".join(f"{setting.axis}: {setting.coord}" for setting in point)
            report.add(point[0].value, f"the zip has the point {shown} twice", "remove one")
        seen.add(values)
    return points


def _axis(name: str, mark: Mark, node: Node, report: Report, *, again: bool = False) -> list[Setting]:
    """The settings of an axis; ``again``: values may be repeated."""
    parts = name.split(".")
    if parts[0] not in SWEEPABLE or not all(parts):
        report.add(mark, f"'{name}' cannot be swept", _path_hint(name, parts[0]))
        return []
    if isinstance(node.value, dict):
        values = _range(node, report)
        return [Setting(name, value, Node(value, node.mark), mark) for value in values]
    if not isinstance(node.value, list) or not node.value:
        hint = f"write [{node.text}]" if node.text else ""
        what = f"axis '{name}': expected a list of values, or a linear or log range, got {describe(node)}"
        report.add(node, what, hint)
        return []
    if len(node.value) > MAX_CELLS:
        report.add(node, f"axis '{name}' has {len(node.value)} values; at most {MAX_CELLS} are allowed")
        return []
    settings = [s for item in node.value if (s := _setting(name, mark, item, report)) is not None]
    if again:
        return settings
    seen: dict[tuple[type, Any], Setting] = {}
    for setting in settings:
        if seen.setdefault((type(setting.coord), setting.coord), setting) is not setting:
            report.add(setting.value, f"axis '{name}' has {setting.coord!r} twice")
    return list(seen.values())


def _path_hint(name: str, head: str) -> str:
    if name == "seeds":
        return "seeds are no sweep axis: set `seeds` to a number"
    return did_you_mean(head, SWEEPABLE, otherwise=f"a path starts with one of {', '.join(SWEEPABLE)}")


def _setting(name: str, mark: Mark, item: Node, report: Report) -> Setting | None:
    if isinstance(item.value, list):
        report.add(item, f"axis '{name}': a list needs a label", "write {label: …, value: […]}")
        return None
    if not isinstance(item.value, dict):
        return Setting(name, item.value, item, mark)
    label = item.get("label")
    if label is None:
        report.add(item, f"axis '{name}': a mapping needs a label", "add `label: …`; it names the cell in tables")
        return None
    if not isinstance(label.value, str) or not label.value:
        report.add(label, f"'label': expected text, got {describe(label)}")
        return None
    rest = without(item, "label")
    wrapped = rest.get("value") if len(rest.value) == 1 else None
    return Setting(name, label.value, wrapped or rest, mark)


def _range(node: Node, report: Report) -> list[int | float]:
    """The values of ``{linear: [first, last, count]}`` or ``{log: …}``; whole numbers where both ends are."""
    kind = next(iter(node.value), "")
    if len(node.value) != 1 or kind not in ("linear", "log"):
        hint = did_you_mean(kind, ("linear", "log"), otherwise="write {log: [64, 1024, 5]}")
        report.add(node, "a range is {linear: [first, last, count]} or {log: [first, last, count]}", hint)
        return []
    given = node.value[kind][1]
    ends = given.plain()
    numbers = isinstance(ends, list) and len(ends) == 3 and all(type(v) in (int, float) for v in ends)
    if not numbers or type(ends[2]) is not int or not 2 <= ends[2] <= 1000:
        report.add(given, f"'{kind}': expected [first, last, count] with a count from 2 to 1000, got {ends!r:.60}")
        return []
    first, last, count = ends
    if first == last or kind == "log" and min(first, last) <= 0:
        why = "two different ends" if first == last else "positive ends"
        report.add(given, f"'{kind}' needs {why}, got {first:g} and {last:g}")
        return []
    values = _spaced(kind, first, last, count)
    if len(set(values)) < count:
        report.add(given, f"'{kind}': rounded to whole numbers, only {len(set(values))} of {count} values differ")
        return []
    return values


def _spaced(kind: str, first: int | float, last: int | float, count: int) -> list[int | float]:
    shares = [i / (count - 1) for i in range(1, count - 1)]
    if kind == "log":
        inner = [math.exp(math.log(first) + t * (math.log(last) - math.log(first))) for t in shares]
    else:
        inner = [first + t * (last - first) for t in shares]
    whole = type(first) is int and type(last) is int
    if whole and (kind == "log" or all(abs(v - round(v)) < 1e-9 for v in inner)):
        return [first, *map(round, inner), last]
    # 12 digits: the same coordinates on every platform, and 0.3 instead of 0.30000000000000004
    return [first, *(float(f"{v:.12g}") for v in inner), last]
