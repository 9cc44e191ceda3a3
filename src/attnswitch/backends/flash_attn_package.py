"""`flash_attn`: the flash-attn package (CUDA), called through its public function."""

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
    """FlashAttention from the flash-attn package; shapes as in `attend_with`.

    Raises:
        UnavailableError: the package is missing or broken, or the call is one it cannot take.
    """
    reasons = []
    if query.device.type != "cuda":
        reasons.append(f"it runs on cuda, not on {query.device.type}")
    if query.dtype not in (torch.float16, torch.bfloat16):
        reasons.append(f"it takes float16 and bfloat16, not {query.dtype}")
    if attn_mask is not None:
        reasons.append("it takes no attention mask")
    if is_causal and query.shape[-2] != key.shape[-2]:
        # flash-attn >= 2.1 aligns its causal triangle bottom-right, SDPA top-left.
        reasons.append(
            "its causal alignment differs from SDPA's where query and key lengths differ"
        )
    try:
        from flash_attn import flash_attn_func
    except Exception as error:
        reasons.append(f"flash_attn does not import: {error}")
    if reasons:
        raise UnavailableError(
            "flash-attn cannot take this attention call", reasons=reasons, remedy="Ask for 'flash'"
        )
    q_BTHD, k_BSGD, v_BSGE = (t.transpose(1, 2) for t in (query, key, value))
    out_BTHE = flash_attn_func(
        q_BTHD, k_BSGD, v_BSGE, dropout_p=dropout_p, softmax_scale=scale, causal=is_causal
    )
    return out_BTHE.transpose(1, 2)
