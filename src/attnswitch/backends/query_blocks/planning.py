"""Make the plan of a call from its band, its packed lengths or its mask."""

from __future__ import annotations

from functools import lru_cache

import torch

from attnswitch.backends.query_blocks.block_size import BlockSize
from attnswitch.backends.query_blocks.memory_of_plans import remembered
from attnswitch.backends.query_blocks.plan import Band, Plan, band_of, plan_band, plan_packed
from attnswitch.backends.query_blocks.recognition import mask_everywhere, recognise
from attnswitch.backends.query_blocks.settings import Settings

# Reading a mask of fewer rows costs more than the keys it could skip.
FEWEST_ROWS = 32


def make_plan(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    cu_rows: torch.Tensor | None,
    cu_keys: torch.Tensor | None,
    settings: Settings,
    size: BlockSize,
) -> Plan:
    """Return which keys each block of rows needs."""
    rows, keys = query.shape[2], key.shape[2]
    if cu_rows is not None and cu_keys is not None:
        ends = cu_rows.tolist(), cu_keys.tolist()
        causal = settings.is_causal, settings.bottom_right
        return Plan((plan_packed(*ends, *causal, settings.window, size.rows),))
    shift = keys - rows if settings.bottom_right else 0
    band = band_of(settings.is_causal, shift, *settings.window)
    if mask is None:
        return _band_plan(rows, keys, band, size.rows, shift)
    if rows < FEWEST_ROWS or _is_capturing(mask):
        return Plan((mask_everywhere(rows, keys, band, size.rows, shift),))

    def read() -> Plan:
        return Plan(recognise(mask.detach(), rows, keys, band, size.rows, shift))

    if not settings.keep_plan:
        return read()
    return remembered(mask, (rows, keys, band, size.rows, shift), read)


@lru_cache(maxsize=64)
def _band_plan(rows: int, keys: int, band: Band, block_rows: int, shift: int) -> Plan:
    return Plan((plan_band((0, rows), (0, keys), band, block_rows, shift),))


def _is_capturing(mask: torch.Tensor) -> bool:
    """Whether a CUDA graph is being captured, in which nothing can be read back."""
    return mask.is_cuda and torch.cuda.is_current_stream_capturing()
