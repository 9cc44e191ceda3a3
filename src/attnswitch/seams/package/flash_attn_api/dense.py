"""`flash_attn_func` and its packed forms: batches of equal length.

Signatures and returned shapes follow flash_attn 2.8. `deterministic` changes nothing: our backends'
gradients are deterministic in any case.
"""

from __future__ import annotations

from typing import Any

import torch

from attnswitch.seams.package.attention.call import NO_WINDOW, AttentionCall, read_window
from attnswitch.seams.package.attention.run import run
from attnswitch.seams.package.flash_attn_api.returned import returned

Returned = torch.Tensor | tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def flash_attn_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = NO_WINDOW,
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Returned:
    """Attention of q (B, T, H, D) over k and v (B, S, G, D), G dividing H.

    `causal` and `window_size` count from the bottom right corner; rows that see no key are zero.
    float32 and float64 are taken too. Returns (B, T, H, D); with `return_attn_probs` also the
    log-sum-exp (B, H, T) in fp32 and an empty tensor.

    Raises:
        InputError: shapes or values that do not go together.
        UnavailableError: the backend in force cannot take the call.
    """
    name = "flash_attn_func"
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
            need_lse=return_attn_probs,
        )
    )
    return returned(name, found, return_attn_probs, dropout_p)


def flash_attn_kvpacked_func(
    q: torch.Tensor, kv: torch.Tensor, *args: Any, **kwargs: Any
) -> Returned:
    """`flash_attn_func` with kv (B, S, 2, G, D)."""
    k, v = kv.unbind(dim=-3)
    return flash_attn_func(q, k, v, *args, **kwargs)


def flash_attn_qkvpacked_func(qkv: torch.Tensor, *args: Any, **kwargs: Any) -> Returned:
    """`flash_attn_func` with qkv (B, T, 3, H, D)."""
    q, k, v = qkv.unbind(dim=-3)
    return flash_attn_func(q, k, v, *args, **kwargs)
