"""Components by name: from ``{name: …, options…}`` to the registry's entry and its validated options."""

from __future__ import annotations

import math
from typing import Any

import yaml

from . import registry
from .document import Node
from .problem import did_you_mean
from .report import Report, describe


def named(kind: str, node: Node, report: Report) -> Any:
    """The entry that a mapping's `name` names; ``None`` after reporting why there is none."""
    name = node.get("name")
    if name is None:
        report.add(node, f"{kind}: missing key 'name'", _by_key(kind, node) or did_you_mean("", registry.table(kind)))
        return None
    return lookup(kind, name, report)


def _by_key(kind: str, node: Node) -> str:
    """What to write for `{sgd: {batch_size: 8}}`, where the name stands in place of a key."""
    names = [key for key in node.value if key in registry.table(kind)]
    options = node.value[names[0]][1].plain() if len(names) == 1 else names
    if not isinstance(options, dict | None):
        return ""
    whole = {"name": names[0], **(options or {})}
    return f"write {yaml.safe_dump(whole, default_flow_style=True, sort_keys=False, width=math.inf).strip()}"


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
