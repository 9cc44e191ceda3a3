"""The implementations that are timed against each other, each as one function of a case."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (everybody's name for it)
from attention_shapes import Case
from torch.nn.attention import SDPBackend, sdpa_kernel

from attnswitch.backends import blockwise

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
# eager and math keep all scores, several times over: above this many they are left out, saying so.
MOST_SCORES = 14 * 7290**2
BACKWARD_SCORES = 32 * 2880**2


def contenders(case: Case, backward: bool) -> tuple[dict[str, Attend], dict[str, str]]:
    """Return the functions that can run a case, and why each of the others cannot."""
    left_out: dict[str, str] = {}
    found: dict[str, Attend] = {"flash": _flash(case), "blockwise": _blockwise(case)}
    limit = BACKWARD_SCORES if backward else MOST_SCORES
    if case.score_elements <= limit:
        found |= {"math": _math(case), "eager": _eager(case)}
    else:
        reason = reason_for_size(case)
        left_out |= {"math": reason, "eager": reason}
    for name, make in (
        ("memory-efficient-attention-pytorch", _memory_efficient),
        ("noflash-attention", _noflash),
    ):
        try:
            attend = make(case)
        except ImportError as error:
            left_out[name] = f"not installed ({error})"
            continue
        if attend is None:
            left_out[name] = f"takes no {case.mask} mask of this form"
        elif case.score_elements > limit:
            left_out[name] = f"{case.score_elements:,} scores take it minutes a call"
        else:
            found[name] = attend
    return found, left_out


def reason_for_size(case: Case) -> str:
    """Say why a contender that keeps all scores is not run."""
    return f"{case.score_elements:,} scores kept at once do not fit this benchmark's memory"


def _repeat(tensor: torch.Tensor, case: Case) -> torch.Tensor:
    """Repeat key-value heads as transformers' repeat_kv does: a copy, part of the cost."""
    repeats = case.heads // case.groups
    return tensor if repeats == 1 else tensor.repeat_interleave(repeats, 1)


def _flash(case: Case) -> Attend:
    """SDPA as transformers calls it, with PyTorch's FlashAttention kernel forced."""
    mask, causal = case.bool_mask(), case.mask == "causal"

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return F.scaled_dot_product_attention(
                q, _repeat(k, case), _repeat(v, case), mask, is_causal=causal
            )

    return attend


def _math(case: Case) -> Attend:
    mask, causal = case.bool_mask(), case.mask == "causal"

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(
                q, _repeat(k, case), _repeat(v, case), mask, is_causal=causal
            )

    return attend


def _blockwise(case: Case) -> Attend:
    mask, causal = case.bool_mask(), case.mask == "causal"

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return blockwise(q, k, v, mask, is_causal=causal, enable_gqa=True)

    return attend


def _eager(case: Case) -> Attend:
    """matmul, softmax, matmul, in the order and the dtypes of transformers' eager attention."""
    mask = case.bool_mask()
    if case.mask == "causal":
        index = torch.arange(case.tokens)
        mask = (index[:, None] >= index[None, :])[None, None]
    additive: dict[torch.dtype, torch.Tensor] = {}

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        scores = torch.matmul(q, _repeat(k, case).transpose(2, 3)) * (1 / math.sqrt(case.width))
        if mask is not None:
            if q.dtype not in additive:
                low = torch.finfo(q.dtype).min
                additive[q.dtype] = torch.zeros(mask.shape, dtype=q.dtype).masked_fill_(~mask, low)
            scores = scores + additive[q.dtype]
        weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
        return torch.matmul(weights, _repeat(v, case)).transpose(1, 2).contiguous().transpose(1, 2)

    return attend


def _memory_efficient(case: Case) -> Attend | None:
    from memory_efficient_attention_pytorch.memory_efficient_attention import (
        memory_efficient_attention,
    )

    if case.mask not in ("full", "causal"):
        return None

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        repeated: Any = _repeat(k, case), _repeat(v, case)
        return memory_efficient_attention(q, *repeated, causal=case.mask == "causal")

    return attend


def _noflash(case: Case) -> Attend | None:
    from noflash_attention.patch import chunked_sdpa

    mask, causal = case.bool_mask(), case.mask == "causal"

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return chunked_sdpa(q, k, v, attn_mask=mask, is_causal=causal)

    return attend
