"""Compiled training of a batch of lanes: chunks of steps under `scan`, lanes under `vmap`, groups of lanes in turn.

The number of lanes that run side by side (the batch width) is chosen from the working set: a few MiB of weights and
activations fill the cache of a CPU, whereas an accelerator takes all lanes at once. The host sees data only between
chunks, where it reports progress and skips a group whose lanes have all stopped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..tasks.entry import BATCH_CURVES
from ..tasks.metrics import Series, rules
from ..tasks.spec import Cell
from . import batches, methods
from .build import Carry, Lane, Program, dataset
from .compiled import ONCE, TRAINING, Compiled

WORKING_SET = 5 * 2**20  # bytes of lanes that run side by side on a CPU; see benchmarks/sweep.py
CHUNK_FLOPS = 2e9  # work between two looks of the host: about a tenth of a second on two cores
LARGE = 100_000  # weights from which a measurement per seed takes longer than compiling it well
CHUNKS = 8  # at least so many looks, so that a group that has stopped early is noticed
Progress = Callable[[dict[str, Any]], None]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one lane gave: the fields of a stored run that training decides, and its arrays.

    ``data`` is the content hash of its data set; ``failure`` says why the lane could not be trained, if it could not.
    """

    cell: Cell
    seed: int
    outcome: str | None
    scalars: dict[str, float | None]
    certificates: dict[str, float]
    steps: int
    work: int
    seconds: dict[str, float]
    arrays: dict[str, np.ndarray]
    data: str = ""
    failure: str = ""


@dataclasses.dataclass
class _Trained:
    """Curves and final state of one lane of a group."""

    params: Any
    steps: int
    reached: bool
    loss: np.ndarray
    loss_steps: np.ndarray
    curves: dict[str, np.ndarray]
    record_steps: np.ndarray
    per_step: dict[str, np.ndarray]
    rates: np.ndarray | None


def _tree_bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype"))


