"""Claims as declared: each is read, its kind found, and its cells selected, before anything runs.

A claim must name metrics that the task measures and select exactly one cell (per value of `along`, per side of a
contrast); otherwise its verdict would depend on which cell happened to come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from . import registry
from .document import Node
from .options import Options
from .problem import counted, did_you_mean
from .report import Report, describe
from .spec import Claim
from .sweep import is_number

ENDS = ("largest", "smallest")
Coords = Sequence[Mapping[str, Any]]


@dataclass
class _Reader:
    """``places`` takes what is wrong with coordinates: the report, or, where cells are not known, nothing."""

    report: Report
    places: Report
    coords: Coords
    labels: Mapping[str, str] | None
    bisects: bool

    # -- coordinates --------------------------------------------------------------------------------------------------

    def values(self, axis: str) -> list[Any]:
        """The values of an axis in sweep order."""
        return list({repr(c[axis]): c[axis] for c in self.coords if axis in c}.values())

    def axes(self) -> list[str]:
        return list(dict.fromkeys(axis for c in self.coords for axis in c))

    def place(self, node: Node | None) -> dict[str, list[Any]] | None:
        """``{axis: [values]}`` of a `where`; ``None`` after reporting what is wrong with it."""
        if node is None or not isinstance(node.value, dict):
            return {} if node is None else None  # a wrong type is reported by the schema
        found: dict[str, list[Any]] = {}
        for axis, (mark, given) in node.value.items():
            values = self.values(axis)
            if not values:
                known = self.axes()
                hint = did_you_mean(axis, known) if known else "the task has no sweep"
                self.places.add(mark, f"'{axis}' is not swept", hint)
                return None
            items = given.value if isinstance(given.value, list) else [given]
            chosen = [self._value(axis, item, values) for item in items]
            if None in chosen:
                return None
            found[axis] = [value[0] for value in chosen if value is not None]
        return found

    def _value(self, axis: str, item: Node, values: list[Any]) -> tuple[Any] | None:
        wanted = item.value
        if wanted in ENDS and isinstance(wanted, str) and wanted not in values:
            if not all(map(is_number, values)):
                self.places.add(item, f"'{axis}' has values that are no numbers: none is {wanted}", _listed(values))
                return None
            return (max(values) if wanted == "largest" else min(values),)
        for value in values:
            if _equal(value, wanted):
                return (value,)
        what = f"'{wanted}'" if isinstance(wanted, str) else describe(item)
        listed = _listed(values)
        hint = did_you_mean(wanted, map(str, values), otherwise=listed) if isinstance(wanted, str) else listed
        self.places.add(item, f"'{axis}' never has the value {what}", hint)
        return None

    def select(self, where: Mapping[str, Sequence[Any]]) -> Coords:
        return [c for c in self.coords if all(a in c and any(_equal(c[a], v) for v in w) for a, w in where.items())]

    # -- checks -------------------------------------------------------------------------------------------------------

    def one_cell(self, node: Node, where: Mapping[str, Sequence[Any]], what: str = "the claim") -> bool:
        found = self.select(where)
        if len(found) != 1:
            self.places.add(node, f"{what} selects {len(found)} cells, must be one", self._narrow(found, where))
        return len(found) == 1

    def _narrow(self, found: Coords, where: Mapping[str, Any], along: str = "") -> str:
        free = [a for a in self.axes() if a != along and len({repr(c.get(a)) for c in found}) > 1]
        if free:
            return f"give {' and '.join(free)} one value in `where`"
        return "no cell of the sweep has these values together" if not found else ""

    def per_value(self, node: Node, along: Node, where: Mapping[str, Sequence[Any]], least: int) -> None:
        """Exactly one cell per number along an axis, and enough of them."""
        axis = along.value
        values = self.values(axis)
        if not values:
            known = self.axes()
            hint = did_you_mean(axis, known) if known else "the task has no sweep"
            self.places.add(along, f"'{axis}' is not swept", hint)
            return
        if not all(map(is_number, values)):
            self.places.add(along, f"'{axis}' has values that are no numbers", _listed(values))
            return
        found = self.select(where)
        here = {c[axis] for c in found}
        if len(found) > len(here):
            message = f"the claim selects {len(found)} cells for {len(here)} values of {axis}, must be one each"
            self.places.add(node, message, self._narrow(found, where, axis))
        elif len(here) < least:
            what = f"{counted(len(here), 'point')} along {axis}; at least {least} are needed"
            self.places.add(along, what, f"add values to the axis in `sweep`, or to `where` if that narrows {axis}")
        elif least > 2 and min(here) <= 0:
            self.places.add(along, f"{axis} has values that are not positive: it has no logarithm")

    def metric(self, node: Node | None) -> None:
        if (
            self.labels is not None
            and node is not None
            and isinstance(node.value, str)
            and node.value not in self.labels
        ):
            listed = did_you_mean(node.value, self.labels, otherwise="add it to metrics")
            self.report.add(node, f"the task does not measure '{node.value}'", listed)


def read(
    node: Node | None, report: Report, coords: Coords | None, labels: Mapping[str, str] | None, bisects: bool
) -> list[Claim]:
    """The claims of a task; what is wrong with them goes into the report.

    Args:
        node: the list of claims.
        report: collects the problems.
        coords: sweep coordinates of every cell; ``None`` where a broken sweep leaves them unknown.
        labels: what the task measures, `boundary` included if it bisects, and the metric of each label; ``None`` where
            its metrics are broken.
        bisects: whether the task searches for a boundary.
    """
    if node is None or not isinstance(node.value, list):
        return []  # a wrong type is reported by the task's own schema
    places = Report(report.file) if coords is None else report
    reader = _Reader(report, places, coords or (), labels, bisects)
    items = [item for item in node.value if isinstance(item.value, dict)]
    named = _by_id(items, report)
    return [claim for item in items if (claim := _claim(item, named, reader)) is not None]


def _by_id(items: list[Node], report: Report) -> dict[str, Node]:
    named: dict[str, Node] = {}
    for item in items:
        name = item.get("id")
        if name is None or not isinstance(name.value, str):
            continue
        if name.value in named:
            first = named[name.value].place(("id",))
            report.add(name, f"two claims are called '{name.value}'", f"the other is at line {first.line}")
        named.setdefault(name.value, item)
    return named


def _claim(item: Node, named: Mapping[str, Node], reader: _Reader) -> Claim | None:
    report, kinds = reader.report, registry.table("claim")
    given = [key for key in item.value if key in kinds]
    head = Node({k: v for k, v in item.value.items() if k not in kinds}, item.mark)
    misspelt = False
    for key, (mark, _) in head.value.items():
        if key not in Claim.model_fields:
            hint = did_you_mean(key, [*Claim.model_fields, *kinds])
            misspelt |= any(f"'{kind}'" in hint for kind in (*kinds, "control"))
            report.add(mark, f"unknown key '{key}'", hint)
    claim = report.model(Claim, Node({k: v for k, v in head.value.items() if k in Claim.model_fields}, item.mark))
    control = item.get("control")
    if control is not None:
        kind_item = _controlled(control, given, item, named, report)
    else:
        kind_item = item
        if not given and not misspelt:
            known = ", ".join(kinds)
            report.add(item, "the claim has no kind", f"add one of {known}, or `control: id` for a control")
    if len(given) > 1:
        place = item.place((given[1],), key=True)
        report.add(place, f"the claim has two kinds, {given[0]} and {given[1]}", "remove one")
    kind = next((key for key in (kind_item.value if kind_item else ()) if key in kinds), None)
    if kind_item is None or kind is None:
        return None
    body = kind_item.value[kind][1]
    metric = _own_metric(item, kind, body, reader)
    pair = _own_pair(item, kind, report)
    sides = pair or body.get("between")
    same = _cells_of(item, sides) == _cells_of(kind_item, body.get("between"))
    if control is not None and metric is not None and not same:
        what = f"the control changes both the metric and the cells of '{control.value}'"
        report.add(pair or item.get("where") or item, what, "change one factor: repeat the claim's `where`")
    if control is not None and metric is None and same:
        what = f"the control selects the same cells as '{control.value}', the claim it controls"
        own = {"rank_correlation": "give it another `metric`", "contrast": "give it a `between` of two other cells"}
        hint = own.get(kind, "change one factor in `where`")
        report.add(pair or item.get("where") or item, what, hint)
    options = _options(kind, body, report)
    where = reader.place(item.get("where"))
    if options is None or where is None or (claim is None and pair is not None):
        return None
    between = _check(kind, body, where, reader, sides, item if control and not pair else None)
    if claim is None:
        return None
    if control is not None:
        return Claim.model_validate({**claim.model_dump(), "where": _flat(where), "between": between if pair else None})
    body_data = options.model_dump(mode="json", by_alias=True) | ({} if between is None else {"between": between})
    return Claim.model_validate({**claim.model_dump(), "where": _flat(where), kind: body_data})


def _flat(place: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Coordinates as a file gives them: a single value without its list."""
    return {axis: values[0] if len(values) == 1 else values for axis, values in place.items()}


