"""What is wrong with a task file: one `Problem` per place, all of them in one `TaskFileError`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass

LEAST_PART = 4  # characters from which a word is looked for within others
MOST = 800  # characters of a message: what it quotes from a file may be the file


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake: where it stands (1-based; line 0 means the file as a whole), what it is, what to type instead."""

    file: str
    line: int
    col: int
    message: str
    suggestion: str = ""

    def __post_init__(self) -> None:
        for name in ("message", "suggestion"):
            if len(text := getattr(self, name)) > MOST:
                object.__setattr__(self, name, f"{text[: MOST * 3 // 4]} … {text[-MOST // 4 :]}")

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.col}" if self.line else self.file
        return f"{place}: {self.message}" + (f" ({self.suggestion})" if self.suggestion else "")

    def plain(self) -> dict[str, str | int]:
        """The same as plain data, for JSON."""
        return asdict(self)


class TaskFileError(Exception):
    """A task file cannot be used; ``problems`` holds every mistake found, in file order."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(sorted(set(problems)))
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """``did you mean 'x'?`` for the closest known words, of any case; else for the one or two that contain it; else
    ``otherwise``, else the known words when they are few."""
    known = list(known)
    folded = {other.casefold(): other for other in known}
    word = word.casefold()
    close = difflib.get_close_matches(word, folded, n=2, cutoff=0.6)
    if len(close) > 1 and _closeness(word, close[0]) > _closeness(word, close[1]) + 0.1:
        close = close[:1]
    within = [other for other in folded if len(word) >= LEAST_PART and word in other]
    close = close or (within if len(within) <= 2 else [])
    if close:
        return "did you mean " + " or ".join(f"'{folded[w]}'" for w in close) + "?"
    if otherwise:
        return otherwise
    return f"known: {', '.join(known)}" if 0 < len(known) <= 16 else ""


def counted(number: int, thing: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _closeness(word: str, other: str) -> float:
    return difflib.SequenceMatcher(a=other, b=word).ratio()
