"""`math`: PyTorch's own SDPA math kernel, called as a leaf so that it cannot be rerouted."""

from __future__ import annotations

import torch


def attend(
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
    """Standard attention; half-precision inputs are computed in fp32 inside (PyTorch's default).

    Shapes as in `attend_with`; memory grows with T·S.
    """
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        # The leaf adds whatever it gets: a boolean mask would hide nothing.
        zeros = torch.zeros((), dtype=query.dtype, device=query.device)
        attn_mask = torch.where(attn_mask, zeros, torch.full_like(zeros, -torch.inf))
    extra = {"enable_gqa": True} if enable_gqa else {}
    return torch.ops.aten._scaled_dot_product_attention_math(
        query, key, value, attn_mask, dropout_p, is_causal, None, scale=scale, **extra
    )[0]
