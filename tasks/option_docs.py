"""What the source says of the options of a model: the sentence under each field, and the models that a field nests."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel


@functools.cache
def sentences(model: type[BaseModel]) -> dict[str, str]:
    """The sentence under each field of a model.

    Read from the source, and only here: pydantic's own way (`use_attribute_docstrings`) would cost every start 0.2 s.
    """
    import ast  # needed for help and for mistakes only
    import inspect
    import itertools
    import textwrap

    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if owner is BaseModel or not issubclass(owner, BaseModel):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0].body  # pyright: ignore
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[ast.unparse(field.target)] = str(text.value.value)
    return {name: text for name, text in found.items() if name in model.model_fields}


def mentioned(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models that an annotation mentions, alternatives included."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in mentioned(part)]


def owners(schema: type[BaseModel], loc: Iterable[str | int]) -> list[type[BaseModel]]:
    """The models whose keys are known at a pydantic location."""
    models = [schema]
    for step in loc:
        here = [model for model in models if step in model.model_fields]
        if here:  # else the step is an index or names a branch of a union
            models = [m for owner in here for m in mentioned(owner.model_fields[str(step)].annotation)]
    return models


def keys(schema: type[BaseModel], loc: Iterable[str | int]) -> list[str]:
    """Names of the keys that are known at a pydantic location."""
    return [info.alias or name for model in owners(schema, loc) for name, info in model.model_fields.items()]


def sentence(schema: type[BaseModel], loc: Iterable[str | int], key: str) -> str:
    """What the source says of a key."""
    for model in owners(schema, loc):
        names = {info.alias or name: name for name, info in model.model_fields.items()}
        if key in names and (text := sentences(model).get(names[key])):
            return text.replace("``", "`").rstrip(".")
    return ""
