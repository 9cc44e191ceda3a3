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
        return cls.apply(call.query, call.key, call.value, call.attn_mask, call, backward)

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        call: AttentionCall,
        backward: Backward,
    ) -> torch.Tensor:
        """The yardstick's answer."""
        ctx.save_for_backward(query, key, value, mask)
        ctx.rest = (call.is_causal, call.scale)
        ctx.answer = backward
        return AttentionCall(query, key, value, mask, *ctx.rest).carried_out_by(exact.yardstick)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        """Gradients of query, key and value, and of a mask that is learned."""
        call = AttentionCall(*ctx.saved_tensors, *ctx.rest)
        mask_grad = _of_mask(call, grad) if ctx.needs_input_grad[3] else None
        return (*ctx.answer(call, grad), mask_grad, None, None)


def _of_mask(call: AttentionCall, grad: torch.Tensor) -> torch.Tensor:
    """The yardstick's gradient of an additive mask, such as relative positions."""
    assert call.attn_mask is not None
    with torch.enable_grad():
        mask = call.attn_mask.detach().requires_grad_()
        query, key, value = (t.detach() for t in (call.query, call.key, call.value))
        fresh = AttentionCall(query, key, value, mask, call.is_causal, call.scale)
        out = fresh.carried_out_by(exact.yardstick)
        return torch.autograd.grad(out, mask, grad.to(out.dtype))[0]
