"""What the options of all components share: strictness, bounded types, and how a mistake between fields is reported.

Strict: no coercion (``512.0`` is not a whole number, ``"yes"`` is not true), no unknown keys, finite numbers only. The
defaults are those of the functions and classes that the options are passed to; the sentence under each field goes into
the JSON Schema. Options are declared beside this module (`dataset_options`, `model_options`, `method_options`,
`metric_options`, `claim_options`); none imports numpy or jax.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Options(BaseModel):
    """What all options share.

    ``batched``: fields that change neither shapes nor structure of the program. ``example``: what `tangentbench check`
    gives beside the defaults, above all the options that have none; that of a base class holds too.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)
    batched: ClassVar[frozenset[str]] = frozenset()
    example: ClassVar[Mapping[str, Any]] = {}


class Part(Options):
    """Options that are nested in others: built at once, so that whoever nests them need not build them again."""

    model_config = ConfigDict(defer_build=False)


def refuse(message: str, field: str | int = "", suggestion: str = "") -> PydanticCustomError:
    """A mistake that involves several fields, or items of a list; it is reported at ``field`` where the file has it."""
    return PydanticCustomError("refused", "{message}", {"message": message, "field": field, "suggestion": suggestion})


Count = Annotated[int, Field(ge=1, le=10_000_000)]
Size = Annotated[int, Field(ge=0, le=10_000_000)]
Dim = Annotated[int, Field(ge=1, le=100_000)]
Positive = Annotated[float, Field(gt=0, le=1e12)]
NonNegative = Annotated[float, Field(ge=0, le=1e12)]
Real = Annotated[float, Field(ge=-1e12, le=1e12)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
