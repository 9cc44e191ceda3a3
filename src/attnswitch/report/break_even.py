"""Where one request becomes slower or faster than the baseline as the sequence grows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from attnswitch.report.benchmark_panels import Panel, Point, Series
from attnswitch.report.quantities import low_median_high

Record = dict[str, Any]


@dataclass(frozen=True)
class BreakEven:
    """`length` is where the lines cross, between two measured lengths; None: they do not.

    `side` is -1 where the candidate is faster at the longest length that tells, 1 where it is
    slower, 0 where none tells. `told` of `lengths` ranked lengths tell.
    """

    candidate: str
    baseline: str
    length: int | None
    between: tuple[int, int] | None
    side: int
    told: int
    lengths: int

    def sentence(self, axis: str) -> str:
        """In words."""
        one, other = self.candidate, self.baseline
        if self.length is None:
            word = {-1: "faster than", 1: "slower than", 0: "as fast as"}[self.side]
            if self.side == 0:
                return f"{one} is {word} {other} at every length measured, within the noise"
            if self.told == self.lengths:
                return f"{one} is {word} {other} at every length measured"
            return (
                f"{one} is {word} {other} at {self.told} of {self.lengths} lengths; the noise "
                "leaves the others open"
            )
        word = "faster" if self.side < 0 else "slower"
        low, high = self.between or (self.length, self.length)
        return (
            f"{one} becomes {word} than {other} at about {self.length:,} {axis} (between "
            f"{low:,} and {high:,})"
        )


def break_even(panel: Panel, series: Series) -> BreakEven | None:
    """Where `series` crosses the panel's baseline; None where nothing can be said.

    The crossing lies between two lengths whose intervals are on different sides of 1; its place is
    interpolated from the medians, ratio and length on log scales. Lengths that are not ranked or
    whose interval holds 1 decide nothing.
    """
    baseline = panel.baseline
    told = [(p, side) for p in series.points if (side := side_of(p.ratio)) is not None]
    if baseline is None or not told:
        return None
    decided = [(point, side) for point, side in told if side]
    counts = len(decided), len(told)
    name = series.request
    for (before, one), (after, other) in pairwise(decided):
        if one != other and other == decided[-1][1]:
            between = before.length, after.length
            inside = [p for p, _ in told if between[0] <= p.length <= between[1]]
            return BreakEven(name, baseline, _crossing(inside, other), between, other, *counts)
    return BreakEven(name, baseline, None, None, decided[-1][1] if decided else 0, *counts)


def side_of(ratio: Record | None) -> int | None:
    """-1 faster than the baseline, 1 slower, 0 open; None where the two are not ranked."""
    if not ratio or not ratio.get("ranked"):
        return None
    ends = low_median_high(ratio.get("seconds"))
    if ends is None:
        return None
    return -1 if ends[2] < 1 else 1 if ends[0] > 1 else 0


def _crossing(points: list[Point], side: int) -> int:
    """The length at which the medians cross 1 for the last time, towards `side`."""
    logs = [(math.log(p.length), math.log((p.ratio or {})["seconds"]["median"])) for p in points]
    for (x, y), (x2, y2) in reversed(list(pairwise(logs))):
        if y * side <= 0 < y2 * side:
            return round(math.exp(x + (x2 - x) * y / (y - y2)))
    return points[-1].length
