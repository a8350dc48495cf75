"""From a merged task to drafts of its cells: every point of the sweep with every default filled in, checked as a whole.

A mistake in one component is reported by its schema; what needs two of them together (a batch larger than the data, a
critical rate for Adam, a budget that pays for no step) is reported here, all with the place in the file.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from . import metric_items, registry, sweep
from .cells import Draft
from .components import lookup, named
from .document import Mark, Node, marks
from .entry import COMPONENTS, MethodEntry
from .merge import from_plain, put, replaced, without
from .options import Options
from .problem import did_you_mean
from .report import Report
from .spec import Bisect, Leaderboard, Record, Stop, TaskSpec

if TYPE_CHECKING:
    from .dataset_options import DatasetOptions
    from .model_options import ModelOptions

Component = tuple[dict[str, Any], Any]
"""(name and all options as plain data, the options' model)"""

EMPTY = Node({}, Mark(1, 1))
RECORDS = 100  # records of a run that does not say how often
NO_METHOD = {"name": "gd", "learning_rate": {"value": 1.0}}  # of tasks that take no step


@dataclass
class Resolver:
    """Resolves one file; sections that several points or tiers share are validated once."""

    report: Report
    _seen: dict[tuple[Hashable, int], tuple[Node, Any]] = field(default_factory=dict)
    _memo: sweep.Memo = field(default_factory=dict)

    def drafts(self, root: Node, points: Iterable[sweep.Point], arena: Leaderboard | None) -> list[Draft]:
        """One draft per point, or per method and grid point of an arena; those with mistakes are left out."""
        drafts = []
        for point in points:
            at = sweep.apply(root, point, self._memo)
            bisect = self._section(Bisect, at.get("bisect"))
            if bisect is not None:
                place = at.place(("bisect", "between"))
                at = put(at, tuple(bisect.along.split(".")), Node(bisect.between[0], place), place)
                self._not_swept_too(bisect.along, point)
            coords = {setting.axis: setting.coord for setting in point}
            if arena is None:
                drafts.append(self._draft(at, coords, bisect, at.get("method"), None))
            else:
                drafts += self._arena_drafts(at, arena)
        return [draft for draft in drafts if draft is not None]

    def check_base(self, root: Node, point: sweep.Point) -> None:
        """A value that the sweep replaces at every point is used nowhere; it must still be one that could stand there.

        What only does not fit together with other values is no mistake: those may be swept too. Nor is a missing key,
        which the sweep may give.
        """
        for setting in point:
            path = replaced(setting.path)
            base = root.at(path)
            if base is None or base is setting.value:
                continue
            at = sweep.apply(root, tuple(other for other in point if other.path[: len(path)] != path))
            alone = Resolver(Report(self.report.file, single=True))
            head = setting.path[0]
            section = at.get(head) or EMPTY
            if head in COMPONENTS and isinstance(section.value, dict):
                if section.get("name") is not None:  # else the sweep gives it
                    alone._component(head, section)
            elif head == "loss":
                alone._loss(section)
            else:
                alone.report.model(TaskSpec, at)
            places = marks(base)
            self.report.problems += [p for p in alone.report.problems if Mark(p.line, p.col) in places]

    def _arena_drafts(self, root: Node, arena: Leaderboard) -> list[Draft | None]:
        mark = root.place(("leaderboard",), key=True)
        dataset = self._component("dataset", root.get("dataset"))
        drafts = []
        for name in self.competitors(root, arena):
            entry = registry.find("method", name)
            for index, point in enumerate(entry.grid):
                if dataset is not None and (point.get("batch_size") or 0) > dataset[1].train_size:
                    point = {**point, "batch_size": dataset[1].train_size}  # a grid knows no data set
                node = self._grid_node(name, index, point, mark)
                drafts.append(self._draft(root, {"method": name, "point": index}, None, node, arena))
        return drafts

    def _grid_node(self, name: str, index: int, point: dict[str, Any], mark: Mark) -> Node:
        """The method of a grid point, one node for all tiers with the same batch."""
        key = (f"{name} {point.get('batch_size')}", index)
        if key not in self._seen:
            node = from_plain({"name": name, **point}, mark)
            self._seen[key] = (node, node)
        return self._seen[key][1]

    def competitors(self, root: Node, arena: Leaderboard) -> list[str]:
        """Names of the methods that compete, in the order of the registry; unknown names are reported."""
        known = registry.table("method")
        for key in ("methods", "methods_not"):
            for i, name in enumerate(getattr(arena, key) or ()):
                if name not in known:
                    mark = root.place(("leaderboard", key, i))
                    self.report.add(mark, f"unknown method '{name}'", did_you_mean(name, known))
        return [
            name
            for name in known
            if (arena.methods is None or name in arena.methods) and name not in (arena.methods_not or ())
        ]

    # -- one cell -----------------------------------------------------------------------------------------------------

    def _draft(
        self,
        root: Node,
        coords: dict[str, Any],
        bisect: Bisect | None,
        method_node: Node | None,
        arena: Leaderboard | None,
    ) -> Draft | None:
        stop = self._section(Stop, root.get("stop") or EMPTY)
        record = self._section(Record, root.get("record") or EMPTY)
        dataset = self._component("dataset", root.get("dataset"))
        model = self._component("model", root.get("model"))
        loss = self._loss(root.get("loss"))
        if method_node is None and stop is not None and stop.steps == 0:
            method_node = from_plain(NO_METHOD, root.mark)
        method = self._component("method", method_node)
        if arena is not None and stop is not None and method is not None and dataset is not None:
            stop = self._budgeted(stop, arena, dataset[1], method, root)
        every = None if record is None or stop is None else record.every or _every(stop.steps, method)
        if arena is not None and every is not None and record is not None and record.every and method and dataset:
            # in epochs: every method is looked at after the same work, whatever its batch
            every *= max(1, dataset[1].train_size // (method[1].batch_size or dataset[1].train_size))
        if method_node is not None and method is not None and dataset is not None:
            self._check_method(method_node, method, dataset[1], every)
        offers = self._offers(dataset, model, method, bisect, every)
        steps = None if stop is None else stop.steps
        listed = root.get("metrics") or EMPTY
        ranks = arena and (arena.metric, arena.validation_metric, arena.target)
        reader = metric_items.Reader(self.report, steps, offers, arena)
        metrics = self._once(("metrics", steps, offers, ranks), listed, lambda: reader.read(listed))
        parts = (stop, record, dataset, model, loss, method, every, metrics)
        if any(part is None for part in parts):
            return None
        return Draft(
            coords,
            {
                "dataset": dataset[0],  # pyright: ignore[reportOptionalSubscript]
                "model": model[0],  # pyright: ignore[reportOptionalSubscript]
                "loss": loss,
                "method": method[0],  # pyright: ignore[reportOptionalSubscript]
                "stop": stop.model_dump(),  # pyright: ignore[reportOptionalMemberAccess]
                "record": {"every": every},
                "precision": getattr(root.get("precision"), "value", "float32"),
                "metrics": metrics,
                "bisect": None if bisect is None else bisect.model_dump(),
            },
        )

    def _section(self, schema: type[BaseModel], node: Node | None) -> Any:
        """A validated section, once per node."""
        if node is None or not isinstance(node.value, dict):
            return None  # reported by the task's own schema
        return self._once(schema.__name__, node, lambda: self.report.model(schema, node))

    def _once(self, kind: Hashable, node: Node, compute: Any) -> Any:
        key = (kind, id(node))
        if key not in self._seen:
            self._seen[key] = (node, compute())  # the node is kept, so that its id is not given to another
        return self._seen[key][1]

    def _component(self, kind: str, node: Node | None) -> Component | None:
        if node is None or not isinstance(node.value, dict):
            return None  # reported by the task's own schema
        return self._once(kind, node, lambda: self._new_component(kind, node))

    def _new_component(self, kind: str, node: Node) -> Component | None:
        entry = named(kind, node, self.report)
        if entry is None:
            return None
        options = self.report.model(entry.schema() or Options, without(node, "name"))
        return None if options is None else ({"name": entry.name, **options.model_dump(mode="json")}, options)

    def _loss(self, node: Node | None) -> str | None:
        if node is None or not isinstance(node.value, str):
            return None  # reported by the task's own schema
        found = self._once("loss", node, lambda: lookup("loss", node, self.report))
        return found.name if found else None

    # -- what needs two sections --------------------------------------------------------------------------------------

    def _not_swept_too(self, along: str, point: sweep.Point) -> None:
        for setting in point:
            if setting.axis == along:
                self.report.add(setting.mark, f"'{along}' is swept and bisected at once", "remove one of the two")

    def _budgeted(self, stop: Stop, arena: Leaderboard, data: DatasetOptions, method: Any, root: Node) -> Stop | None:
        """The stopping rule with as many steps as the budget pays for, evaluations beside the steps included."""
        n, entry = data.train_size, registry.find("method", method[0]["name"])
        work = method[1].batch_size or n

        def cost(steps: int) -> int:
            return steps * work + n * len(entry.extra_evaluations(method[0], steps))

        most = arena.budget // work
        steps = bisect_right(range(most + 1), arena.budget, key=cost) - 1 if entry.overhead else most
        if steps < 1:
            place, hint = root.place(("leaderboard", "budget")), f"write at least {cost(1)}"
            self.report.add(place, f"the budget of {arena.budget} does not pay for one step of {work} examples", hint)
            return None
        return stop.model_copy(update={"steps": steps})

    def _check_method(self, node: Node, method: Component, data: DatasetOptions, every: int | None) -> None:
        options, entry = method[1], registry.find("method", method[0]["name"])
        if "critical" in method[0]["learning_rate"] and not entry.critical:
            allowed = ", ".join(e.name for e in registry.table("method").values() if e.critical)
            self.report.add(
                node.place(("learning_rate", "critical"), key=True),
                f"{entry.name} has no critical learning rate: `critical` is for {allowed}",
                f"write `learning_rate: {_usual_rate(entry)}`",
            )
        if options.batch_size is not None and options.batch_size > data.train_size:
            what = f"batch_size {options.batch_size} is larger than the {data.train_size} training examples"
            self.report.add(node.place(("batch_size",)), what, f"write {data.train_size}, or leave it out")
        period = options.period if entry.resets_rate else None
        if period is not None and every and period % every:
            what = f"period {period} must be a multiple of record.every, which is {every}"
            self.report.add(node.place(("period",)), what, f"set `record: {{every: {_divisor(period, every)}}}`")

    def _offers(self, dataset: Any, model: Any, method: Any, bisect: Any, every: int | None) -> frozenset[str] | None:
        """What the metrics of a cell may require; ``None`` while a section is broken."""
        if dataset is None or model is None or method is None or every is None:
            return None
        options: ModelOptions = model[1]
        size = method[1].batch_size
        offers = set(dataset[1].offers | options.offers)
        offers |= {"full_batch"} if size is None or size >= dataset[1].train_size else set()
        offers |= {"every_step"} if every == 1 else set()
        offers |= {"bisect"} if bisect is not None else set()
        return frozenset(offers)


def _usual_rate(entry: MethodEntry) -> float:
    return entry.grid[len(entry.grid) // 2]["learning_rate"]["value"]


def _every(steps: int, method: Any) -> int:
    """Steps between records when the task does not say: a hundredth, or what divides the method's period."""
    every = max(1, -(-steps // RECORDS))
    if method is None or not registry.find("method", method[0]["name"]).resets_rate:
        return every
    return _divisor(method[1].period, every)


def _divisor(period: int, every: int) -> int:
    return next(k for k in range(every, 0, -1) if period % k == 0)
