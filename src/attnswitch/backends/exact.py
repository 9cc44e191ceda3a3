"""`reference` (float64) and the yardstick (fp32 scores): attention written as plainly as possible.

Both are what others are judged by, so they share one obvious function and nothing with the
backends they judge: no mask is recognised, no structure is used, no block is skipped. Query rows
are taken a few at a time to bound memory, which changes no number.

Formula: softmax(Q·Kᵀ·scale + mask)·V, Vaswani et al. 2017, section 3.2.1.
"""

from __future__ import annotations

import math

import torch

# At most this many score elements exist at once (64 Mi of float64 are 512 MiB).
SCORE_ELEMENTS = 16 * 2**20


def reference(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Attention in float64, rounded once at the end to the query's dtype."""
    return compute(
        query, key, value, attn_mask, dropout_p, is_causal,
        scale=scale, enable_gqa=enable_gqa, dtype=torch.float64,
    ).to(query.dtype)  # fmt: skip


def yardstick(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Standard attention with fp32 scores (float64 stays float64), in the query's dtype."""
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    return compute(
        query, key, value, attn_mask, dropout_p, is_causal,
        scale=scale, enable_gqa=enable_gqa, dtype=dtype,
    ).to(query.dtype)  # fmt: skip


def compute(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    dtype: torch.dtype = torch.float64,
) -> torch.Tensor:
    """Attention with every step in `dtype`, and the result left in it.

    query [..., H, T, D], key [..., G, S, D], value [..., G, S, E]; result [..., H, T, E]. Rows
    with nothing to attend to are zero. Dropout is not defined for a reference: a ValueError.
    """
    if dropout_p:
        raise ValueError("reference attention has no dropout: its result would not be one number")
    if enable_gqa and query.shape[-3] != key.shape[-3]:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (t.repeat_interleave(groups, dim=-3) for t in (key, value))
    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    rows, columns = query.shape[-2], key.shape[-2]
    block = max(1, SCORE_ELEMENTS // max(1, columns * query[..., 0, 0].numel()))
    key_t, value = key.to(dtype).transpose(-2, -1), value.to(dtype)
    parts = []
    for start in range(0, rows, block):
        stop = min(start + block, rows)
        scores = query[..., start:stop, :].to(dtype) @ key_t * scale
        scores = _masked(scores, attn_mask, is_causal, start, stop)
        parts.append(_softmax(scores) @ value)
    if not parts:
        return query.new_zeros(*query.shape[:-1], value.shape[-1], dtype=dtype)
    return torch.cat(parts, dim=-2)


def _masked(
    scores: torch.Tensor, mask: torch.Tensor | None, is_causal: bool, start: int, stop: int
) -> torch.Tensor:
    """Apply rows start to stop of the mask, and the causal triangle aligned top-left."""
    if mask is not None:
        rows = mask if mask.shape[-2] == 1 else mask[..., start:stop, :]
        if rows.dtype == torch.bool:
            scores = scores.masked_fill(~rows, -math.inf)
        else:
            scores = scores + rows.to(scores.dtype)
    if is_causal:
        row = torch.arange(start, stop, device=scores.device)[:, None]
        column = torch.arange(scores.shape[-1], device=scores.device)[None, :]
        scores = scores.masked_fill(column > row, -math.inf)
    return scores


def _softmax(scores: torch.Tensor) -> torch.Tensor:
    dead = (scores == -math.inf).all(dim=-1, keepdim=True)
    return torch.softmax(scores, dim=-1).masked_fill(dead, 0.0)
