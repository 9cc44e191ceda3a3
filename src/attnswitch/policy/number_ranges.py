"""Numbers in conditions: `3`, `0-3`, `"<8.0"`, `">=16,<4096"`, `[0-3, 8]`.

Comparisons separated by commas must all hold; of numbers and ranges separated by commas, and of the
items of a list, one must. What is read is kept as disjoint intervals, so that two conditions can be
compared, and one rule be found to swallow another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# Both ends belong to an interval. Lengths and layers are whole numbers; a compute capability
# (8, 6) counts as 806, so that neighbours are whole numbers too.
Interval = tuple[int, int]
LEAST, MOST = 0, 2**62
# Stands for "there is none", as the layer of a pooling head: no condition on a number allows it.
NONE = -1

_TERM = re.compile(r"^(<=|>=|<|>|!=|==|=)?\s*(\d+(?:\.\d+)?)(?:\s*-\s*(\d+(?:\.\d+)?))?$")


@dataclass(frozen=True)
class Numbers:
    """A set of whole numbers as sorted, disjoint intervals."""

    intervals: tuple[Interval, ...]

    def __contains__(self, value: int) -> bool:
        for low, high in self.intervals:  # noqa: SIM110  (a generator would cost twice as much)
            if low <= value <= high:
                return True
        return False

    def __and__(self, other: Numbers) -> Numbers:
        return Numbers(tuple(sorted(
            (max(a, c), min(b, d))
            for a, b in self.intervals for c, d in other.intervals if max(a, c) <= min(b, d)
        )))  # fmt: skip

    def __sub__(self, other: Numbers) -> Numbers:
        return self & other.complement()

    def __bool__(self) -> bool:
        return bool(self.intervals)

    def complement(self) -> Numbers:
        """Every other number from `NONE` to `MOST`."""
        gaps, start = [], NONE
        for low, high in self.intervals:
            if start < low:
                gaps.append((start, low - 1))
            start = high + 1
        if start <= MOST:
            gaps.append((start, MOST))
        return Numbers(tuple(gaps))


def whole(low: int, high: int = MOST) -> Numbers:
    """The numbers from `low` to `high`."""
    return Numbers(((low, high),))


EVERY_NUMBER = whole(NONE)


def read_numbers(value: Any, number: Any = int) -> Numbers:
    """Read what a condition on a number says.

    `number` turns a numeral into a whole number: `int`, or `capability_number`.

    Raises:
        ValueError: it says no number; the message says what would.
    """
    items = value if isinstance(value, (list, tuple)) else [value]
    if not items:
        raise ValueError("an empty list matches nothing")
    return _union(interval for item in items for interval in _item(item, number).intervals)


def capability_number(numeral: str) -> int:
    """A compute capability as a whole number: "8.6" is 806."""
    major, _, minor = numeral.partition(".")
    return int(major) * 100 + int(minor or 0)


def _item(value: Any, number: Any) -> Numbers:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is no number")
    terms = [term.strip() for term in str(value).split(",")]
    parsed = [_term(term, number) for term in terms]
    if all(compared for compared, _ in parsed):
        found = whole(LEAST)
        for _, numbers in parsed:
            found = found & numbers
        if not found:
            raise ValueError(f"no number is {value}")
        return found
    if any(compared for compared, _ in parsed):
        raise ValueError(f"{value!r} mixes comparisons with numbers; write a list instead")
    return _union(interval for _, numbers in parsed for interval in numbers.intervals)


def _term(term: str, number: Any) -> tuple[bool, Numbers]:
    """Whether it is a comparison, and the numbers it allows."""
    found = _TERM.match(term)
    if found is None:
        raise ValueError(f"{term!r} is no number, range or comparison")
    sign, first, last = found.groups()
    if number is int and "." in term:
        raise ValueError(f"{term!r} is no whole number")
    low = number(first)
    if last is not None:
        high = number(last)
        if sign or high < low:
            raise ValueError(f"{term!r} is no range: it goes from a number to a larger one")
        return False, whole(low, high)
    if sign == "<":
        return True, Numbers(((LEAST, low - 1),)) if low > LEAST else Numbers(())
    if sign == "!=":
        return True, whole(low, low).complement()
    ends = {"<=": (LEAST, low), ">": (low + 1, MOST), ">=": (low, MOST)}
    return sign in ends, whole(*ends.get(sign, (low, low)))


def _union(intervals: Iterable[Interval]) -> Numbers:
    merged: list[Interval] = []
    for low, high in sorted(intervals):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return Numbers(tuple(merged))
