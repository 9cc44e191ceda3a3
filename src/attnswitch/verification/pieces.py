"""A call taken apart: pieces of query rows so small that float64 costs little memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from attnswitch.backends import exact
from attnswitch.verification.attention_call import AttentionCall, visible

# Scores that exist at once: 512 Ki in float64 are 4 MiB, and some copies of them.
PIECE_SCORES = 512 * 2**10


@dataclass(frozen=True)
class Piece:
    """Some query rows of some heads: query [b, h, n, D], key [b, g, S, D], value [b, g, S, E].

    `mask` [b or 1, h or 1, n, S] holds everything that hides a key, or is None.
    """

    batch: slice
    heads: slice
    rows: torch.Tensor
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    scale: float

    def attention(
        self, dtype: torch.dtype, *, scale: float | None = None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """[b, h, n, E]: attention with every step in `dtype`; other scales and masks may be
        tried."""
        return exact.compute(
            self.query, self.key, self.value, self.mask if mask is None else mask,
            scale=self.scale if scale is None else scale, enable_gqa=True, dtype=dtype,
        )  # fmt: skip

    def reordered(self, keys: torch.Tensor, width: torch.Tensor) -> Piece:
        """The same attention with its sums in another order: over keys [S] and over width [D]."""
        mask, order = self.mask, keys
        return replace(
            self, query=self.query[..., width], key=self.key[:, :, order][..., width],
            value=self.value[:, :, order],
            mask=mask if mask is None or mask.shape[-1] == 1 else mask[..., order],
        )  # fmt: skip

    def of(self, out_BHTE: torch.Tensor) -> torch.Tensor:
        """[b, h, n, E]: this piece's part of a whole call's result."""
        return out_BHTE[self.batch, self.heads][:, :, self.rows]

    def counting(self, padding_BT: torch.Tensor | None) -> torch.Tensor:
        """[b, h, n] bool: rows that are no padding and see at least one key."""
        shape = self.query.shape[:3]
        counts = self.query.new_ones(shape, dtype=torch.bool)
        if self.mask is not None:
            counts = counts & visible(self.mask).any(dim=-1).expand(shape)
        if padding_BT is not None:
            counts = counts & padding_BT.to(counts.device)[self.batch][:, None, self.rows]
        return counts


def pieces(call: AttentionCall, rows: torch.Tensor, most: int = PIECE_SCORES) -> Iterator[Piece]:
    """The given rows of a call, in pieces of at most `most` scores (one row at least)."""
    batch, heads, groups = call.query.shape[0], call.query.shape[1], call.key.shape[1]
    keys = call.key.shape[-2]
    rows = rows.to(call.query.device)
    if batch * heads * len(rows) * keys <= most:
        yield _piece(call, slice(0, batch), slice(0, heads), slice(0, groups), rows)
        return
    each = heads // groups
    count = max(1, most // max(1, each * keys))
    for b in range(batch):
        for g in range(groups):
            for part in rows.split(count):
                yield _piece(call, slice(b, b + 1), slice(g * each, (g + 1) * each),
                             slice(g, g + 1), part)  # fmt: skip


def _piece(
    call: AttentionCall, batch: slice, heads: slice, groups: slice, rows: torch.Tensor
) -> Piece:
    return Piece(
        batch, heads, rows,
        call.query[batch, heads][:, :, rows], call.key[batch, groups], call.value[batch, groups],
        call.mask_of_rows(batch, heads, rows), call.factor,
    )  # fmt: skip
