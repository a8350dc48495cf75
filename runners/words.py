"""Numbers in words that people read: three digits, intervals, durations."""

from __future__ import annotations

import math


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits in the notation people read: 0.00123, 12.3, 1230, 1.2e6; `–` for None."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞" if value < 0 else "–"
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    rounded = float(text)
    if not 1e-3 <= abs(rounded) < 1e6:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    if abs(rounded) >= 10**digits:
        return f"{rounded:.0f}"
    places = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(places, 0)}f}"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """`0.123 [0.110, 0.140]`; an end that is None is unbounded, and with both None only the value is shown."""
    if value is None:
        return "–"
    if low is None and high is None:
        return number(value)
    left = "−∞" if low is None else number(low)
    right = "∞" if high is None else number(high)
    return f"{number(value)} [{left}, {right}]"


def seconds(value: float | None) -> str:
    """A duration: 0.12 s, 5.4 s, 3.2 min, 1.5 h."""
    if value is None:
        return "–"
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (math.inf, 3600, "h")):
        if value < limit:
            return f"{number(value / unit, 2)} {name}"
    return "–"
