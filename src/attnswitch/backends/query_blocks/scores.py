"""Turn the raw products of one block into attention scores, in place.

Order: softcap, ALiBi, mask, band (the order of flash_attn: the cap bounds QKᵀ·scale, biases come
after it). ``scores_GRTS`` has one entry a key-value head (G), query head of its group (R), query
row (T) and key (S) of the block.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch

from attnswitch.backends.query_blocks.plan import RowBlock


class Heads(NamedTuple):
    """Heads computed together: a span of key-value heads, and of the query heads of a group."""

    g0: int
    g1: int
    r0: int
    r1: int


class ScoreRule(NamedTuple):
    """What changes scores beside the scale.

    mask_BGRTS: bool (False is dead) or additive, dimensions of size 1 broadcast; slopes_BGR: ALiBi.
    """

    mask_BGRTS: torch.Tensor | None = None  # noqa: N815 (shape suffix)
    slopes_BGR: torch.Tensor | None = None  # noqa: N815
    softcap: float = 0.0

    @property
    def adds_to_scores(self) -> bool:
        """Whether scores get other values than −inf, so that they must be scaled before."""
        additive = self.mask_BGRTS is not None and self.mask_BGRTS.dtype != torch.bool
        return additive or self.slopes_BGR is not None or bool(self.softcap)

    def apply(
        self,
        scores_GRTS: torch.Tensor,
        block: RowBlock,
        batch: int,
        heads: Heads,
        slope: bool = False,
    ) -> torch.Tensor | None:
        """Change the scores in place; with ``slope`` return the softcap's derivative, if any."""
        cap_slope = None
        if self.softcap:
            scores_GRTS.mul_(1.0 / self.softcap).tanh_()
            cap_slope = 1.0 - scores_GRTS.square() if slope else None
            scores_GRTS.mul_(self.softcap)
        if self.slopes_BGR is not None:
            _add_alibi(scores_GRTS, self.slopes_BGR, block, batch, heads)
        if self.mask_BGRTS is not None:
            for start, stop in block.masked:
                span = scores_GRTS[..., start - block.key_start : stop - block.key_start]
                add_mask(span, self.mask_of(block, batch, heads, start, stop))
        apply_band(scores_GRTS, block)
        return cap_slope

    def mask_of(
        self, block: RowBlock, batch: int, heads: Heads, start: int, stop: int
    ) -> torch.Tensor:
        """Return the mask's (G or 1, R or 1, T or 1, S or 1) part for a key span of a block."""
        mask = self.mask_BGRTS
        assert mask is not None
        b, g, r, t, s = mask.shape
        tile = mask[batch if b > 1 else 0]
        if g > 1 or r > 1:
            tile = tile[
                slice(heads.g0, heads.g1) if g > 1 else slice(None),
                slice(heads.r0, heads.r1) if r > 1 else slice(None),
            ]
        rows = slice(block.row_start, block.row_stop) if t > 1 else slice(None)
        return tile[..., rows, start:stop] if s > 1 else tile[..., rows, :]


def add_mask(scores: torch.Tensor, mask: torch.Tensor) -> None:
    """Apply a bool (False is dead) or additive mask in place."""
    if mask.dtype == torch.bool:
        # One conversion serves all heads of the block, and adding is several times faster than
        # filling.
        dead = scores.new_zeros(mask.shape)
        mask = dead.masked_fill_(mask.logical_not(), -math.inf)
    scores.add_(mask)


def apply_band(scores: torch.Tensor, block: RowBlock) -> None:
    """Set scores (…, rows, keys) outside the block's band to −inf, touching only cut corners."""
    place = (scores.shape[-2], scores.dtype, scores.device)
    if block.high is not None:
        first = max(block.row_start + block.high + 1, block.key_start)
        diagonal = block.row_start + block.high - first
        corner = scores[..., first - block.key_start :]
        corner.add_(_dead_corner(corner.shape[-1], diagonal, True, *place))
    if block.low is not None:
        last = min(block.row_stop - 1 + block.low, block.key_stop)
        diagonal = block.row_start + block.low - block.key_start
        corner = scores[..., : last - block.key_start]
        corner.add_(_dead_corner(corner.shape[-1], diagonal, False, *place))


@lru_cache(maxsize=8)
def _dead_corner(
    columns: int, diagonal: int, above: bool, rows: int, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """Return −inf above (column > row + diagonal) or below (column < row + diagonal), else 0."""
    dead = torch.full((rows, columns), -math.inf, dtype=dtype, device=device)
    return dead.triu_(diagonal + 1) if above else dead.tril_(diagonal - 1)


def _add_alibi(
    scores_GRTS: torch.Tensor,
    slopes_BGR: torch.Tensor,
    block: RowBlock,
    batch: int,
    heads: Heads,
) -> None:
    """Add −slope·|row + shift − key| (Press et al. 2022, aligned as flash_attn aligns it)."""
    device, dtype = scores_GRTS.device, scores_GRTS.dtype
    rows = torch.arange(block.row_start, block.row_stop, device=device, dtype=dtype)
    keys = torch.arange(block.key_start, block.key_stop, device=device, dtype=dtype)
    distance = (rows + block.shift).unsqueeze(-1).sub(keys).abs_()
    slopes = slopes_BGR[batch if slopes_BGR.shape[0] > 1 else 0, heads.g0 : heads.g1]
    slopes = slopes[:, heads.r0 : heads.r1].to(dtype)
    scores_GRTS.addcmul_(slopes[..., None, None], distance, value=-1.0)
