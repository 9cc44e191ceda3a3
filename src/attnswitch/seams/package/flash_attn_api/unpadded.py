"""The names of flash_attn 1.x: `flash_attn_unpadded_func` and its packed forms.

They differ from their `varlen` successors in three ways, which hold here too: dropout is not
optional, `causal` is aligned top-left (2.1 changed it), and the log-sum-exp is padded.
"""

from __future__ import annotations

from typing import Any

import torch

from attnswitch.seams.package.attention.call import AttentionCall, AttentionResult, Packing
from attnswitch.seams.package.attention.run import run
from attnswitch.seams.package.flash_attn_api.returned import returned
from attnswitch.seams.package.flash_attn_api.varlen import Returned, read_packing


def flash_attn_unpadded_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float,
    softmax_scale: float | None = None,
    causal: bool = False,
    return_attn_probs: bool = False,
    deterministic: bool = False,
) -> Returned:
    """Attention of each sequence in q (N, H, D) over its own in k and v (M, H, D).

    Returns (N, H, D); with `return_attn_probs` also the log-sum-exp (B, H, max_seqlen_q) and an
    empty tensor. Raises as `flash_attn_varlen_func` does.
    """
    name = "flash_attn_unpadded_func"
    packing = read_packing(name, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
    found = run(
        AttentionCall(
            function=name,
            query=q,
            key=k,
            value=v,
            dropout_p=dropout_p,
            scale=softmax_scale,
            causal=bool(causal),
            alignment="top-left",
            packing=packing,
            need_lse=return_attn_probs,
        )
    )
    if found.lse is not None:
        found = AttentionResult(found.out, _padded(found.lse, packing, int(max_seqlen_q)))
    return returned(name, found, return_attn_probs, dropout_p)


def _padded(lse_HN: torch.Tensor, packing: Packing, longest: int) -> torch.Tensor:
    """(H, N) laid out as (B, H, longest), infinite where there is no row."""
    spans = packing.spans()
    padded = lse_HN.new_full((len(spans), lse_HN.shape[0], longest), torch.inf)
    for number, (rows, _) in enumerate(spans):
        padded[number, :, : rows.stop - rows.start] = lse_HN[:, rows]
    return padded


def flash_attn_unpadded_kvpacked_func(
    q: torch.Tensor, kv: torch.Tensor, *args: Any, **kwargs: Any
) -> Returned:
    """`flash_attn_unpadded_func` with kv (M, 2, H, D)."""
    k, v = kv.unbind(dim=-3)
    return flash_attn_unpadded_func(q, k, v, *args, **kwargs)


def flash_attn_unpadded_qkvpacked_func(
    qkv: torch.Tensor, cu_seqlens: torch.Tensor, max_seqlen: int, *args: Any, **kwargs: Any
) -> Returned:
    """`flash_attn_unpadded_func` with qkv (N, 3, H, D) and one set of lengths."""
    q, k, v = qkv.unbind(dim=-3)
    return flash_attn_unpadded_func(
        q, k, v, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen, *args, **kwargs
    )
