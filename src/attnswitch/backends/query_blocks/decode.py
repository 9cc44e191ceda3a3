"""The direct path for a decoded token: one product, one softmax, one product, no blocks.

With one query row there is nothing to cut, and the steps of the general path would cost more than
the arithmetic.
"""

from __future__ import annotations

import math

import torch

from attnswitch.backends.query_blocks.block_size import FEW_ROWS
from attnswitch.backends.query_blocks.scores import add_mask
from attnswitch.backends.query_blocks.settings import Settings, compute_dtype

# Keys that have to be widened are all copied at once here: 4 Mi elements are 16 MiB.
MOST_COPIED = 1 << 22


def is_direct(
    q_BHTD: torch.Tensor,
    k_BGSD: torch.Tensor,
    slopes: torch.Tensor | None,
    cu_rows: torch.Tensor | None,
    settings: Settings,
    need_lse: bool,
) -> bool:
    """Whether a call is a decoded token's: few rows, every key visible but for a mask."""
    H, T = q_BHTD.shape[1:3]
    if T * (H // k_BGSD.shape[1]) > FEW_ROWS or settings.dropout_p or settings.softcap or need_lse:
        return False
    if slopes is not None or cu_rows is not None or settings.window != (-1, -1):
        return False
    if settings.is_causal and not (settings.bottom_right and T == 1):
        return False
    return k_BGSD.dtype == compute_dtype(k_BGSD) or k_BGSD.numel() <= MOST_COPIED


def decode(
    q_BHTD: torch.Tensor,
    k_BGSD: torch.Tensor,
    v_BGSE: torch.Tensor,
    mask_BGRTS: torch.Tensor | None,
    scale: float,
    out_BHTE: torch.Tensor,
) -> None:
    """Fill ``out_BHTE``."""
    B, H, T, D = q_BHTD.shape
    G, S = k_BGSD.shape[1:3]
    dtype = compute_dtype(k_BGSD)
    q = q_BHTD.to(dtype).reshape(B * G, -1, D)
    k = k_BGSD.to(dtype).reshape(B * G, S, D)
    v = v_BGSE.to(dtype).reshape(B * G, S, -1)
    # Scaled after the product: scaling the query first would round it once more.
    scores = torch.bmm(q, k.transpose(1, 2)).mul_(scale)
    dead = None
    if mask_BGRTS is not None:
        parted = scores.view(B, G, H // G, T, S)
        add_mask(parted, mask_BGRTS)
        dead = scores.amax(-1, keepdim=True) == -math.inf
    torch.softmax(scores, -1, out=scores)
    if dead is not None:
        scores.masked_fill_(dead, 0.0)
    out_BHTE.copy_(torch.bmm(scores, v).view(out_BHTE.shape))
