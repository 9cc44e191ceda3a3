"""Quantities as a person reads them: a unit, and no more digits than the measurement carries."""

from __future__ import annotations

import math
from typing import Any

NOT_MEASURED = "not measured"

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_BYTES = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"), (1, "B"))


def is_number(value: object) -> bool:
    """Whether `value` is a finite number (a bool is not)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def low_median_high(told: Any) -> tuple[float, float, float] | None:
    """The three numbers of {low, median, high}, where they are numbers above zero."""
    found: list[Any] = [(told or {}).get(name) for name in ("low", "median", "high")]
    if any(not is_number(value) or value <= 0 for value in found):
        return None
    return found[0], found[1], found[2]


def significant(value: float, digits: int) -> str:
    """Round to `digits` significant digits, without exponent and without dropping whole digits."""
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    return f"{rounded:.{max(decimals, 0)}f}" if decimals > 0 else f"{value:.0f}"


def seconds_unit(seconds: float) -> tuple[float, str]:
    """The (size, name) of the unit that suits a duration."""
    return next(((size, name) for size, name in _SECONDS if seconds >= size), _SECONDS[-1])


def seconds_text(seconds: float | None) -> str:
    """Such as `1.23 s`, `45 ms`, `4.5 ms` or `2 min 5 s`."""
    if not is_number(seconds) or seconds is None:
        return NOT_MEASURED
    if seconds >= 120:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s"
    size, name = seconds_unit(seconds)
    return f"{significant(seconds / size, 3 if name == 's' else 2)} {name}"


def bytes_unit(count: float) -> tuple[float, str]:
    """The (size, name) of the binary unit that suits a number of bytes."""
    return next(((size, name) for size, name in _BYTES if count >= size), _BYTES[-1])


def bytes_text(count: float | None) -> str:
    """Such as `812 MiB` or `1.23 GiB`."""
    if not is_number(count) or count is None:
        return NOT_MEASURED
    size, name = bytes_unit(count)
    return f"{significant(count / size, 3)} {name}"


def memory_text(count: int) -> str:
    """A size of memory, without digits that say nothing: `24 GiB`."""
    return f"{count // 2**30} GiB" if count % 2**30 == 0 else bytes_text(count)


def ratio_text(ratio: float | None) -> str:
    """Such as `1.18×`."""
    if not is_number(ratio) or ratio is None:
        return NOT_MEASURED
    return f"{ratio:.2f}×" if 0.1 <= ratio < 10 else f"{significant(ratio, 2)}×"


def interval_text(low: float | None, high: float | None) -> str:
    """Such as `1.12–1.25`; empty where there is no interval."""
    if not is_number(low) or not is_number(high):
        return ""
    return f"{ratio_text(low)[:-1]}–{ratio_text(high)[:-1]}"


def error_text(error: float | None) -> str:
    """A numerical error with two significant digits, such as `3.1e-3`."""
    if isinstance(error, float) and not math.isfinite(error):
        return "not finite"
    if not is_number(error) or error is None:
        return "–"
    if error == 0:
        return "0"
    mantissa, _, exponent = f"{error:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def count_text(count: int, noun: str) -> str:
    """Such as `1 site` or `1,024 sites`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
