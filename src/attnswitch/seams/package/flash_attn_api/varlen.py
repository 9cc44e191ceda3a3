"""`flash_attn_varlen_func` and its packed forms: sequences laid end to end."""

from __future__ import annotations

from typing import Any

import torch

from attnswitch.errors import InputError
from attnswitch.seams.package.attention.call import (
    NO_WINDOW,
    AttentionCall,
    Packing,
    read_window,
)
from attnswitch.seams.package.attention.run import run
from attnswitch.seams.package.flash_attn_api.paged import gather_pages
from attnswitch.seams.package.flash_attn_api.returned import returned

Returned = torch.Tensor | tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def flash_attn_varlen_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = NO_WINDOW,
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
    block_table: torch.Tensor | None = None,
) -> Returned:
    """Attention of each sequence in q (N, H, D) over its own in k and v (M, G, D).

    Args:
        cu_seqlens_q, cu_seqlens_k: cumulative lengths from 0 on, one more than there are sequences.
            Rows after the last sequence are padding: they give zeros.
        max_seqlen_q, max_seqlen_k: the longest sequence. Only checked: a smaller one would make
            flash_attn leave rows out.
        block_table: pages of a paged cache, with k and v (pages, page size, G, D).

    Returns:
        (N, H, D); with `return_attn_probs` also the log-sum-exp (H, N) and an empty tensor.

    Raises:
        InputError: lengths or shapes that do not go together.
        UnavailableError: the backend in force cannot take the call.
    """
    name = "flash_attn_varlen_func"
    packing = read_packing(name, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
    if block_table is not None:
        k, v = (gather_pages(t, block_table, packing.key_ends) for t in (k, v))
    found = run(
        AttentionCall(
            function=name,
            query=q,
            key=k,
            value=v,
            dropout_p=dropout_p,
            scale=softmax_scale,
            causal=bool(causal),
            window=read_window(name, window_size),
            softcap=max(float(softcap), 0.0),
            alibi_slopes=alibi_slopes,
            packing=packing,
            need_lse=return_attn_probs,
        )
    )
    return returned(name, found, return_attn_probs, dropout_p)


def flash_attn_varlen_kvpacked_func(
    q: torch.Tensor, kv: torch.Tensor, *args: Any, **kwargs: Any
) -> Returned:
    """`flash_attn_varlen_func` with kv (M, 2, G, D)."""
    k, v = kv.unbind(dim=-3)
    return flash_attn_varlen_func(q, k, v, *args, **kwargs)


def flash_attn_varlen_qkvpacked_func(
    qkv: torch.Tensor, cu_seqlens: torch.Tensor, max_seqlen: int, *args: Any, **kwargs: Any
) -> Returned:
    """`flash_attn_varlen_func` with qkv (N, 3, H, D) and one set of lengths."""
    q, k, v = qkv.unbind(dim=-3)
    return flash_attn_varlen_func(
        q, k, v, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen, *args, **kwargs
    )


def read_packing(
    function: str,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
) -> Packing:
    """Where the sequences lie; InputError where the lengths contradict each other."""
    packing = Packing(tuple(cu_seqlens_q.tolist()), tuple(cu_seqlens_k.tolist()))
    for side, longest, given in zip(
        "qk", packing.longest(), (max_seqlen_q, max_seqlen_k), strict=True
    ):
        if int(given) < longest:
            raise InputError(
                f"{function}: max_seqlen_{side}={int(given)}, but a sequence has {longest} tokens"
            )
    return packing
