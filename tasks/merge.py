"""Laying one tree over another: tier overrides over the task, sweep values over a component.

Mappings merge key by key; scalars and lists replace; ``null`` removes the key. Three mappings replace as a whole,
because half of one and half of another means nothing: a component that is given by name, a learning rate, and the
values of a sweep axis. Nodes keep their marks, so a mistake in an override is reported where the override stands.
"""

from __future__ import annotations

from .document import Keys, Mark, Node

__all__ = ["DEFAULT_TIER", "from_plain", "merge", "put", "replaced", "without"]

ADDED = {"critical", "second_critical"}  # the units of a learning rate that may stand together
DEFAULT_TIER = "laptop"  # the tier that a file's own values describe, unless it overrides them


def merge(base: Node | None, over: Node, path: Keys = ()) -> Node:
    """``over`` laid over ``base``, both standing at ``path``."""
    if path == ("claims",) and base is not None and isinstance(base.value, list) and isinstance(over.value, dict):
        return _claims(base, over)
    if base is None or not isinstance(base.value, dict) or not isinstance(over.value, dict) or _whole(over, path):
        return over
    children = dict(base.value)
    for key, (mark, child) in over.value.items():
        if child.value is None:
            children.pop(key, None)
        else:
            old = children.get(key)
            merged = merge(old[1] if old else None, child, (*path, key))
            children[key] = (mark if merged is child or not old else old[0], merged)
    return Node(children, base.mark)


def put(root: Node, path: tuple[str, ...], value: Node, mark: Mark) -> Node:
    """``root`` with ``value`` laid over what stands at ``path``; ``mark`` is the place of keys that are new."""

    def down(node: Node | None, depth: int) -> Node:
        if depth == len(path):
            return merge(node, value, path)
        if depth == 1 and node is not None and not isinstance(node.value, dict):
            return node  # a component that is no mapping stays as it is, to be reported
        children = dict(node.value) if node is not None and isinstance(node.value, dict) else {}
        if depth and path[depth - 1] == "learning_rate":
            children = {key: child for key, child in children.items() if {key, path[depth]} <= ADDED}
        old = children.get(path[depth])
        last = depth == len(path) - 1
        children[path[depth]] = (mark if last or not old else old[0], down(old[1] if old else None, depth + 1))
        return Node(children, node.mark if node is not None else mark)

    return down(root, 0)


def replaced(path: tuple[str, ...]) -> tuple[str, ...]:
    """The path of what `put` may take away when it sets a value at a path: a learning rate is changed as a whole."""
    return path[: path.index("learning_rate") + 1] if "learning_rate" in path else path


def without(node: Node, *keys: str) -> Node:
    """A mapping node without some of its keys."""
    return Node({k: v for k, v in node.value.items() if k not in keys}, node.mark)


def from_plain(value: object, mark: Mark) -> Node:
    """A tree of plain data whose nodes all stand at one place."""
    if isinstance(value, dict):
        return Node({k: (mark, from_plain(v, mark)) for k, v in value.items()}, mark)
    if isinstance(value, (list, tuple)):
        return Node([from_plain(v, mark) for v in value], mark)
    return Node(value, mark)


def _whole(over: Node, path: Keys) -> bool:
    axis = path[:1] == ("sweep",) and (len(path) == 2 and path[1] != "zip" or len(path) == 3)
    return "name" in over.value or path[-1:] == ("learning_rate",) or axis


def _claims(base: Node, over: Node) -> Node:
    """A mapping of claim ids over a list of claims; ``null`` drops a claim. Unknown ids are left for the caller."""
    items = []
    for claim in base.value:
        name = claim.get("id")
        change = over.get(name.value) if name is not None and isinstance(name.value, str) else None
        if change is None:
            items.append(claim)
        elif change.value is not None:
            items.append(merge(claim, change))
    return Node(items, base.mark)
