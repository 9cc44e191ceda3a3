"""Permutation tests for many rows at once: is any of them slower?

What is compared is a process's own figure (a median over its rounds), one for each process that was
started: rounds of one process share its memory layout and its moment, and are no independent
evidence. If nothing changed, which of two figures is called the new one is a coin's fall; so the
share of all ways to call them under which some row looks as slow as this one, is the probability of
a false alarm anywhere, whatever the noise is like and however rows hang together (Westfall and
Young, "Resampling-Based Multiple Testing", 1993: the largest statistic of all rows).
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence

# All ways are walked where they are no more than this, else so many are drawn.
MOST_WAYS = 2000
# Of the sorted figures so many at each end count as their neighbour: a process that met a
# disturbance shall neither raise an alarm nor hide one.
WINSORIZED = 0.1

Figures = Mapping[Hashable, Sequence[float]]


def sign_flips(differences: Figures, seed: int = 0) -> dict[Hashable, float]:
    """{row: probability} that rows as slow as this one come up by chance; pairs of processes.

    `differences` are each pair's new figure minus its old one (logarithms of seconds), the same
    pairs in the same order in every row.

    Raises:
        ValueError: rows of different lengths, or no pair.
    """
    count = _same_length(differences)
    observed = {row: winsorized_t(values) for row, values in differences.items()}
    ways = _signs(count, seed)
    reached = dict.fromkeys(differences, 0)
    total = 0
    for signs in ways:
        total += 1
        largest = max(
            winsorized_t([s * v for s, v in zip(signs, values, strict=True)])
            for values in differences.values()
        )
        for row, value in observed.items():
            reached[row] += largest >= value - 1e-9
    return {row: reached[row] / total for row in differences}


def relabelings(old: Figures, new: Figures, seed: int = 0) -> dict[Hashable, float]:
    """{row: probability} for two groups of processes that are no pairs.

    Every row of `old` has the same processes in the same order, and every row of `new`.

    Raises:
        ValueError: rows of different lengths, an empty side, or other rows on the two sides.
    """
    if set(old) != set(new):
        raise ValueError("the two sides have different rows")
    before, after = _same_length(old), _same_length(new)
    # Sorted once: a relabelling deals the sorted values out, and both hands stay sorted.
    dealt = {
        row: sorted((value, index) for index, value in enumerate([*old[row], *new[row]]))
        for row in old
    }
    last = set(range(before, before + after))
    observed = {row: _two_sided_t(values, last) for row, values in dealt.items()}
    reached = dict.fromkeys(old, 0)
    total = 0
    for chosen in _choices(before + after, after, seed):
        total += 1
        largest = max(_two_sided_t(values, chosen) for values in dealt.values())
        for row, value in observed.items():
            reached[row] += largest >= value - 1e-9
    return {row: reached[row] / total for row in old}


def winsorized_t(values: Sequence[float]) -> float:
    """Student's t of the values, those at the ends drawn in; infinite where all are one value."""
    mean, variance = _moments(sorted(values))
    if variance < 1e-24:
        return math.copysign(math.inf, mean) if abs(mean) > 1e-12 else 0.0
    return mean / math.sqrt(variance / len(values))


def _two_sided_t(dealt: Sequence[tuple[float, int]], chosen: Collection[int]) -> float:
    """Welch's t of the chosen values against the rest."""
    new = [value for value, index in dealt if index in chosen]
    old = [value for value, index in dealt if index not in chosen]
    (mean, variance), (mean_old, variance_old) = _moments(new), _moments(old)
    error = math.sqrt(variance / len(new) + variance_old / len(old))
    return (mean - mean_old) / max(error, 1e-12)


def _moments(ordered: list[float]) -> tuple[float, float]:
    """Mean and variance of sorted values, those at the ends drawn in to their neighbours."""
    count = len(ordered)
    cut = math.ceil(count * WINSORIZED) if count >= 5 else 0
    if cut:
        inner = ordered[cut : count - cut]
        ordered = [inner[0]] * cut + inner + [inner[-1]] * cut
    mean = sum(ordered) / count
    if count < 2:
        return mean, 0.0
    return mean, sum((value - mean) ** 2 for value in ordered) / (count - 1)


def _signs(count: int, seed: int) -> Iterator[Sequence[int]]:
    if 2**count <= MOST_WAYS:
        yield from itertools.product((1, -1), repeat=count)
        return
    generator = random.Random(seed)
    yield [1] * count  # as it was measured is one of the ways
    for _ in range(MOST_WAYS - 1):
        yield generator.choices((1, -1), k=count)


def _choices(count: int, chosen: int, seed: int) -> Iterator[Collection[int]]:
    if math.comb(count, chosen) <= MOST_WAYS:
        yield from map(set, itertools.combinations(range(count), chosen))
        return
    generator = random.Random(seed)
    yield set(range(count - chosen, count))
    for _ in range(MOST_WAYS - 1):
        yield set(generator.sample(range(count), chosen))


def _same_length(figures: Figures) -> int:
    lengths = {len(values) for values in figures.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"rows of {sorted(lengths)} figures: each needs the same processes")
    return lengths.pop()
