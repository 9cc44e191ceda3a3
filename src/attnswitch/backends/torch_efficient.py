"""`efficient`: PyTorch's memory-efficient SDPA kernel (CUDA), called as a leaf operator."""

from __future__ import annotations

import torch

from attnswitch.errors import UnavailableError


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
    """Memory-efficient attention; shapes as in `attend_with`.

    Raises:
        UnavailableError: not on CUDA.
    """
    if query.device.type != "cuda":
        raise UnavailableError(
            "the memory-efficient kernel cannot take this attention call",
            reasons=[f"it runs on cuda, not on {query.device.type}"],
            remedy="Ask for 'standard'",
        )
    return on_cuda(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)


def on_cuda(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> torch.Tensor:
    """The leaf, with key-value heads repeated and the mask as it wants them."""
    groups = query.shape[-3] // key.shape[-3]
    if enable_gqa and groups > 1:
        key, value = (t.repeat_interleave(groups, dim=-3) for t in (key, value))
    bias = _bias(attn_mask, query, key)
    return torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, query.requires_grad, dropout_p, is_causal, scale=scale
    )[0]


def _bias(mask: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor | None:
    """An additive mask [B, H, T, S] with rows at multiples of 16 bytes, as the kernel asks."""
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, -torch.inf)
    columns = key.shape[-2]
    shape = (*query.shape[:-1], columns)
    padded = torch.nn.functional.pad(mask.to(query.dtype), (0, -columns % 16))
    return padded[..., :columns].expand(shape)
