"""Attention in float64, one obvious step after the other: what `blockwise` is judged by.

It shares nothing with the package: one dense (B, H, T, S) array of scores, no blocks, no structure.
"""

from __future__ import annotations

import math
from typing import Any

import torch


def live_keys(
    rows: int,
    keys: int,
    is_causal: bool = False,
    causal_alignment: str = "top-left",
    window: tuple[int, int] = (-1, -1),
) -> torch.Tensor:
    """Return (T, S) bool: what the causal triangle and the window leave."""
    shift = keys - rows if causal_alignment == "bottom-right" else 0
    row = torch.arange(rows).unsqueeze(1) + shift
    key = torch.arange(keys).unsqueeze(0)
    live = torch.ones(rows, keys, dtype=torch.bool)
    if is_causal:
        live &= key <= row
    if window[0] >= 0:
        live &= key >= row - window[0]
    if window[1] >= 0:
        live &= key <= row + window[1]
    return live


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    causal_alignment: str = "top-left",
    window: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    keep: torch.Tensor | None = None,
    return_lse: bool = False,
) -> Any:
    """query (B, H, T, D), key (B, G, S, D), value (B, G, S, E) -> (B, H, T, E) in float64.

    ``keep`` (B, H, T, S) multiplies the probabilities (dropout with a known outcome).
    """
    query, key, value = query.double(), key.double(), value.double()
    repeats = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    rows, keys = query.shape[2], key.shape[2]
    scores = query @ key.transpose(-1, -2)
    scores = scores * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if alibi_slopes is not None:
        shift = keys - rows if causal_alignment == "bottom-right" else 0
        distance = torch.arange(rows).unsqueeze(1) + shift - torch.arange(keys).unsqueeze(0)
        slopes = alibi_slopes if alibi_slopes.dim() == 2 else alibi_slopes.unsqueeze(0)
        scores = scores - slopes[..., None, None].double() * distance.abs()
    live = live_keys(rows, keys, is_causal, causal_alignment, window).expand_as(scores)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        live = live & attn_mask
    elif attn_mask is not None:
        scores = scores + attn_mask.double()
        live = live & (attn_mask > -math.inf)
    scores = torch.where(live, scores, -math.inf)
    some = live.any(-1, keepdim=True)
    safe = torch.where(some, scores, 0.0)
    probs = torch.where(live, torch.softmax(safe, -1), 0.0)
    if keep is not None:
        probs = probs * keep
    out = probs @ value
    return (out, torch.logsumexp(scores, -1)) if return_lse else out
