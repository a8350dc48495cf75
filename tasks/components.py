"""Components by name: from ``{name: …, options…}`` to the registry's entry and its validated options."""

from __future__ import annotations

from typing import Any

from . import registry
from .document import Node
from .problem import did_you_mean
from .report import Report, describe


def named(kind: str, node: Node, report: Report) -> Any:
    """The entry that a mapping's `name` names; ``None`` after reporting why there is none."""
    name = node.get("name")
    if name is None:
        report.add(node, f"{kind}: missing key 'name'", did_you_mean("", registry.table(kind)))
        return None
    return lookup(kind, name, report)


def lookup(kind: str, name: Node, report: Report) -> Any:
    """The entry of a name; ``None`` after reporting that it is unknown."""
    if not isinstance(name.value, str):
        report.add(name, f"'name': expected text, got {describe(name)}")
        return None
    try:
        return registry.find(kind, name.value)
    except registry.UnknownName as error:
        report.add(name, f"unknown {kind} '{name.value}'", error.suggestion)
        return None
