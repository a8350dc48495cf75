"""A run as data: what is stored of it, checked when it is made, written as JSON and read back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

import numpy as np

SCHEMA = 1
STATUSES = ("ok", "skipped", "timeout", "out_of_memory", "error", "interrupted")
OUTCOMES = ("monotone", "catapult", "dead", "divergent", "unconverged")
NAME = re.compile(r"[0-9A-Za-z]{1,64}")


class Cell(Protocol):
    """The part of a resolved cell that the boards read (`tasks.spec.Cell`)."""

    @property
    def task(self) -> str: ...
    @property
    def coords(self) -> dict[str, Any]: ...
    @property
    def method(self) -> dict[str, Any]: ...
    @property
    def metrics(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def seeds(self) -> Sequence[int]: ...
    @property
    def role(self) -> str: ...


@dataclass(frozen=True)
class Run:
    """The stored outcome of one cell and seed.

    `status` says how execution ended, `outcome` what the dynamics did. A scalar is None where it does not exist, as
    after divergence; NaN and infinity are never stored. `work` counts per-example gradient evaluations, `seconds` has
    `compile` and `run`.
    """

    task: str
    cell: dict[str, Any]
    coords: dict[str, Any]
    digest: str
    code: str
    seed: int
    tier: str
    role: str
    status: str
    outcome: str | None = None
    message: str = ""
    scalars: dict[str, float | None] = field(default_factory=dict)
    certificates: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    work: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"got status {self.status!r}; expected one of {', '.join(STATUSES)}")
        if self.outcome is not None and self.outcome not in OUTCOMES:
            raise ValueError(f"got outcome {self.outcome!r}; expected None or one of {', '.join(OUTCOMES)}")
        for name in (self.digest, self.code):
            if not NAME.fullmatch(name):
                raise ValueError(f"got the digest {name!r}; expected up to 64 letters and digits")


def started(run: Run) -> str:
    """When the command that made the run began, in UTC, as text that sorts; empty where the run does not say."""
    return str(run.provenance.get("started") or "")


_FIELDS = tuple(f.name for f in fields(Run))
_KINDS = {
    **dict.fromkeys(("cell", "coords", "scalars", "certificates", "seconds", "provenance"), dict),
    **dict.fromkeys(("task", "tier", "role", "message"), str),
    **dict.fromkeys(("seed", "steps", "work"), int),
}
Lookup = Callable[[Any, int], Run | None]
"""How boards ask for runs: (cell, seed) -> the run, or None where it is missing."""


def plain(run: Run) -> dict[str, Any]:
    """The run as JSON would have it; raises ValueError, with its name, for a number that is not finite."""
    record = asdict(run)
    for kind in ("scalars", "certificates"):
        record[kind] = {
            name: None if value is None and kind == "scalars" else _number(name, value)
            for name, value in record[kind].items()
        }
    return record


def _number(name: str, value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} is {number}; a value that does not exist is stored as None")
    return number


def numeric(name: str, value: Any) -> np.ndarray:
    """The value as an array of numbers; raises ValueError, with its name, for anything else."""
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise ValueError(f"the array {name} has dtype {array.dtype}; expected numbers")
    return array


def parse(text: bytes, digest: str, code: str, seed: int) -> tuple[Run | None, int | None, str]:
    """The run and the size of its arrays, or None and the reason."""
    try:
        record = _DECODER.decode(text.decode())
        if record.get("schema") != SCHEMA:
            return None, None, f"it has schema {record.get('schema')} and this version reads {SCHEMA}"
        run = Run(**{name: record[name] for name in _FIELDS})
        size = record["arrays_bytes"]
        for name, kind in _KINDS.items():
            if not isinstance(record[name], kind):
                raise TypeError(f"{name} is {type(record[name]).__name__}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return None, None, f"it is damaged ({type(error).__name__}: {error})".replace("\n", " ")
    if (run.digest, run.code, run.seed) != (digest, code, seed):
        return None, None, "it names another cell, code or seed than its folder"
    return run, size, ""


def _refuse(constant: str) -> float:
    raise ValueError(f"it holds {constant}")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def to_json(record: Any) -> bytes:
    """UTF-8 JSON with a line end; NaN and infinity raise ValueError."""
    return (json.dumps(record, allow_nan=False, ensure_ascii=False, indent=1) + "\n").encode()
