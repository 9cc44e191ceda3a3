"""The log-sum-exp of each row's scores, for backends that do not hand theirs out."""

from __future__ import annotations

import math

import torch

SCORE_ELEMENTS = 4 * 2**20


@torch.no_grad()
def log_sum_exp(
    query_BHTD: torch.Tensor,
    key_BGSD: torch.Tensor,
    mask: torch.Tensor | None,
    is_causal: bool,
    scale: float | None,
) -> torch.Tensor:
    """log Σ exp(QKᵀ·scale + mask), (B, H, T) in fp32, from fp32 scores, a few rows at a time.

    `is_causal` is aligned top-left; a boolean mask is True where a key takes part. Costs a second
    product QKᵀ, which is why it is computed only where a caller asks for it.
    """
    B, H, T, D = query_BHTD.shape
    scale = 1.0 / math.sqrt(D) if scale is None else scale
    key = key_BGSD.to(torch.float32).repeat_interleave(H // key_BGSD.shape[1], dim=1)
    step = max(1, SCORE_ELEMENTS // max(1, B * H * key.shape[2]))
    found = query_BHTD.new_empty(B, H, T, dtype=torch.float32)
    for start in range(0, T, step):
        rows = slice(start, min(start + step, T))
        scores = query_BHTD[:, :, rows].to(torch.float32) @ key.transpose(-2, -1) * scale
        if mask is not None:
            part = mask[..., rows, :] if mask.shape[-2] > 1 else mask
            hidden = ~part if part.dtype == torch.bool else None
            scores = scores + part if hidden is None else scores.masked_fill(hidden, -torch.inf)
        if is_causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
            scores = scores.masked_fill(later.triu(start + 1), -torch.inf)
        found[:, :, rows] = torch.logsumexp(scores, dim=-1)
    return found