def lane_width(program: Program, lane: Lane, lanes: int, *, working_set: int = WORKING_SET) -> int:
    """How many lanes run side by side: as many as fit the working set, spread evenly over the groups and devices."""
    devices = jax.local_device_count()
    share = -(-lanes // devices)  # of one device
    if jax.default_backend() != "cpu":
        return devices * share
    rows = sum(leaf.shape[0] for leaf in jax.tree.leaves(lane.origin) if leaf.ndim == 2)
    activations = 3 * program.per_step * rows * program.dtype.itemsize
    size = 3 * _tree_bytes(lane.origin) + _tree_bytes(lane.frozen) + activations
    fit = max(1, min(share, working_set // max(size, 1)))
    return devices * -(-share // -(-share // fit))


def chunk_blocks(program: Program, lane: Lane, width: int) -> int:
    """Blocks of `record.every` steps per compiled call."""
    weights = sum(leaf.size for leaf in jax.tree.leaves(lane.origin))
    per_step = 6.0 * weights * program.per_step * width
    total = -(-program.steps // program.every)
    wanted = max(1, min(-(-total // CHUNKS), int(CHUNK_FLOPS / per_step) // program.every))
    return -(-total // -(-total // wanted))


def _effort(lane: Lane) -> int:
    """The compiler's effort for what is measured once per seed."""
    weights = sum(leaf.size for leaf in jax.tree.leaves(lane.origin))
    return TRAINING if weights >= LARGE else ONCE


LANES = "lanes"


def _mesh() -> jax.sharding.Mesh:
    return jax.sharding.Mesh(np.asarray(jax.local_devices()), (LANES,))


def _placed(tree: Any) -> Any:
    """Arrays whose first axis counts lanes, each device's share of them on it; as they are on a single device."""
    if jax.local_device_count() == 1:
        return tree
    return jax.device_put(tree, jax.sharding.NamedSharding(_mesh(), jax.sharding.PartitionSpec(LANES)))


def _on_all_devices(chunk: Callable[..., Any]) -> Callable[..., Any]:
    """`(lanes, carry, start)` ↦ what a chunk gives, each device its own lanes: no device waits for another."""
    if jax.local_device_count() == 1:
        return chunk
    each, all_ = jax.sharding.PartitionSpec(LANES), jax.sharding.PartitionSpec()
    return jax.shard_map(chunk, mesh=_mesh(), in_specs=(each, each, all_), out_specs=each, check_vma=False)


def _stack(lanes: Sequence[Lane]) -> Lane:
    # `base_*` serve only the measurements at initialisation, which are made lane by lane
    slim = [lane._replace(base_params=None, base_frozen=None) for lane in lanes]
    # stacked by numpy: one transfer per leaf instead of one dispatch per lane and leaf
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack([np.asarray(leaf) for leaf in leaves])), *slim)


class Trainer:
    """One batch's program with the functions compiled for it and what was measured at initialisation."""

    def __init__(self, cell: Cell, seed: int, compiled: Compiled | None = None):
        self.program = Program(cell, dataset(cell, seed))
        self.compiled = Compiled() if compiled is None else compiled
        self._begun: dict[tuple[str, int], tuple[Lane, dict[str, Any]]] = {}
        units = " ".join(cell.method.get("learning_rate", {}))
        metrics = batches.canonical([m for m in cell.metrics if m["at"] != "series"])
        needs = batches.canonical(sorted(self.program.needs))
        self._finish_key = f"finish{self.program.key(cell)}{metrics}{needs}"
        self._begin_key = f"begin{self.program.key(cell)}{metrics}{needs}{units}{self.program.steps > 0}"

    def begin(self, cell: Cell, seed: int) -> tuple[Lane, dict[str, Any]]:
        """A lane without its rate, and what was measured at initialisation; shared by all rates of the seed."""
        key = (batches.canonical([cell.dataset, cell.model, cell.stream]), seed)
        if key not in self._begun:
            lane = jax.tree.map(jnp.asarray, self.program.lane(cell, seed, self.compiled))
            began = self.compiled(self._begin_key, lambda: jax.jit(self.program.begin), lane, effort=_effort(lane))
            self._begun[key] = (lane, jax.device_get(began))
        return self._begun[key]

    def train(self, lanes: Sequence[Lane], width: int, report: Callable[[float], None]) -> list[_Trained]:
        """Trains one group; padded to ``width`` with stopped lanes, so that all groups share a program."""
        program, real = self.program, len(lanes)
        padded = list(lanes) + [lanes[-1]] * (width - real)
        stacked = _placed(_stack(padded))
        name = batches.program_key(program.cell)
        carry: Carry = self.compiled("carry" + name, lambda: jax.jit(jax.vmap(program.initial_carry)), stacked)
        carry = carry._replace(  # fresh buffers: the chunk donates its carry, and the lane's origin must outlive it
            params=jax.tree.map(lambda a: jnp.array(a, copy=True), carry.params),
            stopped=jnp.arange(width) >= real,
        )
        carry = _placed(carry)
        blocks = chunk_blocks(program, lanes[0], width)
        pieces: list[dict[str, Any]] = []

        def make() -> Any:
            mapped = jax.vmap(lambda lane, c, t: program.chunk(lane, c, t, blocks), in_axes=(0, 0, None))
            return jax.jit(_on_all_devices(mapped), donate_argnums=1)

        for start in range(0, program.steps, blocks * program.every):
            carry, out = self.compiled(
                f"chunk{blocks}" + name, make, stacked, carry, jnp.asarray(start, jnp.int32), effort=TRAINING
            )
            pieces.append(jax.device_get(out))
            report(min(1.0, (start + blocks * program.every) / program.steps))
            if bool(np.all(carry.stopped)):
                break
        flags, params = jax.device_get(((carry.step, carry.reached), carry.params))
        return [self._trained(i, jax.tree.map(lambda a, i=i: a[i], params), flags, pieces) for i in range(real)]

    def _trained(self, i: int, params: Any, flags: Any, pieces: list[dict[str, Any]]) -> _Trained:
        """Cuts the curves of lane ``i`` where it stopped; the state after the last step is added by `finish`."""
        every, steps = self.program.every, int(flags[0][i])
        if not pieces:
            empty = np.zeros(0)
            return _Trained(params, 0, False, empty, empty.astype(int), {}, empty.astype(int), {}, None)
        joined = jax.tree.map(lambda *parts: np.concatenate([part[i] for part in parts]), *pieces)
        records = np.arange(0, steps, every)
        per_step = {k: joined[k].reshape(-1)[:steps] for k in ("loss", *sorted(BATCH_CURVES)) if k in joined}
        if "block_loss" in joined:
            loss, loss_steps = joined["block_loss"][: records.size], records
        else:
            loss, loss_steps = per_step.pop("loss"), np.arange(steps)
        curves = {label: curve[: records.size] for label, curve in joined["scheduled"].items()}
        rates = joined["rate"][: records.size] if "rate" in joined else None
        return _Trained(params, steps, bool(flags[1][i]), loss, loss_steps, curves, records, per_step, rates)

    def finish(self, lane: Lane, trained: _Trained) -> dict[str, Any]:
        """Measures the final weights and appends them to the curves."""
        lane = lane._replace(learning_rate=None, options={})  # so that all methods share the function
        measured = (lane, trained.params)
        end = self.compiled(self._finish_key, lambda: jax.jit(self.program.finish), *measured, effort=_effort(lane))
        end = jax.device_get(end)
        trained.loss = np.append(trained.loss, end["loss"])
        trained.reached = trained.reached or self._at_target(trained.loss)
        trained.loss_steps = np.append(trained.loss_steps, trained.steps)
        trained.record_steps = np.append(trained.record_steps, trained.steps)
        trained.curves = {
            label: np.append(trained.curves.get(label, np.zeros(0)), value)
            for label, (value, *_) in end["scheduled"].items()
        }
        return end

    def _at_target(self, loss: np.ndarray) -> bool:
        """Whether the last loss stops the run; training looks before each step, and never after the last."""
        stop = self.program.cell.stop
        share = stop["relative_loss"]
        targets = [stop["train_loss"], None if share is None else share * loss[0]]
        return any(target is not None and loss[-1] <= target for target in targets)


def _number(value: Any) -> float | None:
    """A finite float, else None: a missing number is explained by the outcome, never by a NaN."""
    value = None if value is None else float(value)
    return value if value is not None and np.isfinite(value) else None


UNITS = ("critical", "second_critical")  # of a rate: 2 over the largest, and over the second eigenvalue at the start
REDUCE = {"last": lambda c: c[-1], "max": np.max, "min": np.min}


def _outcome_of(lane: Lane, began: dict[str, Any], trained: _Trained, end: dict[str, Any]) -> rules.Outcome:
    return rules.classify_outcome(
        trained.loss,
        converged=trained.reached,
        divergence_limit=float(lane.divergence),
        trace_ratio=float(end["trace"]) / float(began["trace"]) if float(began["trace"]) else 1.0,
        mean_y2=float(lane.scale),
    )


def _extra_work(program: Program, cell: Cell, steps: int) -> np.ndarray:
    """Per-example gradient evaluations beside those of the steps, at the step where they are spent [steps]."""
    extra = np.zeros(steps)
    if program.method is not None:
        extra[list(program.method.extra_evaluations(cell.method, steps))] = program.n
    return extra


def _work(program: Program, cell: Cell, steps: int) -> int:
    """Per-example gradient evaluations of a run: batch size × steps, and those beside them."""
    return steps * program.per_step + int(_extra_work(program, cell, steps).sum())


def _measure(
    program: Program,
    member: tuple[Cell, int],
    lane: Lane,
    began: dict[str, Any],
    trained: _Trained | None = None,
    end: dict[str, Any] | None = None,
    bracket: tuple[float, float] | None = None,
) -> tuple[str | None, dict[str, float | None], dict[str, float], dict[str, np.ndarray]]:
    """All scalars of a lane with their certificates, its outcome and the arrays to store."""
    scalars: dict[str, float | None] = {}
    certificates: dict[str, float] = {}

    def put(label: str, value: Any, *certificate: Any) -> None:
        scalars[label] = _number(value)
        for kind, number in zip(("residual", "scale"), certificate, strict=False):
            if _number(number) is not None:
                certificates[f"{label}.{kind}"] = float(number)

    for label, parts in began["metrics"].items():
        put(label, *parts)
    if "hessian_top" in began:
        tops, residuals = began["hessian_top"]
        share = _number(np.max(residuals / tops))  # the worse of two, which bounds that of a sum of rates
        if share is not None:
            certificates["learning_rate.critical.residual"] = share
    if trained is None or end is None:
        return None, scalars, certificates, {}
    initial = {label: value for label, value in scalars.items() if value is not None}
    outcome = _outcome_of(lane, began, trained, end)
    for label, parts in end["metrics"].items():
        put(label, *parts)
    for label, entry, _ in program.scheduled:
        curve = trained.curves[label]
        put(label, REDUCE[entry.reduce](curve), *end["scheduled"][label][1:])
    series = Series(
        loss=trained.loss,
        steps=trained.loss_steps,
        curves=trained.curves,
        record_steps=trained.record_steps,
        learning_rate=_rates(program, lane, trained),
        work_per_step=program.per_step,
        extra_work=_extra_work(program, member[0], trained.steps),
        n=program.n,
        outcome=outcome,
        converged=trained.reached,
        initial=initial,
        final={label: value for label, value in scalars.items() if value is not None},
        batch=trained.per_step,
        info=_info(program, *member),
        bracket=bracket,
    )
    for label, entry, options in program.series:
        put(label, entry.load()(series, **options))
        if entry.name == "boundary" and bracket is not None:
            certificates[f"{label}.half_width"] = (bracket[1] - bracket[0]) / 2
    arrays = {"loss": trained.loss, "loss_steps": trained.loss_steps, "record_steps": trained.record_steps}
    return outcome, scalars, certificates, arrays | trained.curves | trained.per_step


def _rates(program: Program, lane: Lane, trained: _Trained) -> np.ndarray:
    """The learning rate of every step, schedule and resets included."""
    steps = np.arange(trained.steps)
    if trained.rates is not None:
        return np.repeat(trained.rates, program.every)[: trained.steps]
    factor = methods.schedule(program.cell.method.get("schedule"), program.steps)
    scale = (
        np.ones(trained.steps) if factor is None else np.asarray(jax.vmap(factor)(jnp.asarray(steps, program.dtype)))
    )
    return float(lane.learning_rate) * scale


def _info(program: Program, cell: Cell, seed: int) -> dict[str, float]:
    """What a closed form needs to know about the first example and the model; see `Series.info`."""
    data = dataset(cell, seed)
    width = cell.model.get("width", 1)
    return {
        "x_norm2": float(np.sum(np.square(data.train.x[0]))),
        "dim": float(data.in_size),
        "width": float(max(width) if isinstance(width, list) else width),
        "target": float(data.train.y[0, 0]),
        "per_kernel": float(program.loss.per_kernel(1, 1)),
    }


def _rate(cell: Cell, began: dict[str, Any]) -> float:
    """The learning rate in absolute units: see `CriticalRate`."""
    rate = cell.method["learning_rate"]
    if "value" in rate:
        return float(rate["value"])
    multiples = (rate[unit] for unit in UNITS if unit in rate)
    return sum(float(c) * 2.0 / float(top) for c, top in zip(multiples, began["hessian_top"][0], strict=True))


def _problem(cell: Cell, began: dict[str, Any]) -> str:
    """Why a lane has no learning rate, if it has none."""
    if "critical" not in cell.method["learning_rate"]:
        return ""
    for unit, which, top in zip(UNITS, ("", " second"), began["hessian_top"][0], strict=False):
        if not top > 0:
            return (
                f"the loss Hessian at initialisation has no{which} positive eigenvalue ({top:.3g}), hence no "
                f"{unit.replace('_', ' ')} rate"
            )
    return ""


def _rated(program: Program, cell: Cell, lane: Lane, began: dict[str, Any]) -> Lane:
    return program.rated(cell, lane, _rate(cell, began), began.get("kernel0"))


@contextlib.contextmanager
def numerics(precision: str) -> Iterator[None]:
    """The declared precision: 64-bit types where it says so, and matrix products that are never rounded to TF32."""
    with jax.enable_x64(precision == "float64"), jax.default_matmul_precision("highest"):
        yield


def run_batch(
    trainer: Trainer, lanes: Sequence[tuple[Cell, int]], report: Progress, *, working_set: int = WORKING_SET
) -> Iterator[Outcome]:
    """Runs lanes of one signature and yields each as its group finishes.

    ``report`` gets ``{"begun": lanes}`` before those of a group, and ``{"done": fraction}`` between chunks.
    """
    program = trainer.program
    if program.steps == 0:
        for k, member in enumerate(lanes):
            before, clock = trainer.compiled.seconds, time.perf_counter()
            report({"begun": [member]})
            lane, began = trainer.begin(*member)
            spent, compiled = time.perf_counter() - clock, trainer.compiled.seconds - before
            report({"done": (k + 1) / len(lanes)})
            measured = _measure(program, member, lane, began)
            yield _outcome(program, member, 0, measured, {"compile": compiled, "run": spent - compiled})
        return
    first, _ = trainer.begin(*lanes[0])
    width = lane_width(program, first, len(lanes), working_set=working_set)
    for low in range(0, len(lanes), width):
        members = []
        report({"begun": lanes[low : low + width]})
        for member in lanes[low : low + width]:
            problem = _problem(member[0], trainer.begin(*member)[1])
            if problem:
                yield Outcome(*member, None, {}, {}, 0, 0, {}, {}, failure=problem)
            else:
                members.append(member)
        if not members:
            continue
        before, clock = trainer.compiled.seconds, time.perf_counter()

        def note(fraction: float, low: int = low, count: int = len(members)) -> None:
            report({"done": (low + fraction * count) / len(lanes)})

        results = list((_train_group if program.cell.bisect is None else _bisect_group)(trainer, members, width, note))
        compiled = trainer.compiled.seconds - before
        seconds = {
            "compile": compiled / len(members),
            "run": (time.perf_counter() - clock - compiled) / len(members),
        }
        for member, (steps, measured) in zip(members, results, strict=True):
            yield _outcome(program, member, steps, measured, seconds)


def _outcome(
    program: Program, member: tuple[Cell, int], steps: int, measured: Any, seconds: dict[str, float]
) -> Outcome:
    cell, seed = member
    outcome, scalars, certificates, arrays = measured
    work = _work(program, cell, steps)
    data = dataset(cell, seed).content_hash()
    return Outcome(cell, seed, outcome, scalars, certificates, steps, work, dict(seconds), arrays, data)


def _train_group(
    trainer: Trainer, members: Sequence[tuple[Cell, int]], width: int, note: Callable[[float], None]
) -> Iterator[tuple[int, Any]]:
    """Trains the lanes of one group at their own rates."""
    begun = [trainer.begin(*member) for member in members]
    rated = [_rated(trainer.program, cell, *b) for (cell, _), b in zip(members, begun, strict=True)]
    for member, lane, (_, began), t in zip(members, rated, begun, trainer.train(rated, width, note), strict=True):
        end = trainer.finish(lane, t)
        yield t.steps, _measure(trainer.program, member, lane, began, t, end)


def _bisect_group(
    trainer: Trainer, members: Sequence[tuple[Cell, int]], width: int, note: Callable[[float], None]
) -> Iterator[tuple[int, Any]]:
    """Finds, per lane, the rate at which the outcome first leaves a set, by bisection from the same initial weights.

    All lanes take the same number of rounds in one compiled program. A lane whose ends do not bracket a change gets no
    bracket, and no boundary.
    """
    program, spec = trainer.program, trainer.program.cell.bisect
    assert spec is not None
    begun = [trainer.begin(*member) for member in members]
    low, high = (np.full(len(members), float(end)) for end in spec["between"])
    rounds = max(0, int(np.ceil(np.log2((high[0] - low[0]) / spec["tolerance"]))))
    kind = spec["along"].rsplit(".", 1)[-1]

    def attempt(values: np.ndarray, k: int) -> tuple[np.ndarray, list[Any]]:
        rated = []
        for (cell, _), b, value in zip(members, begun, values, strict=True):
            method = {**cell.method, "learning_rate": {**cell.method["learning_rate"], kind: float(value)}}
            rated.append(_rated(program, cell.model_copy(update={"method": method}), *b))
        trained = trainer.train(rated, width, lambda fraction: note((k + fraction) / (rounds + 2)))
        ends = [trainer.finish(lane, t) for lane, t in zip(rated, trained, strict=True)]
        outcomes = [
            _outcome_of(lane, began, t, end)
            for lane, (_, began), t, end in zip(rated, begun, trained, ends, strict=True)
        ]
        return np.asarray([o not in spec["leaves"] for o in outcomes]), list(zip(rated, trained, ends, strict=True))

    left_low, _ = attempt(low, 0)
    left_high, last = attempt(high, 1)
    bracketed = ~left_low & left_high
    for k in range(rounds):
        middle = (low + high) / 2
        left, last = attempt(middle, k + 2)
        low, high = np.where(left, low, middle), np.where(left, middle, high)
    for i, (member, (_, began), (lane, t, end)) in enumerate(zip(members, begun, last, strict=True)):
        bracket = (float(low[i]), float(high[i])) if bracketed[i] else None
        yield t.steps, _measure(program, member, lane, began, t, end, bracket)
