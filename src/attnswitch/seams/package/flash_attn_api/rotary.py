"""`flash_attn.layers.rotary`: rotary position embedding (Su et al. 2021), as functions."""

from __future__ import annotations

import torch

from attnswitch.errors import InputError


def apply_rotary_emb(
    x: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    interleaved: bool = False,
    inplace: bool = False,
    seqlen_offsets: int | torch.Tensor = 0,
    cu_seqlens: torch.Tensor | None = None,
    max_seqlen: int | None = None,
) -> torch.Tensor:
    """Rotate the first columns of x by its tokens' positions, in fp32 (fp64 stays fp64).

    Args:
        x: (B, T, H, D), or (N, H, D) with `cu_seqlens`.
        cos, sin: (positions, R / 2) with R at most D; the first R columns are rotated.
        interleaved: pairs are neighbouring columns, else the two halves of the R columns.
        inplace: also write the result into x.
        seqlen_offsets: the position of each sequence's first token: one number, or (B,).
        cu_seqlens: cumulative lengths of packed sequences; `max_seqlen` is not needed here.

    Returns:
        The shape and dtype of x.

    Raises:
        InputError: more columns to rotate than x has, or more positions than cos has.
    """
    half = cos.shape[-1]
    if 2 * half > x.shape[-1]:
        raise InputError(f"apply_rotary_emb: {2 * half} columns to rotate, x has {x.shape[-1]}")
    position = _positions(x, seqlen_offsets, cu_seqlens)
    if position.numel() and int(position.max()) >= cos.shape[0]:
        raise InputError(
            f"apply_rotary_emb: position {int(position.max())}, but cos has {cos.shape[0]} rows"
        )
    dtype = torch.promote_types(x.dtype, torch.float32)
    cos_part, sin_part = (t[position].unsqueeze(-2).to(dtype) for t in (cos, sin))
    turned, rest = x[..., : 2 * half].to(dtype), x[..., 2 * half :]
    pairs = turned.unflatten(-1, (half, 2)) if interleaved else turned.unflatten(-1, (2, half))
    axis = -1 if interleaved else -2
    first, second = pairs.unbind(axis)
    both = first * cos_part - second * sin_part, first * sin_part + second * cos_part
    result = torch.cat([torch.stack(both, axis).flatten(-2).to(x.dtype), rest], dim=-1)
    return x.copy_(result) if inplace else result


def _positions(
    x: torch.Tensor, offsets: int | torch.Tensor, cu_seqlens: torch.Tensor | None
) -> torch.Tensor:
    """The position of each token: (T,), (B, T), or (N,) for packed sequences."""
    if cu_seqlens is None:
        row = torch.arange(x.shape[-3], device=x.device)
        return row + offsets.to(x.device)[:, None] if torch.is_tensor(offsets) else row + offsets
    starts, lengths = cu_seqlens[:-1], cu_seqlens.diff()
    first = -starts + offsets
    shift = first.repeat_interleave(lengths)
    tokens = torch.arange(x.shape[0], device=x.device)
    # Padding after the last sequence is never looked at; position 0 will do.
    tail = x.shape[0] - shift.shape[0]
    return torch.cat([tokens[: shift.shape[0]] + shift, tokens.new_zeros(tail)])


def apply_rotary_emb_qkv_(
    qkv: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    cos_k: torch.Tensor | None = None,
    sin_k: torch.Tensor | None = None,
    interleaved: bool = False,
    seqlen_offsets: int | torch.Tensor = 0,
    num_heads_q: int | None = None,
) -> torch.Tensor:
    """Rotate query and key in place.

    qkv is (B, T, 3, H, D), or (B, T, H + 2G, D) with `num_heads_q` giving H.
    """
    if qkv.ndim == 5:
        q, k = qkv[:, :, 0], qkv[:, :, 1]
    elif num_heads_q is None:
        raise InputError("apply_rotary_emb_qkv_: heads in one dimension need num_heads_q")
    else:
        groups = (qkv.shape[2] - num_heads_q) // 2
        q, k = qkv[:, :, :num_heads_q], qkv[:, :, num_heads_q : num_heads_q + groups]
    apply_rotary_emb(q, cos, sin, interleaved, True, seqlen_offsets)
    cos_k, sin_k = cos if cos_k is None else cos_k, sin if sin_k is None else sin_k
    apply_rotary_emb(k, cos_k, sin_k, interleaved, True, seqlen_offsets)
    return qkv


def apply_rotary_emb_kv_(
    kv: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    interleaved: bool = False,
    seqlen_offsets: int | torch.Tensor = 0,
) -> torch.Tensor:
    """Rotate the key in kv (B, T, 2, G, D) in place."""
    apply_rotary_emb(kv[:, :, 0], cos, sin, interleaved, True, seqlen_offsets)
    return kv


def apply_rotary_emb_torch(
    x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool = False
) -> torch.Tensor:
    """flash_attn's plain form: x (B, T, H, D), cos and sin (T, R / 2)."""
    return apply_rotary_emb(x, cos[: x.shape[1]], sin[: x.shape[1]], interleaved)