def _cells_of(item: Node, pair: Node | None) -> tuple[Any, list[str]]:
    """A claim's ``where`` as the file gives it, and the two cells it compares, if it does, in any order."""
    where = item.get("where")
    sides = pair.value if pair is not None and isinstance(pair.value, list) else []
    return {} if where is None else where.plain(), sorted(repr(side.plain()) for side in sides)


def _own_pair(item: Node, kind: str, report: Report) -> Node | None:
    """The two cells that the control of a contrast gives itself."""
    pair = item.get("between")
    if pair is None or (kind == "contrast" and item.get("control") is not None):
        return pair
    what = "only the control of a contrast has a `between` of its own"
    hint = "put it into the contrast" if kind == "contrast" else "remove it"
    report.add(item.place(("between",), key=True), what, hint)
    return None


def _own_metric(item: Node, kind: str, body: Node, reader: _Reader) -> Node | None:
    """The metric that a control gives itself; it is measured, is not the claim's own, and has the same unit."""
    metric = item.get("metric")
    if metric is None or not isinstance(metric.value, str):
        return None  # a wrong type is reported by the schema
    if item.get("control") is None:
        what = "only a control has a `metric` of its own"
        reader.report.add(item.place(("metric",), key=True), what, f"put it into the {kind}")
        return None
    reader.metric(metric)
    own = body.get("metric")
    labels = reader.labels or {}
    if own is None or not {own.value, metric.value} <= labels.keys():
        return metric
    against = body.get("against")
    if against is not None and against.value == metric.value:
        what = f"'{metric.value}' is what the claim ranks its metric against"
        reader.report.add(metric, what, "name another metric")
        return metric
    if own.value == metric.value:
        what = f"'{metric.value}' is the metric of the claim it controls"
        reader.report.add(metric, what, "name another metric, or remove it and change `where`")
        return metric
    table = registry.table("metric")
    units = [table[labels[node.value]].unit for node in (metric, own) if labels[node.value] in table]
    if len(set(units)) > 1:
        what = f"the control measures '{metric.value}' in {units[0]}, the claim '{own.value}' in {units[1]}"
        reader.report.add(metric, what, "name a metric of the same unit")
    return metric


