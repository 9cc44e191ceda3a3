"""The public functions: arguments as callers have them, checked, and handed to the operator."""

from __future__ import annotations

import math

import torch

from attnswitch.backends.broadcasting import broadcast
from attnswitch.backends.query_blocks.autocast import autocast_dtype
from attnswitch.backends.query_blocks.memory_of_plans import may_be_remembered
from attnswitch.backends.query_blocks.registration import blockwise_op
from attnswitch.errors import InputError

__all__ = ["blockwise", "blockwise_varlen"]


def blockwise(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    causal_alignment: str = "top-left",
    window: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    block_rows: int | None = None,
    return_lse: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Standard attention, softmax(QKᵀ·scale + mask)·V, in blocks of query rows with fp32 scores.

    Args:
        query: (B, H, T, D); any leading dimensions, as SDPA takes them. float16, bfloat16, float32
            or float64.
        key, value: (B, G, S, D) and (B, G, S, E); H is a multiple of G (see ``enable_gqa``).
        attn_mask: bool (True takes part) or additive, broadcastable to (B, H, T, S).
        dropout_p: probability with which a softmax weight is dropped.
        is_causal: row i sees keys up to i, or up to i + S − T with ``causal_alignment``
            ``"bottom-right"`` (what flash_attn does). Unlike SDPA it may stand beside a mask.
        scale: factor on QKᵀ, 1/√D if None.
        enable_gqa: accept fewer key-value heads than query heads.
        window: keys visible to the left and right of the diagonal, −1 for no limit.
        softcap: cap·tanh(score/cap) on the scaled scores; 0 is none.
        alibi_slopes: (H,) or (B, H); adds −slope·|i + shift − j|.
        block_rows: query rows of a block; None lets the shapes decide.
        return_lse: also return the log of each row's softmax denominator, (B, H, T) in fp32,
            without gradient; −inf for rows with nothing to attend to.

    Returns:
        (B, H, T, E) in the query's dtype. Rows with nothing to attend to are zero.

    Raises:
        InputError: shapes, dtypes, devices or values that do not go together.
    """
    query, key, value = _autocast(query, key, value)
    lead = query.shape[:-3]
    if query.dim() != 4:
        query, key, value, attn_mask = _to_4d(query, key, value, attn_mask)
    if key.dim() == value.dim() == 4:
        query, key, value = broadcast(query, key, value, enable_gqa)
    _check(query, key, value, enable_gqa, dropout_p, causal_alignment)
    mask = None if attn_mask is None else _mask_4d(attn_mask, query, key)
    slopes = None if alibi_slopes is None else _slopes_2d(alibi_slopes, query)
    out, lse, _ = blockwise_op(
        query, key, value, mask, slopes, None, None,
        float(dropout_p), bool(is_causal), causal_alignment == "bottom-right",
        1.0 / math.sqrt(query.shape[-1]) if scale is None else float(scale),
        float(softcap), window[0], window[1], block_rows or 0,
        mask is not None and may_be_remembered(mask), return_lse,
    )  # fmt: skip
    if len(lead) != 1:
        out = out.view(*lead, *out.shape[1:]) if lead else out[0]
        lse = lse.view(*lead, *lse.shape[1:]) if return_lse and lead else lse
    return (out, lse) if return_lse else out


def _autocast(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Under autocast SDPA runs in the lower precision: so does this."""
    dtype = autocast_dtype(tensors[0].device.type)
    if dtype is None:
        return tensors
    return tuple(t.to(dtype) if t.dtype == torch.float32 else t for t in tensors)


def _to_4d(query, key, value, mask):
    if query.dim() < 3:
        query, key, value = (t.unsqueeze(0) for t in (query, key, value))
    lead = query.shape[:-3]
    if mask is not None and mask.dim() > 3:
        mask = mask.expand(*lead, *mask.shape[-3:]).reshape(-1, *mask.shape[-3:])
    batch = math.prod(lead)
    flat = (
        t.expand(*lead, *t.shape[-3:]).reshape(batch, *t.shape[-3:]) for t in (query, key, value)
    )
    return (*flat, mask)


def _mask_4d(mask: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Give the mask four dimensions without copying it, and check that it broadcasts."""
    while mask.dim() < 4:
        mask = mask.unsqueeze(0)
    wanted = (*query.shape[:3], key.shape[2])
    for have, want in zip(mask.shape, wanted, strict=True):
        if have not in (1, want):
            raise InputError(
                f"attn_mask of shape {tuple(mask.shape)} does not broadcast to {wanted} "
                "(batch, heads, query rows, keys)"
            )
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise InputError(f"attn_mask must be bool or floating point, not {mask.dtype}")
    return mask


def _slopes_2d(slopes: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    slopes = slopes.unsqueeze(0) if slopes.dim() == 1 else slopes
    if slopes.dim() != 2 or slopes.shape[1] != query.shape[1]:
        raise InputError(
            f"alibi_slopes of shape {tuple(slopes.shape)} do not give one slope to each of "
            f"{query.shape[1]} heads: pass (heads,) or (batch, heads)"
        )
    return slopes


def _check(query, key, value, enable_gqa, dropout_p, causal_alignment) -> None:
    shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}"
    if key.dim() != 4 or value.dim() != 4:
        raise InputError(f"query, key and value must have the same number of dimensions: {shapes}")
    if query.shape[0] != key.shape[0] or key.shape[:3] != value.shape[:3]:
        raise InputError(f"batch, heads or lengths do not go together: {shapes}")
    if query.shape[3] != key.shape[3]:
        raise InputError(f"query and key differ in width: {shapes}")
    heads, groups = query.shape[1], key.shape[1]
    if heads != groups and (not enable_gqa or groups == 0 or heads % groups):
        raise InputError(
            f"{heads} query heads and {groups} key-value heads: "
            "fewer key-value heads need enable_gqa=True and must divide the query heads"
        )
    if not query.dtype == key.dtype == value.dtype:
        raise InputError(
            f"query, key and value differ in dtype: {query.dtype}, {key.dtype}, {value.dtype}"
        )
    if not 0.0 <= dropout_p <= 1.0:
        raise InputError(f"dropout_p is a probability, not {dropout_p}")
    if causal_alignment not in ("top-left", "bottom-right"):
        raise InputError(
            f"causal_alignment is 'top-left' or 'bottom-right', not {causal_alignment!r}"
        )


def blockwise_varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    causal_alignment: str = "bottom-right",
    window: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    block_rows: int | None = None,
    return_lse: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Attention over sequences laid end to end, each attending to itself alone.

    query (total_q, H, D), key (total_k, G, D), value (total_k, G, E); ``cu_seqlens`` are the
    cumulative lengths from 0 to the total, as flash_attn_varlen_func takes them. Returns
    (total_q, H, E), and the log-sum-exp as (H, total_q) where asked for. Other arguments as for
    `blockwise`; nothing between sequences is computed.
    """
    query, key, value = _autocast(query, key, value)
    query, key, value = (t.transpose(0, 1).unsqueeze(0) for t in (query, key, value))
    _check(query, key, value, True, dropout_p, causal_alignment)
    cu_seqlens_k = cu_seqlens_q if cu_seqlens_k is None else cu_seqlens_k
    slopes = None if alibi_slopes is None else _slopes_2d(alibi_slopes, query)
    out, lse, _ = blockwise_op(
        query, key, value, None, slopes, cu_seqlens_q, cu_seqlens_k,
        float(dropout_p), bool(is_causal), causal_alignment == "bottom-right",
        1.0 / math.sqrt(query.shape[-1]) if scale is None else float(scale),
        float(softcap), window[0], window[1], block_rows or 0, False, return_lse,
    )  # fmt: skip
    out = out[0].transpose(0, 1)
    return (out, lse[0]) if return_lse else out
