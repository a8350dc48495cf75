"""What a task file says (`TaskSpec`, after its tier is merged) and what one run is asked to do (`Cell`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .claim_options import OutcomeName, Scalar
from .options import Options, Positive, Real, refuse

SCHEMA = 1  # changes when the meaning of a resolved cell changes
TIERS = ("smoke", "laptop", "paper")

Tier = Literal["smoke", "laptop", "paper"]
LossName = str
Precision = Literal["float32", "float64"]
Id = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$", max_length=80)]
Text = Annotated[str, Field(min_length=1, max_length=2000)]


class Paper(Options):
    """Where the task comes from."""

    arxiv: Annotated[str, Field(pattern=r"^\d{4}\.\d{4,5}$")]
    """arXiv number, in quotes."""
    where: Text | None = None
    """Section, theorem, figure."""
    note: Text | None = None
    """What differs from the paper, and why."""


class Stop(Options):
    """When training ends."""

    steps: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    """Largest number of steps; 0 only measures at initialisation."""
    train_loss: Annotated[float, Field(ge=0)] | None = None
    """End when the training loss is at most this."""
    relative_loss: Annotated[float, Field(gt=0, lt=1)] | None = None
    """End when the training loss is at most this share of its start."""


class Record(Options):
    """The schedule of curves."""

    every: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Steps between two records; by default a hundredth of the steps. In an arena epochs, so that every method is
    looked at after the same work."""


class Limits(Options):
    """What the runs that train side by side may use: on a CPU as many of one program as fill its cache, on an
    accelerator all."""

    seconds: Positive = 600.0
    """Wall-clock seconds from the end of the runs before them to their own, compilation included; runs that reach it
    end with `timeout`, and those not yet begun go on with a clock of their own."""
    memory_gib: Positive = 3.0
    """Memory of their worker process, in GiB; runs that reach it together are tried once more, each alone."""


class Bisect(Options):
    """Search for the learning rate at which the outcome changes; gives the metric `boundary`."""

    along: Literal["method.learning_rate.critical", "method.learning_rate.value"]
    """What is varied."""
    between: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    """A rate on either side of the boundary."""
    tolerance: Positive
    """Width of the last interval."""
    leaves: Annotated[list[OutcomeName], Field(min_length=1, max_length=5)]
    """Outcomes below the boundary; it lies where the outcome leaves them."""

    @model_validator(mode="after")
    def _consistent(self) -> Bisect:
        low, high = self.between
        if not low < high:
            raise refuse(f"between must rise from low to high, got [{low:g}, {high:g}]", "between", "swap the two")
        if self.tolerance >= high - low:
            raise refuse(f"tolerance must be below {high - low:g}, the width of `between`", "tolerance")
        return self


class Reference(Options):
    """A fixed score that others are shown relative to."""

    method: str
    """The method that gave it."""
    score: Real
    """Its median over seeds, frozen in the file."""


class Leaderboard(Options):
    """An arena: every registered method competes under one budget, tuned on validation data."""

    metric: str
    """Label of the metric that ranks."""
    validation_metric: str
    """Label of the metric that tunes; it must be one of the validation set."""
    target: Real
    """Value of `metric` whose first time is reported."""
    reference: Reference
    """What scores are shown relative to."""
    budget: Annotated[int, Field(ge=1, le=10**12)]
    """Per-example gradient evaluations of one run."""
    tune_seeds: Annotated[int, Field(ge=1, le=1000)]
    """Seeds of each grid point; other seeds than those of the scores."""
    methods: Annotated[list[str], Field(min_length=1)] | None = None
    """Only these methods."""
    methods_not: Annotated[list[str], Field(min_length=1)] | None = None
    """All methods but these."""

    @model_validator(mode="after")
    def _consistent(self) -> Leaderboard:
        if self.methods is not None and self.methods_not is not None:
            raise refuse("give methods or methods_not, not both", "methods_not", "remove one")
        return self


class Claim(BaseModel):
    """A statement of the paper; its kind is one further key, whose value are the options of the kind.

    A control has no kind of its own: it has that of the claim it controls, all but the metric if it gives ``metric``,
    and of a contrast all but the cells if it gives ``between``. In a loaded task the axis values in ``where`` and in a
    contrast's ``between`` are those of the tier: `largest` and `smallest` are already replaced.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)

    id: Id
    """Name, unique in the file."""
    says: Text
    """The claim in one sentence."""
    where_in_paper: Text | None = None
    """Section, theorem, figure."""
    where: dict[str, Scalar | list[Scalar]] = {}
    """Sweep coordinates of its cells; `largest` and `smallest` name the ends of a numeric axis."""
    control: str | None = None
    """Id of the claim that must fail here."""
    metric: str | None = None
    """For a control whose one factor is what is measured: a metric of the same unit, instead of the claim's own."""
    between: Annotated[list[dict[str, Scalar]], Field(min_length=2, max_length=2)] | None = None
    """For the control of a contrast: coordinates of the two cells, instead of the claim's own."""
    explanation: Text | None = None
    """Why it fails, if it does."""

    @property
    def kind(self) -> str:
        """The claim's kind; empty for a control."""
        return next(iter(self.model_extra or {}), "")

    @property
    def options(self) -> dict[str, Any]:
        """The options of its kind; empty for a control."""
        return next(iter((self.model_extra or {}).values()), {})


