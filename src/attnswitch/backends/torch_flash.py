"""`flash`: PyTorch's FlashAttention kernel, called as the leaf operator that runs it.

On a CPU that is `aten::_scaled_dot_product_flash_attention_for_cpu`, on CUDA
`aten::_scaled_dot_product_flash_attention`. A call that the kernel cannot take is an error with
every reason; nothing falls back.
"""

from __future__ import annotations

import torch

from attnswitch.backends.broadcasting import broadcast
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
    """FlashAttention in the query's dtype; shapes as in `attend_with`.

    Raises:
        UnavailableError: the kernel cannot take this call; nothing was computed.
    """
    if query.ndim == 3:
        out = attend(
            query[None], key[None], value[None], attn_mask, dropout_p, is_causal,
            scale=scale, enable_gqa=enable_gqa,
        )  # fmt: skip
        return out[0]
    if query.ndim == key.ndim == value.ndim == 4:
        query, key, value = broadcast(query, key, value, enable_gqa)
    reasons = _refusals(query, key, value, attn_mask, dropout_p, enable_gqa)
    if reasons:
        raise UnavailableError(
            "FlashAttention cannot take this attention call",
            reasons=reasons,
            remedy="Ask for 'standard' here, or for 'auto' to leave the choice to the project",
        )
    if 0 in query.shape or key.shape[-2] == 0:
        return query.new_zeros(*query.shape[:-1], value.shape[-1])
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    wanted = value.shape[-1]
    query, key, value = (
        t if t.stride(-1) == 1 else t.contiguous() for t in _of_one_width(query, key, value)
    )
    if query.device.type == "cpu":
        out = on_cpu(query, key, value, attn_mask, is_causal, scale)
    else:
        out = on_cuda(query, key, value, dropout_p, is_causal, scale)
    return out if out.shape[-1] == wanted else out[..., :wanted]


def _of_one_width(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The kernel knows one width. Zeros change no score, and what they add to the values is cut
    off afterwards; so DeepSeek's latent attention, whose values are narrower, fits too."""
    widest = max(query.shape[-1], value.shape[-1])
    query, key, value = (
        t if t.shape[-1] == widest else torch.nn.functional.pad(t, (0, widest - t.shape[-1]))
        for t in (query, key, value)
    )
    return query, key, value


def _refusals(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None,
    dropout_p: float,
    enable_gqa: bool,
) -> list[str]:
    reasons = []
    device = query.device.type
    if device not in ("cpu", "cuda"):
        reasons.append(f"there is no FlashAttention kernel for {device}")
    if query.ndim != 4 or key.ndim != 4 or value.ndim != 4:
        reasons.append(f"it takes [batch, heads, tokens, width], not {query.ndim} dimensions")
    if not query.shape[0] == key.shape[0] == value.shape[0]:
        sizes = ", ".join(str(t.shape[0]) for t in (query, key, value))
        reasons.append(f"the batch sizes of query, key and value differ ({sizes})")
    if not enable_gqa and query.shape[-3] != key.shape[-3]:
        reasons.append(f"{query.shape[-3]} query heads, {key.shape[-3]} key heads")
    if device == "cpu" and dropout_p:
        reasons.append("it has no dropout on a CPU")
    if device == "cpu" and attn_mask is not None and attn_mask.requires_grad:
        reasons.append("it has no gradient for the mask")
    if device == "cuda" and attn_mask is not None:
        reasons.append("it takes no attention mask on CUDA")
    if device == "cuda" and query.dtype not in (torch.float16, torch.bfloat16):
        reasons.append(f"it takes float16 and bfloat16 on CUDA, not {query.dtype}")
    return reasons


def on_cpu(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None,
    is_causal: bool,
    scale: float | None,
) -> torch.Tensor:
    """The CPU's leaf, which takes an additive mask; shapes as in `attend_with`."""
    if attn_mask is not None:
        attn_mask = _additive(attn_mask, query.dtype)
        if attn_mask.ndim == 3:  # [H, T, S]: dimensions are added in front, as in SDPA
            attn_mask = attn_mask.unsqueeze(0)
        elif attn_mask.ndim < 2:
            attn_mask = attn_mask.expand(query.shape[-2], key.shape[-2])
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=scale
    )[0]


def _additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The mask as the kernel wants it: added to the scores, in the query's dtype."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    zeros = torch.zeros((), dtype=dtype, device=mask.device)
    return torch.where(mask, zeros, torch.full_like(zeros, -torch.inf))


def on_cuda(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
) -> torch.Tensor:
    """The CUDA leaf wants a width that is a multiple of 8 and repeated key heads."""
    width = query.shape[-1]
    scale = width**-0.5 if scale is None else scale
    groups = query.shape[-3] // key.shape[-3]
    if groups > 1:
        key, value = (t.repeat_interleave(groups, dim=-3) for t in (key, value))
    spare = -width % 8
    if spare:
        query, key, value = (torch.nn.functional.pad(t, (0, spare)) for t in (query, key, value))
    out = torch.ops.aten._scaled_dot_product_flash_attention(
        query, key, value, dropout_p, is_causal, False, scale=scale
    )[0]
    return out[..., :width]
