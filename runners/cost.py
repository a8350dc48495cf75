"""What a task will cost, estimated from its options alone: no jax, no numpy, nothing is built or traced.

Counted are compiled programs, lanes (cell and seed), steps, examples per step, multiplications of a forward pass,
records and what is measured at each, by `MetricEntry.cost`. A few constants turn them into seconds on two cores; at the
paper tier arithmetic is assumed to be `GPU` times as fast, which nobody has measured.

Accuracy: the constants were fitted by hand to the runs of 31 of the suite's tasks at the laptop tier, with JAX 0.12 on
two cores that had other work to do, all their seconds scaled so that the whole tier takes the 750 s that it takes
without. The estimates lie within a factor of 2 of these for 27 of the 31 and of 3 for 29; the other two are a quarter
and a fifth, but one of them took 31 s when it was run again by itself, where 42 s are estimated. Over the whole suite
780 s are estimated at laptop, and 230 s at smoke, which takes 167 s and in whose sight two of the constants were
chosen. No estimate knows when runs diverge or reach their goal, nor what another XLA needs to compile, which is half of
it.

For an exact count of one cell's arithmetic see `abstract.estimate`, which traces it.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..tasks import registry

if TYPE_CHECKING:
    from ..tasks.cells import Draft
    from ..tasks.load import Task
    from ..tasks.spec import Cell

BUDGET = {"smoke": 30.0, "laptop": 120.0, "paper": 3600.0}
"""Seconds that one task may take: smoke and laptop on two cores, paper on a GPU."""
OWN = "tangentbench"
"""The origin of what has an estimate."""

WORKERS = 2
START = 2.0
"""Seconds until a worker process trains."""
TRACE, LANE = 0.6, 0.003
"""Seconds that a program, and a lane, take whatever their size, beside compilation."""
COMPILE = {"any": 0.1, "steps": 0.7, "kernel": 0.8, "curvature": 5.0, "ascent": 2.0}
"""Seconds to compile a program, and further ones if it trains, measures kernels, products with Hessians, suprema."""
STEP = 1e-6
"""Seconds of a lane's step whatever its size."""
SPEED = {"steps": 1e11, "kernel": 1e10, "lanczos": 6e8, "curvature": 5e10}
"""Operations per second in training and predictions, tangent kernels, their eigenvalues, and products with Hessians."""
GPU = 100.0
"""How much faster arithmetic is on the GPU of the paper tier than on two cores: an assumption."""
EARLY = 0.25
"""Share of the steps that is taken where the loss may end a run."""
ELEMENT = 10
"""Operations per neuron beside its sum."""
PRODUCTS = 30
"""Products with the loss Hessian until its largest eigenvalue is found."""
EXPANSIONS = {None: 1, "linear": 2, "quadratic": 4, "multilinear": 4}
"""Forward passes of the network that one of its Taylor expansion costs."""
BATCHES = 2
"""Batches of starts until a supremum settles."""
REFERENCES, REFERENCE_STEPS = 2, 250
"""Reference models of each data set that asks for them, and the steps that one takes."""


class NotEstimated(Exception):
    """A plug-in's component, of which only its own code knows the cost."""


class Layer(NamedTuple):
    """Each of `positions` patches of `fan_in` numbers gives `size` numbers, by the same weights."""

    size: int
    fan_in: int
    positions: int = 1


class Program(NamedTuple):
    """A compiled program: the first of its cells, and how many lanes it trains."""

    cell: Cell
    lanes: int


# -- shapes ------------------------------------------------------------------------------------------------------------

PIXELS = {"digits": 64, "diabetes": 10, "mnist": 784, "fashion_mnist": 784, "cifar10": 3072, "svhn": 3072}


