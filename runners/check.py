"""What `tangentbench check` prints: the contract of a component, one line for each check."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..tasks import registry
from ..tasks.registry import Entry, UnknownName
from .contracts.promises import PROMISES
from .rows import render
from .text_table import definitions, terminal_width

PASSED, FAILED, NONE = "passed", "failed", "not applicable"
MOST = 400  # characters of what is said: errors of a compiler are long


@dataclass(frozen=True)
class Result:
    """One check: of which component, how it ended, and what there is to say: why it failed, or what it found."""

    kind: str
    name: str
    check: str
    result: str
    says: str


def check(names: Iterable[str] = (), fmt: str = "table") -> int:
    """Run and print every check of the components with some names, or of all; returns 0 if none failed, else 1.

    Raises:
        UnknownName: nothing that can be checked has this name.
    """
    entries = [entry for name in names for entry in _named(name)]
    results = []
    for entry in entries or [entry for kind in PROMISES for entry in registry.table(kind).values()]:
        own = list(results_of(entry))
        results += own
        if fmt == "table":
            _print_lines(entry, own)
    if fmt != "table":
        print(render([asdict(result) for result in results], fmt))
    return int(any(result.result == FAILED for result in results))


def _named(name: str) -> list[Entry]:
    found = [table[name] for kind in PROMISES if name in (table := registry.table(kind))]
    if not found:
        error = UnknownName("component", name, [other for kind in PROMISES for other in registry.table(kind)])
        kinds = [registry.GROUPS[kind].partition(".")[2] for kind in PROMISES]
        error.suggestion = error.suggestion or f"`tangentbench list KIND` shows them: {', '.join(kinds)}"
        raise error
    return found


def results_of(entry: Entry) -> Iterator[Result]:
    """The checks of one component, in the order of `PROMISES`; each is run whatever became of the others.

    Of one whose source Python cannot read there is only the first, which says where.
    """
    if says := _unreadable(entry):
        yield Result(entry.kind, entry.name, next(iter(PROMISES[entry.kind])), FAILED, says)
        return
    subject = _contract(entry).Subject(entry)
    for name in PROMISES[entry.kind]:
        yield result_of(entry, name, subject)


def _unreadable(entry: Entry) -> str:
    """The first mistake in the component's source, if Python cannot read it."""
    try:
        entry.load()
    except SyntaxError as error:
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    except Exception:  # anything else is told by the checks
        return ""
    return ""


def result_of(entry: Entry, name: str, subject: Any = None) -> Result:
    """One check of a component; ``subject`` is what its checks share, made anew by default."""
    from .contracts.common import Failed, NotApplicable, numerics

    contract = _contract(entry)
    try:
        with numerics():
            found = getattr(contract, name.replace(" ", "_"))(subject or contract.Subject(entry))
        ended, says = PASSED, PROMISES[entry.kind][name] + (f" ({found})" if found else "")
    except NotApplicable as reason:
        ended, says = NONE, str(reason)
    except Failed as reason:
        ended, says = FAILED, str(reason)
    except Exception as error:  # a component may fail in any way
        ended, says = FAILED, f"{type(error).__name__}: {error}"
    return Result(entry.kind, entry.name, name, ended, " ".join(says.split())[:MOST])


def _contract(entry: Entry) -> Any:
    return importlib.import_module(f"{__package__}.contracts.{entry.kind}")


def _print_lines(entry: Entry, results: list[Result]) -> None:
    counts = {ended: sum(result.result == ended for result in results) for ended in (PASSED, FAILED, NONE)}
    print(f"{entry.kind} {entry.name}: " + ", ".join(f"{n} {ended}" for ended, n in counts.items() if n))
    for result in results:
        head = f"  {result.result:<14}  {result.check:<15}"
        print("\n".join(definitions({head: result.says}, terminal_width())), flush=True)
