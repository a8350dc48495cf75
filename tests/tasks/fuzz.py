"""Task files with mistakes that nobody planned: every file of the suite, mutated by a seeded generator."""

from __future__ import annotations

import copy
import functools
import random
import string
from collections.abc import Callable
from typing import Any

import yaml

from tangentbench.tasks import catalog
from tangentbench.tasks.registry import KINDS

NUMBERS = (
    0, -1, 1, 2, -0.0, 0.5, 1e-300, 1e300, -1e300, 10**9, 10**18, 2**31, 2**63, 10**30, 1000000, 0.1 + 0.2,
)  # fmt: skip
SCALARS = (
    None, True, False, "", " ", "a", "0", "1e3", "off", "~", "largest", "*", "&a", "!!python/object", "é🙂", "\u202e",
    "x" * 300, "<script>", "a: b", "{}", "__class__", "2026-11-29", "12:30",
)  # fmt: skip
LINES = (
    "\t", "\tkey: 1", "? ", "- ", "key", ": ", "<<: *a", "a: &a [*a]", "b: *nowhere", "---", "...", "%YAML 1.1",
    "a: &a {b: 1}\nc: *a", "x: !!binary aGk=", "x: |", "x: >-\n  y", "'", '"', "{", "[", "}", "]", "# comment", "é: 1",
    "1: 2", "null: 3", "[a]: 4", "tiers: {smoke: 1}", "seeds: 8", "x: .inf", "x: 0x10", "x: 010", "x: 1_000",
)  # fmt: skip
PIECES = (b"\xff", b"\xc3", b"\x00", b"\t", b"\r", b"\n", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"*", b"&",
          b"{", b"[", b":", b"-", b"'", b'"', b"#", b"!", b"|", b">", b"%", b"@", b"`", b"0", b"9" * 400)  # fmt: skip
BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{b}: &{b} [{', '.join(['*' + a] * 8)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
)


@functools.cache
def originals() -> tuple[tuple[str, bytes], ...]:
    return tuple((name, path.read_bytes()) for name, path in catalog.catalog().items())


@functools.cache
def words() -> tuple[str, ...]:
    """Every key and component that there is: a mistake is most often the right word in the wrong place."""
    keys = {key for _, raw in originals() for key in _keys(yaml.safe_load(raw))}
    return tuple(sorted(keys | {name for table in KINDS.values() for name in table}))


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {str(key) for key in value} | {key for item in value.values() for key in _keys(item)}
    return {key for item in value for key in _keys(item)} if isinstance(value, list) else set()


def mutant(number: int) -> tuple[str, bytes]:
    """The task whose file was mutated, and the mutated file; the same for the same number."""
    rng = random.Random(number)
    name, raw = rng.choice(originals())
    if rng.random() < 0.7:
        document = yaml.safe_load(raw)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            document = _mutated(document, rng)
        flow = rng.choice((None, None, False, True))
        raw = yaml.dump(document, default_flow_style=flow, sort_keys=False, allow_unicode=rng.random() < 0.5).encode()
    if rng.random() < 0.45:
        for _ in range(rng.choice((1, 1, 2))):
            raw = rng.choice(TEXTUAL)(raw, rng)
    return name, raw


# -- structure ---------------------------------------------------------------------------------------------------------


def _places(value: Any, path: tuple = ()) -> list[tuple]:
    """The path of every value of a document, the document's own first."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in below for place in _places(item, (*path, key)))]


def _holds(value: Any, part: Any) -> bool:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is part or any(_holds(item, part) for item in below)


def _mutated(document: Any, rng: random.Random) -> Any:
    path = rng.choice(_places(document))
    if not path:
        return rng.choice((document, document, [document], "text", None, {}, [], {"title": document}))
    *above, key = path
    parent = document
    for step in above:
        parent = parent[step]
    value = parent[key]
    change = rng.choice(CHANGES)
    if isinstance(parent, dict) and change in ("rename", "move"):
        new = rng.choice((key + "s", key[:-1], key.upper(), rng.choice(words()), rng.choice(words()), "", None, 7))
        items = [(new if k == key and change == "rename" else k, v) for k, v in parent.items()]
        rng.shuffle(items) if change == "move" else None
        parent.clear()
        parent.update(items)
    elif change == "delete":
        del parent[key]
    elif change == "repeat" and isinstance(parent, list):
        parent[key:key] = [value] * rng.choice((1, 2, 500))
    elif change == "add" and isinstance(value, dict):
        value[rng.choice(words())] = rng.choice((_scalar(rng), value.copy()))
    else:
        parent[key] = _other(value, document, rng)
    return document


CHANGES = ("rename", "move", "delete", "repeat", "add", "other", "other", "other", "other")


def _other(value: Any, document: Any, rng: random.Random) -> Any:
    """Another value: of the same type, of another, from elsewhere in the file, or nested."""
    kind = rng.randrange(7)
    if kind == 0:
        return _scalar(rng)
    if kind == 1 and isinstance(value, (int, float)):
        return rng.choice(
            (-value, value * 1e6, value * 10**12, value / 1e6, str(value), [value], float(value), value + 1)
        )
    if kind == 2:
        elsewhere: Any = document
        for step in rng.choice(_places(document)):
            elsewhere = elsewhere[step]
        # yaml writes an alias; what would hold itself is copied
        return copy.deepcopy(elsewhere) if _holds(elsewhere, value) else elsewhere
    if kind == 3:
        return rng.choice(({"log": [1, 1e6, rng.choice((0, 2, 7, 10**9))]}, {"linear": [0, 1, 3]}, {"zip": {}}))
    if kind == 4:
        return rng.choice(([value], {"name": value}, {"value": value}, {rng.choice(words()): value}, [], {}))
    if kind == 5:
        for _ in range(rng.choice((3, 50))):
            value = [value] if rng.random() < 0.5 else {"a": value}
        return value
    return rng.choice(words())


def _scalar(rng: random.Random) -> Any:
    return rng.choice(NUMBERS) if rng.random() < 0.5 else rng.choice(SCALARS)


# -- text --------------------------------------------------------------------------------------------------------------


def _truncated(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)]


def _piece(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + rng.choice(PIECES) + raw[at + rng.choice((0, 1)) :]


def _noise(raw: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(raw) + 1), rng.choice((1, 4, 40))
    return raw[:at] + rng.randbytes(length) + raw[at + length :]


def _printable(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + "".join(rng.choices(string.printable, k=rng.choice((1, 3, 20)))).encode() + raw[at:]


def _line(raw: bytes, rng: random.Random) -> bytes:
    """A line put in, taken out, repeated, or indented otherwise."""
    lines = raw.split(b"\n")
    at = rng.randrange(len(lines))
    change = rng.randrange(5)
    new = [rng.choice(LINES).encode()]
    old = lines[at]
    lines[at : at + 1] = [[*new, old], [], [old, old], [b" " * rng.randrange(1, 9) + old], [old.lstrip()]][change]
    return b"\n".join(lines)


def _bomb(raw: bytes, rng: random.Random) -> bytes:
    return rng.choice((BOMB.encode() + raw, raw + BOMB.encode(), b"[" * rng.choice((10, 40, 5000)) + raw, raw * 3,
                       b"#" * 300_000 + raw, b"", b"\n", b"---\n"))  # fmt: skip


TEXTUAL: tuple[Callable[[bytes, random.Random], bytes], ...] = (_truncated, _piece, _piece, _noise, _printable, _line,
                                                               _line, _bomb)  # fmt: skip
