"""Which query rows of a call are judged: all of them, or one from each of equal stretches.

Float64 attention over every row of a long prompt would cost more than the model itself. Above a
number of scores, rows are drawn, seeded: the first, the last, and one at random from each of n
equal stretches. So a fault that touches 2·T/n successive rows or more is always looked at, and
one that touches a share p of scattered rows escapes with probability (1 - p)ⁿ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

# Scores judged at most in one call; up to here every row is.
SCORES = 4 * 2**20
FEWEST_ROWS = 16


@dataclass
class RowsSeen:
    """How many rows were judged, of how many, and the longest run of rows that can be missed."""

    judged: int = 0
    of: int = 0
    longest_missed: int = 0

    def add(self, rows: int, of: int) -> None:
        """Count a call of which `rows` of `of` query rows were judged."""
        self.judged += rows
        self.of += of
        if rows < of:
            self.longest_missed = max(self.longest_missed, 2 * math.ceil(of / rows))


def choose_rows(rows: int, scores: int, seed: int, budget: int = SCORES) -> torch.Tensor:
    """Sorted row numbers [n] of a call with `rows` query rows and `scores` scores in all."""
    if scores <= budget:
        return torch.arange(rows)
    count = max(FEWEST_ROWS, rows * budget // scores)
    if count >= rows:
        return torch.arange(rows)
    generator = torch.Generator().manual_seed(seed)
    starts = torch.linspace(0, rows, count + 1)[:-1]
    width = rows / count
    drawn = (starts + torch.rand(count, generator=generator) * width).long().clamp(max=rows - 1)
    return torch.unique(torch.cat([drawn, torch.tensor([0, rows - 1])]))
