"""What a metric says, what it must say, and what plausible mistakes would have said."""

from typing import Any, NamedTuple

import numpy as np

from tangentbench.tasks import registry

Number = Any  # a float, or an array of several at once


class Case(NamedTuple):
    """One metric on one planted situation.

    found: what the metric says.
    truth: the same, computed another way.
    wrong: what an implementation with the named mistake would say, one at least.
    tolerance: relative, of `found` against `truth`; a wrong value has to be off by ten times as much.
    """

    found: Number
    truth: Number
    wrong: dict[str, Number]
    tolerance: float = 1e-9


LEAST_REJECTED = 1e-3
"""By how much, relatively, a wrong value has to be off at least, however exact the metric is."""


def off(value: Number, truth: Number) -> float:
    """Largest distance of a value from the truth, in units of the truth, entry by entry."""
    value, truth = np.broadcast_arrays(np.asarray(value, float), np.asarray(truth, float))
    assert np.all(truth != 0) and np.all(np.isfinite(truth)), "a truth of 0 has no relative error: plant another"
    return float(np.max(np.abs(np.where(np.isfinite(value), value, np.inf) / truth - 1)))


def ask(name: str, *situation: Any, **options: Any) -> Any:
    """The metric that the registry means by the name, with options that its schema admits."""
    entry = registry.METRICS[name]
    schema = entry.schema()
    if schema is not None:
        schema(**{key: value for key, value in options.items() if key in schema.model_fields})
    return entry.load()(*situation, **options)
