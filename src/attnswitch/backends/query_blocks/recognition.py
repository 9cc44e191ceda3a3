"""Read the structure out of a mask: which keys a block of rows needs, and where the mask matters.

Nothing is assumed about how a mask came about. Causal, padded, sliding-window, packed and prefix
masks all come out as what they are: row blocks with a short key span, mostly live. What has no
structure comes out as whole blocks with the mask applied everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from attnswitch.backends.query_blocks.plan import Band, Blocks, RowBlock, narrowed, plan_band

# More separate spans than this are masked as one: each span costs two operations.
MOST_SPANS = 4


class _Reduced(NamedTuple):
    """A mask, reduced over heads and the rows of each block; all on the CPU, as nested lists.

    ``live`` holds the runs (start, stop) of keys that some row sees, ``mixed`` those where the mask
    is not a plain "seen by all", and ``empty`` says that some row sees nothing.
    """

    live: list[list[tuple[int, int]]]
    mixed: list[list[tuple[int, int]]]
    empty: list[bool]


def recognise(
    mask_BHTS: torch.Tensor, rows: int, keys: int, band: Band, block_rows: int, shift: int
) -> tuple[Blocks, ...]:
    """Return the row blocks of each batch element of a bool or additive mask, cut by the band too.

    Dimensions of size 1 broadcast. In an additive mask −inf is dead, and so is the lowest finite
    number of its dtype (half of it for wide exponents) in rows that have a live key: what it is
    added to vanishes in the softmax exactly. Beside a band only −inf is dead, since the band may
    kill every other key of such a row.
    """
    outline = plan_band((0, rows), (0, keys), band, block_rows, shift)
    if mask_BHTS.shape[3] != keys:
        mask_BHTS = mask_BHTS.expand(*mask_BHTS.shape[:3], keys)
    banded = band != Band(None, None)
    plans = []
    step = block_rows if mask_BHTS.shape[2] > 1 else 1
    for mask_HTS in mask_BHTS.unbind(0):
        reduced = _reduce(mask_HTS, step, only_infinite=banded)
        blocks = []
        for index, block in enumerate(outline):
            at = index if mask_HTS.shape[1] > 1 else 0
            blocks.append(
                _cut(block, reduced.live[at], reduced.mixed[at], reduced.empty[at] or banded)
            )
        plans.append(tuple(blocks))
    return tuple(plans)


def mask_everywhere(rows: int, keys: int, band: Band, block_rows: int, shift: int) -> Blocks:
    """Return row blocks that skip what the band kills and apply the mask to all that is left."""
    blocks = plan_band((0, rows), (0, keys), band, block_rows, shift)
    return tuple(
        block._replace(masked=((block.key_start, block.key_stop),), empty_rows=True)
        for block in blocks
    )


def _cut(
    block: RowBlock, live: list[tuple[int, int]], mixed: list[tuple[int, int]], empty: bool
) -> RowBlock:
    """Shrink a block to its live keys and note the spans in which the mask has to be applied."""
    start = max(block.key_start, live[0][0] if live else block.key_stop)
    stop = min(block.key_stop, live[-1][1] if live else block.key_start)
    stop = max(start, stop)
    cut = narrowed(block, start, stop, mixed)
    spans = cut.masked
    if len(spans) > MOST_SPANS:
        spans = ((spans[0][0], spans[-1][1]),)
    return cut._replace(masked=spans, empty_rows=block.empty_rows or empty)


def _reduce(mask_HTS: torch.Tensor, step: int, only_infinite: bool) -> _Reduced:
    """Reduce one batch element's mask over heads and over each ``step`` rows."""
    live, plain, empty, hopeless = [], [], [], []
    for rows in mask_HTS.split(step, dim=1):
        seen, whole = _seen_and_whole(rows, only_infinite)
        row_sees = seen.amax(-1)
        empty.append(row_sees.amin() == 0)
        if rows.dtype != torch.bool and not only_infinite:
            hopeless.append(_sees_only_lowest(rows, row_sees))
        live.append(seen.amax((0, 1)))
        plain.append(whole.amin((0, 1)))
    seen_NS, whole_NS = torch.stack(live), torch.stack(plain)
    if hopeless:
        everything = torch.stack(hopeless).unsqueeze(-1)
        seen_NS = seen_NS | everything
        whole_NS = whole_NS & ~everything
    return _Reduced(_runs(seen_NS), _runs(1 - whole_NS), torch.stack(empty).tolist())


def _seen_and_whole(rows: torch.Tensor, only_infinite: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return as uint8 which entries are live and which change nothing (live, and nothing added)."""
    if rows.dtype == torch.bool:
        rows = rows.view(torch.uint8)
        return rows, rows
    dead = -torch.inf if only_infinite else lowest(rows.dtype)
    return (rows > dead).view(torch.uint8), (rows == 0).view(torch.uint8)


def lowest(dtype: torch.dtype) -> float:
    """Return the additive value at and below which a mask's entry counts as dead."""
    low = torch.finfo(dtype).min
    return low if dtype == torch.float16 else low / 2


def _sees_only_lowest(rows: torch.Tensor, row_sees: torch.Tensor) -> torch.Tensor:
    """Return uint8 1 if a row has finite entries but no live key: its softmax is over them."""
    finite = (rows > -torch.inf).view(torch.uint8).amax(-1)
    return (finite & (1 - row_sees)).amax()


def _runs(flags_NS: torch.Tensor) -> list[list[tuple[int, int]]]:
    """Return the runs of ones in each row as (start, stop)."""
    flags = torch.nn.functional.pad(flags_NS.to(torch.int8), (1, 1))
    change = flags.diff(dim=1)
    result: list[list[tuple[int, int]]] = [[] for _ in range(flags_NS.shape[0])]
    starts, stops = (change == 1).nonzero().tolist(), (change == -1).nonzero().tolist()
    for (row, start), (_, stop) in zip(starts, stops, strict=True):
        result[row].append((start, stop))
    return result