def _controlled(control: Node, given: list[str], item: Node, named: Mapping[str, Node], report: Report) -> Node | None:
    """The claim that a control controls."""
    if given:
        place = item.place((given[0],), key=True)
        what = f"a control takes its kind from the claim it controls: '{given[0]}' is not allowed"
        report.add(place, what, "remove it")
    if not isinstance(control.value, str):
        return None  # reported by the schema
    other = named.get(control.value)
    if other is item:
        report.add(control, "a claim cannot be its own control", "name the claim that must fail here")
        return None
    if other is None:
        known = [name for name, node in named.items() if node is not item and node.get("control") is None]
        report.add(control, f"no claim is called '{control.value}'", did_you_mean(control.value, known))
        return None
    if other.get("control") is not None:
        report.add(control, f"'{control.value}' is itself a control", "name the claim that must fail here")
        return None
    return other


def _options(kind: str, body: Node, report: Report) -> Any:
    if not isinstance(body.value, dict):
        report.add(body, f"'{kind}': expected a mapping, got {describe(body)}")
        return None
    schema: type[BaseModel] = registry.find("claim", kind).schema() or Options
    return report.model(schema, body)


def _check(
    kind: str, body: Node, where: dict[str, list[Any]], reader: _Reader, pair: Node | None, control: Node | None
) -> list[dict[str, Any]] | None:
    """The kind's own rules; returns the resolved sides of a contrast.

    pair: the sides of a contrast. control: where to report what is wrong with the cells of a control, whose kind stands
    elsewhere.
    """
    at = control or body
    reader.metric(body.get("metric"))
    reader.metric(body.get("against"))
    along = body.get("along")
    if along is not None:
        reader.per_value(at, along, where, least=3 if kind == "exponent" else 2)
    elif kind == "contrast":
        return None if pair is None else _sides(pair, where, reader, control)
    elif kind == "boundary" and not reader.bisects:
        reader.report.add(body, "a boundary claim needs a search", "add `bisect: …` to the task")
    elif kind != "rank_correlation":  # that is about methods
        reader.one_cell(at, where)
    return None


def _sides(
    pair: Node, where: dict[str, list[Any]], reader: _Reader, control: Node | None
) -> list[dict[str, Any]] | None:
    sides = []
    for index, node in enumerate(pair.value):
        side = reader.place(node)
        if side is None:
            return None
        both = where.keys() & side.keys()
        if both:
            axis = next(axis for axis in side if axis in both)
            here = control.get("where") if control is not None else None
            if here is not None:  # the pair is the claim's
                what = f"'{axis}' is what the two cells of the claim that it controls differ in"
                reader.places.add(
                    here.place((axis,), key=True), what, "give the control a `between` of its own instead"
                )
                return None
            reader.places.add(node.place((axis,), key=True), f"'{axis}' is in `where` too", "give it in one place")
            return None
        if not reader.one_cell(control or node, {**where, **side}, f"the {('first', 'second')[index]} side"):
            return None
        sides.append(_flat(side))
    if sides[0] == sides[1]:
        reader.places.add(pair, "both sides are the same cell", "give them different coordinates")
    return sides


def _equal(a: Any, b: Any) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(str(v) for v in values[:8])
    return f"it has {shown}" + (", …" if len(values) > 8 else "")
