"""What these tests look with: torch's profiler, read by hand, and one small attention call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

FLASH = "aten::_scaled_dot_product_flash_attention_for_cpu"
FLASH_BACKWARD = FLASH + "_backward"
MATH = "aten::_scaled_dot_product_attention_math"
BLOCKWISE = "attnswitch::blockwise"
BLOCKWISE_BACKWARD = "attnswitch::blockwise_backward"
FAST_PATH = ("aten::_native_multi_head_attention", "aten::_transformer_encoder_layer_fwd")
_TOLD = {FLASH, FLASH_BACKWARD, MATH, BLOCKWISE, BLOCKWISE_BACKWARD, *FAST_PATH}


def kernels(call: Callable[..., Any], *args: Any) -> set[str]:
    """The attention operators that run while `call(*args)` does."""
    with torch.profiler.profile() as profiler:
        call(*args)
    return {event.name for event in profiler.events()} & _TOLD


def query() -> torch.Tensor:
    """[batch 2, heads 2, tokens 8, width 16], needing a gradient."""
    return torch.randn(2, 2, 8, 16, requires_grad=True)


def attend(q: torch.Tensor) -> torch.Tensor:
    """Self attention through PyTorch's function, looked up at each call."""
    return functional.scaled_dot_product_attention(q, q, q)
