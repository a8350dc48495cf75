"""What the contracts share: how a check ends, options to try a component with, and comparison of numbers."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from ...tasks.entry import Entry, MetricEntry
from ...tasks.option_docs import sentences
from ...tasks.options import Options
from ...tasks.problem import counted

RUNNER_TAKES = {
    "dataset": set(),
    "model": {"expansion", "truncate"},
    "method": {"learning_rate", "schedule", "batch_size"},
    "metric": set(),
}
"""Options that the runner uses itself, and does not pass on to the component."""
DIFFERENCE = 1e-6  # what central differences in float64 leave, relative to the largest number compared
ROUNDING = 1e-10  # what another order of sums leaves in float64


class Failed(Exception):
    """The component does not keep what is checked; the message says how."""


class NotApplicable(Exception):
    """The component declares nothing that this check could look at; the message says what."""


@contextlib.contextmanager
def numerics() -> Iterator[None]:
    """float64, and no effort of the compiler: these programs run once, on tiny arrays."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        with jax.enable_x64(True), jax.default_matmul_precision("highest"):
            yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def need(condition: Any, message: str) -> None:
    """Raises `Failed` unless the condition holds."""
    if not condition:
        raise Failed(message)


def need_close(found: Any, expected: Any, what: str, tolerance: float = ROUNDING) -> None:
    """Raises `Failed` unless two arrays agree up to a share of the largest number in them."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    need(found.shape == expected.shape, f"{what}: shape {found.shape} against {expected.shape}")
    size = float(np.max(np.abs(expected), initial=0.0))
    worst = float(np.max(np.abs(found - expected), initial=0.0))
    need(worst <= tolerance * max(size, 1e-300), f"{what}: differs by {worst:.3g} where numbers are {size:.3g}")


def example(entry: Entry) -> dict[str, Any]:
    """Every option of a component, those without a default from `Options.example`; raises `Failed` without them."""
    return validated(entry, {}).model_dump(mode="json")


def validated(entry: Entry, changes: dict[str, Any]) -> Any:
    """The model of a component's options, with the example's values and some others."""
    schema = entry.schema() or Options
    given: dict[str, Any] = {}
    for owner in reversed(schema.__mro__):
        given |= owner.__dict__.get("example", {})
    try:
        return schema(**given | changes)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(map(str, first["loc"]))
        hint = f"give `{schema.__name__}.example` a value for it" if first["type"] == "missing" else first["msg"]
        raise Failed(f"option '{option}': {hint}") from None


def passed_on(entry: Entry, options: dict[str, Any]) -> dict[str, Any]:
    """The options that are keywords of the component."""
    return {name: value for name, value in options.items() if name not in RUNNER_TAKES[entry.kind]}


def entry_is_complete(entry: Entry) -> None:
    """What all kinds declare; `Failed` names what is missing."""
    for name in ("name", "summary", "source"):
        need(getattr(entry, name), f"the entry has no {name}")
    need(not entry.summary.endswith("."), "the summary is one line without a full stop")
    if isinstance(entry, MetricEntry):
        for name in ("unit", "definition", "cost", "at"):
            need(getattr(entry, name), f"the entry has no {name}")
        need(
            entry.direction in ("lower", "higher", "none"), f"direction is lower, higher or none; got {entry.direction}"
        )
        times = {"start", "end", "schedule", "series"}
        need(set(entry.at) <= times, f"at holds start, end, schedule or series; got {', '.join(entry.at)}")
        need("series" not in entry.at or len(entry.at) == 1, "a metric of the whole run (series) has no other time")
        need(entry.reduce in ("last", "max", "min"), f"reduce is last, max or min; got {entry.reduce}")
    need(callable(entry.load()) or entry.kind == "loss", f"{entry.build} is not callable")


def options_are_documented(entry: Entry) -> str | None:
    """Options against the keywords of the component, the example against the options."""
    example(entry)
    schema = entry.schema() or Options
    for name in schema.model_fields:
        need(sentences(schema).get(name), f"option '{name}' has no sentence: write a string under the field")
    keywords = {
        name: parameter.default
        for name, parameter in inspect.signature(entry.load()).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name != "key"
    }
    defaults = {name: info.get_default(call_default_factory=True) for name, info in schema.model_fields.items()}
    options = passed_on(entry, defaults)
    for name in options.keys() ^ keywords.keys():
        have, lack = ("options", "component") if name in options else ("component", "options")
        raise Failed(f"'{name}' is a keyword-only argument or an option of the {have}, and not of the {lack}")
    for name, default in options.items():
        given = inspect.Parameter.empty if default is PydanticUndefined else default
        same = _plain(keywords[name]) == _plain(given) or keywords[name] is None  # None: the component's own default
        need(same, f"'{name}' is {given!r} by default in the options and {keywords[name]!r} in the component")
    return counted(len(schema.model_fields), "option") if schema.model_fields else "no options"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
