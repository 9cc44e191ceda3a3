"""An attention call whose answer is the yardstick's and whose backward is somebody else's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from attnswitch.backends import exact
from attnswitch.verification.attention_call import AttentionCall

# (call, upstream gradient [B, H, T, E]) -> gradients of query, key and value.
Backward = Callable[[AttentionCall, torch.Tensor], tuple[torch.Tensor, ...]]


class AnsweredBackward(torch.autograd.Function):
    """Forward: standard attention with fp32 scores. Backward: what `backward` returns."""

    @classmethod
    def answer(cls, call: AttentionCall, backward: Backward) -> torch.Tensor:
        """[B, H, T, E], connected to the graph of query, key and value."""
        return cls.apply(call.query, call.key, call.value, call, backward)

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        call: AttentionCall,
        backward: Backward,
    ) -> torch.Tensor:
        """The yardstick's answer."""
        ctx.save_for_backward(query, key, value)
        ctx.rest = (call.attn_mask, call.is_causal, call.scale)
        ctx.answer = backward
        return AttentionCall(query, key, value, *ctx.rest).carried_out_by(exact.yardstick)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        """Gradients of query, key and value."""
        call = AttentionCall(*ctx.saved_tensors, *ctx.rest)
        return (*ctx.answer(call, grad), None, None)