def data_shape(dataset: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers per example, and outputs; raises `NotEstimated` for a plug-in's data set."""
    name = dataset["name"]
    _own("dataset", name)
    classes = dataset.get("classes", 2)
    count = 2 if name == "digits" else len(classes) if isinstance(classes, list) else classes
    return PIXELS.get(name) or dataset.get("dim", 1), count if count > 2 else 1


def layers(model: Mapping[str, Any], inputs: int, outputs: int) -> list[Layer]:
    """The layers of a model's network, as their arrays are; of random graphs and of edges about so.

    Raises `NotEstimated` for a plug-in's model.
    """
    name = model["name"]
    _own("model", name)
    return {"wide": _wide, "bottleneck": _wide, "dag": _dag, "conv": _conv, "general_quadratic": _quadratic}[name](
        model, inputs, outputs
    )


def weights(model: Mapping[str, Any], inputs: int, outputs: int) -> int:
    """How many numbers are trained; raises `NotEstimated` for a plug-in's model."""
    shape = layers(model, inputs, outputs)
    return sum(layer.size * layer.fan_in for layer in shape) + bool(model.get("bias")) * sum(lr.size for lr in shape)


def _own(kind: str, name: str) -> None:
    origin = registry.find(kind, name).origin
    if origin != OWN:
        raise NotEstimated(f"{kind} '{name}' comes with {origin}")


def _chain(sizes: Sequence[int]) -> list[Layer]:
    return [Layer(size, fan_in) for fan_in, size in zip(sizes, sizes[1:], strict=False)]


def _wide(model: Mapping[str, Any], inputs: int, outputs: int) -> list[Layer]:
    width, narrow = model["width"], model.get("at", ())
    widths = list(width) if isinstance(width, list) else [width] * model["depth"]
    return _chain(
        [inputs, *(model["bottleneck_width"] if k in narrow else w for k, w in enumerate(widths, 1)), outputs]
    )


def _conv(model: Mapping[str, Any], inputs: int, outputs: int) -> list[Layer]:
    positions, patch = inputs // model["input_channels"], model["kernel"] ** model["dims"]
    channels = model["channels"]
    fans = [model["input_channels"], *[channels] * (model["depth"] - 1)]
    read = channels * (1 if model["readout"] == "average" else positions)
    return [*(Layer(channels, patch * fan_in, positions) for fan_in in fans), Layer(outputs, read)]


def _quadratic(model: Mapping[str, Any], inputs: int, outputs: int) -> list[Layer]:
    return [Layer(1, inputs)]


def _dag(model: Mapping[str, Any], inputs: int, outputs: int) -> list[Layer]:
    graph = model["generator"]
    if graph is None:
        return [Layer(1, len(model["edges"]))]
    name, depth, width, read = graph["name"], graph["depth"], graph["width"], model["readout"]
    if name == "random_in_degree":
        return _random(graph, inputs, outputs, read)
    widths = list(width) if isinstance(width, list) else [width] * depth
    widths = [graph["width_at"] if k in graph.get("at", ()) else w for k, w in enumerate(widths, 1)]
    widths = widths[: read - 1] if read else widths
    if name == "densenet":
        return [Layer(size, inputs + sum(widths[:k])) for k, size in enumerate((*widths, outputs))]
    if name != "dropout":
        return _chain([inputs, *widths, outputs])
    kept = [*widths[:-1], *(_reached(w, graph["keep"], outputs) for w in widths[-1:])]
    return [_sparse(layer, graph["keep"], graph["keep"] * layer.fan_in) for layer in _chain([inputs, *kept, outputs])]


def _random(graph: Mapping[str, Any], inputs: int, outputs: int, read: int | None) -> list[Layer]:
    """Levels whose nodes read between ``width`` and ``width^power`` others."""
    width, most = graph["width"], math.ceil(graph["width"] ** graph["power"] - 1e-9)
    size = graph["nodes"] or most
    mean = (most - width) / math.log(most / width) if most > width else width
    sizes = [size] * (read - 1 if read else graph["depth"])
    if not read and graph["output_reads"] == "width":
        sizes[-1] = _reached(size, width / size, outputs)
    found = _chain([inputs, *sizes, outputs])
    if graph["reads"] == "all":
        found[1:] = [layer._replace(fan_in=sum(sizes[:k])) for k, layer in enumerate(found[1:], 1)]
    middle = [_sparse(layer, mean / layer.fan_in, most) for layer in found[1:]]
    if not read:
        full = graph["output_reads"] == "all"
        last = Layer(outputs, sizes[-1])
        middle[-1] = last if full else _sparse(last, width / sizes[-1], width)
    return [found[0], *middle]


def _reached(nodes: int, share: float, outputs: int) -> int:
    """How many nodes of the last hidden level any output reads: the others are left out."""
    return max(1, round(nodes * (1 - (1 - share) ** outputs)))


def _sparse(layer: Layer, share: float, most: float) -> Layer:
    """As `models.sparse` stores it: with a mask, or few weights per node, gathered."""
    return layer if share > 1 / 32 else layer._replace(fan_in=max(1, round(most)))


# -- arithmetic --------------------------------------------------------------------------------------------------------


class Work(NamedTuple):
    """Operations of one kind each: `SPEED`."""

    steps: float = 0.0
    kernel: float = 0.0
    lanczos: float = 0.0
    curvature: float = 0.0

    def plus(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, factor: float) -> Work:
        return Work(*(factor * a for a in self))

    @property
    def seconds(self) -> float:
        return sum(amount / SPEED[kind] for kind, amount in self._asdict().items())


class Sizes(NamedTuple):
    """What the cost of a measurement depends on: operations of a forward pass; numbers that layers read and give, on
    which a kernel depends; examples of each split; outputs and weights."""

    forward: float
    neurons: float
    splits: dict[str, int]
    outputs: int
    weights: int


def sizes(cell: Cell) -> Sizes:
    """Sizes of a cell; raises `NotEstimated` for a plug-in's model or data set."""
    inputs, outputs = data_shape(cell.dataset)
    shape = layers(cell.model, inputs, outputs)
    places = sum(layer.positions * (2 * layer.size * layer.fan_in + ELEMENT * layer.size) for layer in shape)
    sums = sum(layer.positions * (layer.fan_in + layer.size) for layer in shape)
    splits = {split: cell.dataset.get(split, 0) for split in ("validation", "test")}
    splits["train"] = cell.dataset.get("train", 1)
    passes = EXPANSIONS[cell.model.get("expansion")]
    return Sizes(passes * places, passes * sums, splits, outputs, weights(cell.model, inputs, outputs))


def _kernel(s: Sizes, examples: int, steps: int) -> Work:
    """The kernel of some examples, and a Krylov space of so many dimensions."""
    rows = examples * s.outputs
    steps = min(steps, rows)
    return Work(
        steps=3 * s.forward * rows, kernel=2.0 * rows**2 * s.neurons, lanczos=steps * (2.0 * rows**2 + 4 * steps * rows)
    )


def measured(metric: Mapping[str, Any], s: Sizes) -> Work:
    """One evaluation of a metric; raises `NotEstimated` for a cost that is not one of the suite's own."""
    cost = registry.find("metric", metric["name"]).cost
    train = s.splits["train"]
    shown = min(s.splits["test"] or train, metric.get("examples") or train)
    rows, steps = train * s.outputs, metric.get("steps", 0)
    gradient = Work(steps=3 * s.forward * train)
    product = 6 * s.forward
    each = Work(curvature=product * steps * rows)
    together = Work(curvature=product * steps * train)
    split = metric["name"].partition("_")[0]
    costs = {
        "nothing": Work(),
        "one prediction": Work(steps=s.forward * s.splits.get(split, train)),
        "one gradient": gradient,
        "one forward and one backward pass": gradient,
        "one input Jacobian per example": gradient.times(s.outputs),
        "one kernel": _kernel(s, train, 0),
        "one kernel and Lanczos": _kernel(s, train, steps),
        "one kernel and a Krylov space": _kernel(s, train, steps),
        "Hessian-vector products": Work(curvature=product * train * PRODUCTS),
        "Hessian-vector products, few where a record before shows where to begin": Work(
            curvature=product * train * PRODUCTS / 3
        ),
        "Lanczos on Hessian-vector products per example": Work(curvature=product * steps * shown * s.outputs),
        "Lanczos on products with the loss Hessian": together,
        "Lanczos on products with the loss Hessian, and per example": together.plus(each),
        "Lanczos on Hessian-vector products per example, projected descent": each.plus(
            gradient.times(metric.get("descents", 0))
        ),
        "projected ascent from several starts": Work(
            curvature=2 * product * steps * shown * s.outputs * BATCHES * (metric.get("restarts", 0) + 1)
        ),
    }
    if cost not in costs:
        raise NotEstimated(f"metric '{metric['name']}', whose cost is '{cost}'")
    return costs[cost]


def run_work(cell: Cell) -> Work:
    """Operations of one run of a cell; raises `NotEstimated` for what is not the suite's own.

    Any method, a plug-in's too, is taken to compute one gradient per step.
    """
    s = sizes(cell)
    work = _measuring(cell, s, "start").plus(_measuring(cell, s, "end"))
    steps, train = cell.stop["steps"], s.splits["train"]
    if not steps:
        return work
    batch = cell.method.get("batch_size") or train
    step = Work(steps=3 * s.forward * batch + ELEMENT * s.weights)
    if any(m["at"] == "series" and "batch_critical_rate" in _needs(m) for m in cell.metrics):
        step = step.plus(_kernel(s, batch, 48)).plus(Work(steps=3 * s.forward * batch))
    record = _measuring(cell, s, "schedule")
    if batch < train:
        record = record.plus(Work(steps=s.forward * train))
    if getattr(registry.find("method", cell.method["name"]), "resets_rate", False):
        record = record.plus(_kernel(s, train, 32))
    trained = step.times(steps).plus(record.times(steps / cell.record["every"])).times(_share(cell))
    if "critical" in cell.method["learning_rate"]:
        work = work.plus(Work(curvature=6 * s.forward * train * PRODUCTS))
    return work.plus(record).plus(trained.times(_rounds(cell)))


def _measuring(cell: Cell, s: Sizes, when: str) -> Work:
    """All measurements at one time; they share one kernel, and those that differ in name only a Krylov space."""
    works = {}
    for metric in cell.metrics:
        if metric["at"] == when:
            work = measured(metric, s)
            options = {key: value for key, value in metric.items() if key not in ("name", "label")}
            works[repr(options) if work.kernel else metric["label"]] = work
    kernel = max((work.kernel for work in works.values()), default=0.0)
    return functools.reduce(Work.plus, works.values(), Work())._replace(kernel=kernel)


def _needs(metric: Mapping[str, Any]) -> tuple[str, ...]:
    return getattr(registry.find("metric", metric["name"]), "needs", ())


def _share(cell: Cell) -> float:
    ends = cell.stop["train_loss"] is not None or cell.stop["relative_loss"] is not None
    return EARLY if ends or cell.bisect else 1.0


def _rounds(cell: Cell) -> int:
    """How often a run is trained: a bisection tries both ends, and one rate each time it halves the interval."""
    if cell.bisect is None:
        return 1
    low, high = cell.bisect["between"]
    return 2 + max(0, math.ceil(math.log2(high - low) - math.log2(cell.bisect["tolerance"])))


# -- seconds -----------------------------------------------------------------------------------------------------------

KINDS = {"kernel": "kernel", "curvature": "Hessian", "ascent": "ascent"}
"""Words in `MetricEntry.cost` that tell what has to be compiled."""


def compiling(cell: Cell) -> float:
    """Seconds to compile the program of a cell."""
    costs = {registry.find("metric", metric["name"]).cost for metric in cell.metrics}
    return (
        COMPILE["any"]
        + (COMPILE["steps"] * math.sqrt(EXPANSIONS[cell.model.get("expansion")]) if cell.stop["steps"] else 0)
        + sum(COMPILE[kind] for kind, word in KINDS.items() if any(word in cost for cost in costs))
    )


def seconds(program: Program, tier: str = "laptop") -> float:
    """Seconds of one worker for a program and its lanes."""
    cell = program.cell
    steps = cell.stop["steps"] * _share(cell) * _rounds(cell)
    work = run_work(cell).seconds * (2 if cell.precision == "float64" else 1)
    faster = GPU if tier == "paper" else 1.0
    return TRACE + compiling(cell) + program.lanes * (LANE + (STEP * steps + work) / faster)


def programs(task: Task) -> list[Program]:
    """The compiled programs of a task with all its lanes, those that score the methods of an arena included."""
    from ..tasks.cells import build, seeds_of, tune_seeds  # with the schema, which known files do without
    from . import batches

    scoring = len(seeds_of(task.spec, None, 0))
    arena = task.leaderboard
    each = scoring if arena is None else len(tune_seeds(arena, 0))
    lanes = Counter[str]()
    drafts: dict[str, Draft] = {}
    scored: set[str] = set()
    for draft in task.drafts:
        method = draft.sections["method"]
        key = repr(draft.sections | {"method": method | {"learning_rate": list(method["learning_rate"])}})
        drafts.setdefault(key, draft)
        lanes[key] += each
        if arena is not None and method["name"] not in scored:
            scored.add(method["name"])
            lanes[key] += scoring
    found: dict[str, Program] = {}
    for key, draft in drafts.items():
        cell = build(task.id, task.spec, draft, "claim", [])
        name = batches.signature(cell)
        old = found.get(name, Program(cell, 0))
        found[name] = old._replace(lanes=old.lanes + lanes[key])
    return list(found.values())


def reference(cell: Cell) -> Work:
    """Operations of training the reference models of a cell's data set once; none where it asks for none."""
    recipe = cell.dataset.get("reference")
    if not recipe:
        return Work()
    schema = registry.find("dataset", cell.dataset["name"]).schema()
    pool = schema.model_validate({key: value for key, value in cell.dataset.items() if key != "name"}).pool_size
    inputs, outputs = data_shape(cell.dataset)
    shape = _chain([inputs, *[recipe["width"]] * recipe["depth"], outputs])
    forward = sum(2 * layer.size * layer.fan_in + ELEMENT * layer.size for layer in shape)
    taken = min(recipe["steps"], REFERENCE_STEPS)
    return Work(steps=3.0 * forward * pool * taken * recipe["members"] * REFERENCES)


def _reference_seconds(found: Sequence[Program], seeds: int, tier: str) -> float:
    """Of one worker, for all data sets of a task; every worker trains its own, each seed once."""
    cells = {repr(program.cell.dataset): program.cell for program in found if program.cell.dataset.get("reference")}
    faster = GPU if tier == "paper" else 1.0
    return sum(COMPILE["any"] + COMPILE["steps"] + seeds * reference(cell).seconds / faster for cell in cells.values())


def estimate(task: Task) -> float:
    """Seconds of wall time for a task at its tier, alone and from an empty store.

    Raises:
        NotEstimated: a plug-in's model or data set, or a metric whose cost is in words of its own.
    """
    from ..tasks.cells import seeds_of

    found = programs(task)
    each = [seconds(program, task.tier) for program in found]
    workers = 1 if task.tier == "paper" else WORKERS
    references = _reference_seconds(found, len(seeds_of(task.spec, None, 0)), task.tier)
    return START + references + max(max(each, default=0.0), sum(each) / workers)


# -- what `validate` says ----------------------------------------------------------------------------------------------


def estimates(tiers: Mapping[str, Task]) -> dict[str, Any]:
    """Seconds by tier, rounded; or under ``not_estimated`` what of the task has no estimate."""
    try:
        return {tier: float(f"{estimate(task):.2g}") for tier, task in tiers.items()}
    except NotEstimated as why:
        return {"not_estimated": str(why)}


def summary(found: Mapping[str, Any]) -> str:
    """One line on all tiers."""
    if "not_estimated" in found:
        return f"cost is not estimated: {found['not_estimated']}"
    return "estimated cost: " + ", ".join(f"{_of_budget(tier, found[tier])} at {tier}" for tier in found)


def over(found: Mapping[str, Any]) -> list[str]:
    """A line for each tier whose budget is exceeded."""
    known = [(tier, value) for tier, value in found.items() if tier in BUDGET and value > BUDGET[tier]]
    return [f"estimated {_of_budget(tier, value)} at the {tier} tier" for tier, value in known]


def _of_budget(tier: str, value: float) -> str:
    return f"{value:.0f} s of {BUDGET[tier]:g} s"
