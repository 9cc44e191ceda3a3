"""Cut a call into tasks that workers take from a queue."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from attnswitch.backends.query_blocks.block_size import BlockSize
from attnswitch.backends.query_blocks.plan import Blocks, Plan
from attnswitch.backends.query_blocks.scores import Heads


class Task(NamedTuple):
    """Some blocks of one batch element and one rectangle of heads; ``part`` numbers its piece."""

    batch: int
    heads: Heads
    blocks: Blocks
    part: int


def _spans(total: int, step: int) -> list[tuple[int, int]]:
    return [(i, min(i + step, total)) for i in range(0, total, step)]


def cut(
    plan: Plan, batches: int, groups: int, heads: int, size: BlockSize, parts: int
) -> list[Task]:
    """Cut into one task for each batch element, head rectangle and part of the blocks.

    A part takes every ``parts``-th block, so that causal work is shared evenly.
    """
    return [
        Task(batch, Heads(*g, *r), plan.of(batch)[part::parts], part)
        for batch in range(batches)
        for g in _spans(groups, size.groups)
        for r in _spans(heads, size.heads)
        for part in range(parts)
    ]


def forward_tasks(
    plan: Plan, batches: int, groups: int, heads: int, size: BlockSize, workers: int
) -> deque[Task]:
    """Cut the forward pass finely enough that no worker waits long for the last."""
    rectangles = batches * -(-groups // size.groups) * -(-heads // size.heads)
    parts = 1 if workers == 1 else -(-4 * workers // rectangles)
    longest = max((len(blocks) for blocks in plan.blocks), default=1)
    return deque(cut(plan, batches, groups, heads, size, max(1, min(parts, longest))))
