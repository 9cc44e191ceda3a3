"""The longest sequence and the largest batch whose peak fits into some memory.

A search needs many peaks, and a peak of all layers takes seconds. Layers are alike, so that each
adds the same: peaks are first taken with few layers and drawn out in a straight line. The answer is
then checked with all layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from attnswitch.estimating.scenario import Scenario
from attnswitch.estimating.whole_model import model_memory
from attnswitch.geometries.building import with_layers

# A result fits, and so much more does not.
TOLERANCE = 0.02
MOST_BATCH = 4096
# Fewest layers of tower and language model, and one more of either.
FEW = 3


@dataclass(frozen=True)
class Limit:
    """`fits` is the most that was seen to fit, 0 where nothing does; `fails` the least that was
    seen not to, None where `fits` is all there is (a context's length, a batch of 4,096)."""

    fits: int
    fails: int | None


def longest_sequence(scenario: Scenario, backend: str, memory_bytes: int) -> Limit:
    """Tokens of a sequence, its pictures unchanged and its text longer or shorter, in its batch.

    At most as many as the model's context holds.
    """
    least = scenario.sample.image_tokens + 1
    room = scenario.geometry.language.context
    if _decodes(scenario):
        room -= scenario.new_tokens
    peak = partial(_peak_of_length, backend)
    return _search(scenario, peak, least, max(room, least), memory_bytes)


def peaks_by_length(scenario: Scenario, backend: str, points: int = 5) -> list[tuple[int, int]]:
    """[(tokens, peak bytes)] from the pictures alone to the whole context, by equal ratios.

    Peaks are drawn out from few layers; the text is what is longer or shorter.
    """
    first = max(256, scenario.sample.image_tokens + 16)
    last = scenario.geometry.language.context - (scenario.new_tokens if _decodes(scenario) else 0)
    ratio = (max(last, first) / first) ** (1 / (points - 1))
    lengths = sorted({round(first * ratio**step) for step in range(points)})
    return [(n, _drawn_out(scenario, partial(_peak_of_length, backend), n)) for n in lengths]


def _decodes(scenario: Scenario) -> bool:
    return scenario.training is None


def _peak_of_length(backend: str, scenario: Scenario, tokens: int) -> int:
    text = tokens - scenario.sample.image_tokens
    return _peak(replace(scenario, sample=replace(scenario.sample, text_tokens=text)), backend)


def largest_batch(scenario: Scenario, backend: str, memory_bytes: int) -> Limit:
    """Sequences of a batch, each as it is."""

    def peak(layers: Scenario, batch: int) -> int:
        return _peak(replace(layers, batch=batch), backend)

    return _search(scenario, peak, 1, MOST_BATCH, memory_bytes)


def _peak(scenario: Scenario, backend: str) -> int:
    return model_memory(scenario, backend, with_work=False).peak.bytes


def _search(
    scenario: Scenario, peak: Callable[[Scenario, int], int], least: int, most: int, memory: int
) -> Limit:
    guess = _between(lambda size: _drawn_out(scenario, peak, size), memory, least, most)
    return _confirm(lambda size: peak(scenario, size) <= memory, guess, least)


def _drawn_out(scenario: Scenario, peak: Callable[[Scenario, int], int], size: int) -> int:
    """The peak with all layers, from those with few: a plane through three points."""
    whole = scenario.geometry
    towers, layers = min(FEW, whole.vision.layers), min(FEW, whole.language.layers)

    def at(more_towers: int, more_layers: int) -> int:
        cut = with_layers(whole, towers + more_towers, layers + more_layers)
        return peak(replace(scenario, geometry=cut), size)

    base = at(0, 0)
    total = base
    if whole.vision.layers > towers:
        total += (whole.vision.layers - towers) * (at(1, 0) - base)
    if whole.language.layers > layers:
        total += (whole.language.layers - layers) * (at(0, 1) - base)
    return total


def _between(peak: Callable[[int], int], memory: int, low: int, high: int) -> Limit:
    """The largest size from `low` to `high` whose peak fits, by a parabola through known peaks."""
    known = {low: peak(low)}
    if known[low] > memory:
        return Limit(0, low)
    limit = Limit(low, None)
    while not _is_close(limit) and limit.fits < high:
        size = _next_size(known, memory, limit, high)
        known[size] = peak(size)
        end = "fails" if known[size] > memory else "fits"
        limit = replace(limit, **{end: size})
    return limit


def _margin(size: int) -> int:
    return max(1, int(TOLERANCE * size))


def _is_close(limit: Limit) -> bool:
    return limit.fails is not None and limit.fails - limit.fits <= _margin(limit.fits)


def _next_size(known: dict[int, int], memory: int, limit: Limit, high: int) -> int:
    """Just beyond where the peak is expected to reach the memory; once that failed, before it."""
    fits, fails = limit.fits, limit.fails
    expected = _crossing(known, memory) if len(known) > 1 else 2.0 * fits + 16
    if fails is None:
        return min(high, max(fits + 1, int(expected) + _margin(int(expected)) // 2))
    inside = int(expected) - _margin(int(expected)) // 4
    if not fits < inside < fails or len(known) > 12:
        inside = (fits + fails) // 2
    return inside


def _crossing(known: dict[int, int], memory: int) -> float:
    """Where a line (two points) or a parabola (the three nearest) through the peaks reaches it."""
    nearest = sorted(known, key=lambda size: abs(known[size] - memory))[:3]
    (x0, y0), (x1, y1) = ((float(size), float(known[size])) for size in nearest[:2])
    slope = (y1 - y0) / (x1 - x0)
    curve = 0.0
    if len(nearest) == 3:
        x2, y2 = float(nearest[2]), float(known[nearest[2]])
        curve = ((y2 - y1) / (x2 - x1) - slope) / (x2 - x0)
    # y0 + slope·d + curve·d·(d − (x1 − x0)) = memory, for d = x − x0.
    middle = slope - curve * (x1 - x0)
    missing = memory - y0
    root = middle * middle + 4 * curve * missing
    if abs(curve) < 1e-9 or root < 0:
        return x0 + missing / slope if slope > 0 else 2 * max(known)
    return x0 + 2 * missing / (middle + math.sqrt(root))


def _confirm(fits: Callable[[int], bool], guess: Limit, low: int) -> Limit:
    """Check with all layers that it fits; where the line was off, step down until it does.

    A peak is the largest of sums that grow with the layers, each in a straight line: the line drawn
    out lies never above it. So what does not fit by the line does not fit.
    """
    good, bad = guess.fits, guess.fails
    while good and not fits(good):
        good, bad = max(low, good - _margin(good)) if good > low else 0, good
    return Limit(good, bad)