TUNE_SEED = 1_000_000  # arenas tune on the seeds from here on; all others lie below
Seed = Annotated[int, Field(ge=0, lt=TUNE_SEED)]


class TaskSpec(Options):
    """A task file at one tier. Components, metrics, sweep and claims are checked by `cells` and `claims`."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    """One line that says what is asked."""
    paper: Paper | None = None
    """Where it comes from; leave out for a question of the suite's own."""
    version: Annotated[int, Field(ge=1, le=10_000)]
    """Raised whenever the meaning of the task changes; old runs then no longer count."""
    stream: Annotated[int, Field(ge=0, lt=2**32)]
    """Number of the task's random streams; tasks with one number share data and initial weights per seed."""
    dataset: dict[str, Any]
    """``{name: …, options…}``"""
    model: dict[str, Any]
    """``{name: …, options…}``"""
    loss: LossName
    """mse | mse_mean | half_mse | half_sse"""
    method: dict[str, Any] | None = None
    """``{name: …, learning_rate: …, options…}``; absent in an arena, and where `stop.steps` is 0."""
    sweep: dict[str, Any] = {}
    """Axes: path to a list of values, ``{linear: [a, b, n]}`` or ``{log: [a, b, n]}``; `zip` holds several."""
    stop: Stop = Stop.model_construct(steps=0, train_loss=None, relative_loss=None)
    """When training ends."""
    record: Record = Record.model_construct(every=None)
    """How often scheduled metrics are measured."""
    seeds: Annotated[int, Field(ge=1, le=10_000)] | Annotated[list[Seed], Field(min_length=1, max_length=10_000)] = 8
    """Number of seeds, or a list of them; they lie below 1000000, where the seeds start that arenas tune on."""
    precision: Precision = "float32"
    """Floating-point numbers of the whole run."""
    metrics: Annotated[list[str | dict[str, Any]], Field(max_length=100)] = []
    """Names, or ``{name: …, label: …, at: …, options…}``."""
    bisect: Bisect | None = None
    """Search for a phase boundary."""
    claims: Annotated[list[dict[str, Any]], Field(max_length=100)] = []
    """What the task decides."""
    leaderboard: Leaderboard | None = None
    """Opens an arena."""
    limits: Limits = Limits.model_construct(seconds=600.0, memory_gib=3.0)
    """What runs may use."""

    @model_validator(mode="after")
    def _seeds_differ(self) -> TaskSpec:
        if isinstance(self.seeds, list) and len(set(self.seeds)) < len(self.seeds):
            again = next(seed for seed in self.seeds if self.seeds.count(seed) > 1)
            raise refuse(f"seed {again} is given twice", "seeds")
        return self


class Cell(BaseModel):
    """One task at one point of its sweep, every default filled in: all that a worker needs to run it.

    ``coords`` (axis -> value or label), ``role``, ``seeds`` and ``limits`` say which runs are wanted and why, ``task``
    whose they are; none of them is part of `digest`, which names what a run means.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    task: str
    version: int
    stream: int
    dataset: dict[str, Any]
    model: dict[str, Any]
    loss: str
    method: dict[str, Any]
    stop: dict[str, Any]
    record: dict[str, Any]
    precision: str
    metrics: list[dict[str, Any]]
    bisect: dict[str, Any] | None = None
    coords: dict[str, Any] = {}
    role: Literal["claim", "tune", "score"] = "claim"
    seeds: list[int] = []
    limits: dict[str, Any] = {}

    @property
    def digest(self) -> str:
        """24 hexadecimal digits of what a run of this cell means; the order of keys and of metrics means nothing.

        A plug-in's component means what its sources say, so that an edit makes runs of the cells that use it count no
        more, and of no other.
        """
        from . import plug_ins

        return digest_of(vars(self), plug_ins.sources(self))


MEANING = (
    "version", "stream", "dataset", "model", "loss", "method", "stop", "record", "precision", "metrics", "bisect",
)  # fmt: skip


def meaning(cell: Mapping[str, Any]) -> str:
    """The fields of a cell that say what its runs mean, as JSON in a fixed order."""
    fields = {name: cell[name] for name in MEANING}
    fields["metrics"] = sorted(cell["metrics"], key=lambda metric: metric["label"])
    return json.dumps([SCHEMA, fields], sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(cell: Mapping[str, Any], sources: Sequence[str] = ()) -> str:
    """`Cell.digest` of these fields, where its components are from plug-ins with these sources, or from none."""
    import hashlib  # 10 ms that reading tasks does not need

    return hashlib.sha256("\n".join([meaning(cell), *sources]).encode()).hexdigest()[:24]


def digest(cell: Cell) -> str:
    """See `Cell.digest`."""
    return cell.digest
