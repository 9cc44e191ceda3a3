"""Dropout on probabilities, repeatable block by block so that the backward pass draws the same.

One seed is drawn per call from PyTorch's default generator of the device (torch.manual_seed governs
it); each block derives its own stream from it, so the result depends on the block size as well.
"""

from __future__ import annotations

import torch

from attnswitch.backends.query_blocks.plan import RowBlock
from attnswitch.backends.query_blocks.scores import Heads

_PRIMES = (1_000_003, 10_007, 8_191, 131_071)


def keep_factor(
    shape: torch.Size,
    like: torch.Tensor,
    p: float,
    seed: int,
    batch: int,
    block: RowBlock,
    heads: Heads,
) -> torch.Tensor:
    """Return 0 with probability ``p`` and 1/(1 − p) otherwise, the same for the same arguments."""
    place = (batch, heads.g0, heads.r0, block.row_start)
    stream = (seed + sum(a * b for a, b in zip(_PRIMES, place, strict=True))) % (2**63)
    generator = torch.Generator(like.device).manual_seed(stream)
    factor = torch.empty(shape, dtype=like.dtype, device=like.device)
    factor.bernoulli_(1.0 - p, generator=generator)
    return factor.mul_(1.0 / (1.0 - p)) if p < 1.0 else factor


def drop(
    probs: torch.Tensor, p: float, seed: int, batch: int, block: RowBlock, heads: Heads
) -> None:
    """Apply dropout to a block of probabilities in place."""
    probs.mul_(keep_factor(probs.shape, probs, p, seed, batch, block, heads))
