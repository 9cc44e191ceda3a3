"""Which keys a block of query rows has to look at: the plan that the loops follow.

A plan is data. The loops never ask why a block is small; they compute the keys it names, mask where
it says that masking matters, and skip everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Band(NamedTuple):
    """The live keys of query row ``i`` by arithmetic: ``i + low <= key <= i + high``.

    ``None`` is no limit on that side. Causal attention is a band without a lower limit.
    """

    low: int | None
    high: int | None


class RowBlock(NamedTuple):
    """One step: query rows ``[row_start, row_stop)`` and keys ``[key_start, key_stop)``.

    ``low`` and ``high`` are the band limits that cut through this block (``None``: they do not),
    and ``masked`` the key spans in which the mask tensor has to be applied. ``shift`` is the key
    that stands on the diagonal of row 0, from which ALiBi measures distance. ``empty_rows``: some
    of the rows may have no live key at all.
    """

    row_start: int
    row_stop: int
    key_start: int
    key_stop: int
    low: int | None = None
    high: int | None = None
    masked: tuple[tuple[int, int], ...] = ()
    shift: int = 0
    empty_rows: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether every row sees every key."""
        return self.low is None and self.high is None and not self.masked


Blocks = tuple[RowBlock, ...]


class Plan(NamedTuple):
    """The row blocks of every batch element; a single list where all elements share it."""

    blocks: tuple[Blocks, ...]

    def of(self, batch: int) -> Blocks:
        """Return the row blocks of one batch element."""
        return self.blocks[batch] if len(self.blocks) > 1 else self.blocks[0]


def band_of(is_causal: bool, shift: int, window_left: int, window_right: int) -> Band:
    """Return the band of a causal and/or windowed call whose diagonal starts at key ``shift``.

    The window counts keys beside the diagonal, −1 for no limit, as flash_attn does.
    """
    low = shift - window_left if window_left >= 0 else None
    high = shift + window_right if window_right >= 0 else None
    if is_causal:
        high = shift if high is None else min(high, shift)
    return Band(low, high)


def plan_band(
    rows: tuple[int, int], keys: tuple[int, int], band: Band, block_rows: int, shift: int = 0
) -> Blocks:
    """Cut the row span into blocks and give each the hull of the keys that its band reaches."""
    blocks = []
    for start in range(rows[0], rows[1], block_rows):
        stop = min(rows[1], start + block_rows)
        low, high = band
        key_start = keys[0] if low is None else min(max(start + low, keys[0]), keys[1])
        key_stop = keys[1] if high is None else min(max(stop + high, keys[0]), keys[1])
        key_stop = max(key_start, key_stop)
        empty = (low is not None and stop - 1 + low > keys[1] - 1) or (
            high is not None and start + high < keys[0]
        )
        cut_low = low if low is not None and stop - 1 + low > key_start else None
        cut_high = high if high is not None and start + high < key_stop - 1 else None
        blocks.append(
            RowBlock(start, stop, key_start, key_stop, cut_low, cut_high, (), shift, empty)
        )
    return tuple(blocks)


def narrowed(block: RowBlock, start: int, stop: int, masked: Sequence[tuple[int, int]]) -> RowBlock:
    """Return a block with the keys ``[start, stop)`` alone, and of the mask's spans what is there.

    A band limit that no longer cuts through the block is dropped.
    """
    spans = tuple((max(a, start), min(b, stop)) for a, b in masked if a < stop and b > start)
    low, high = block.low, block.high
    if low is not None and block.row_stop - 1 + low <= start:
        low = None
    if high is not None and block.row_start + high >= stop - 1:
        high = None
    return block._replace(key_start=start, key_stop=stop, low=low, high=high, masked=spans)


def pieces_of(block: RowBlock, keys: int) -> tuple[RowBlock, ...]:
    """Cut a block's keys into pieces of about the same size, ``keys`` at most."""
    total = block.key_stop - block.key_start
    if total <= keys:
        return (block,)
    step = -(-total // -(-total // keys))
    starts = range(block.key_start, block.key_stop, step)
    return tuple(narrowed(block, i, min(block.key_stop, i + step), block.masked) for i in starts)


def plan_packed(
    row_ends: Sequence[int],
    key_ends: Sequence[int],
    is_causal: bool,
    bottom_right: bool,
    window: tuple[int, int],
    block_rows: int,
) -> Blocks:
    """Plan sequences laid end to end; ``row_ends`` and ``key_ends`` are cu_seqlens, from 0 on."""
    blocks: list[RowBlock] = []
    for i in range(len(row_ends) - 1):
        rows, keys = (row_ends[i], row_ends[i + 1]), (key_ends[i], key_ends[i + 1])
        shift = keys[1] - rows[1] if bottom_right else keys[0] - rows[0]
        blocks += plan_band(rows, keys, band_of(is_causal, shift, *window), block_rows, shift)
    return tuple(blocks)
