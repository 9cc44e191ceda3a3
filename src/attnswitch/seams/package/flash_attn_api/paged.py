"""Paged key-value caches: pages of tokens, found by a table of page numbers for each sequence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch


def gather_pages(
    cache: torch.Tensor, block_table: torch.Tensor, ends: Sequence[int]
) -> torch.Tensor:
    """Lay the sequences of a paged cache end to end.

    cache (pages, page size, G, D), block_table (B, pages of a sequence), `ends` cumulative lengths;
    returns (ends[-1], G, D).
    """
    lengths = [stop - start for start, stop in pairwise(ends)]
    parts = [
        sequence_of(cache, block_table, number, length) for number, length in enumerate(lengths)
    ]
    return torch.cat(parts) if parts else cache.new_empty(0, *cache.shape[2:])


def sequence_of(
    cache: torch.Tensor, block_table: torch.Tensor, number: int, length: int
) -> torch.Tensor:
    """The first `length` tokens (length, G, D) of sequence `number`, a copy."""
    pages = -(-length // cache.shape[1])
    return cache[block_table[number, :pages].long()].flatten(0, 1)[:length]


def write_pages(
    cache: torch.Tensor, block_table: torch.Tensor, number: int, start: int, new: torch.Tensor
) -> None:
    """Write `new` (tokens, G, D) into the pages of sequence `number` from token `start` on."""
    position = torch.arange(start, start + new.shape[0], device=cache.device)
    page = block_table[number, position // cache.shape[1]].long()
    cache[page, position % cache.shape[1]] = new.to(cache.dtype)
