"""The registered operators ``attnswitch::blockwise`` and ``attnswitch::blockwise_backward``.

They are defined with ``torch.library.Library``, which every supported PyTorch has, and by which a
call costs less than by ``torch.library.custom_op``. Kernels are registered for every device at
once, the shape rule as the Meta kernel (fake tensors use it too), the gradient as the Autograd
kernel.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from attnswitch.backends.query_blocks.autocast import without_autocast
from attnswitch.backends.query_blocks.backward import Backward
from attnswitch.backends.query_blocks.block_size import choose_block_size, choose_workers
from attnswitch.backends.query_blocks.decode import decode, is_direct
from attnswitch.backends.query_blocks.flop_formula import register_flop_formulas
from attnswitch.backends.query_blocks.forward import Forward
from attnswitch.backends.query_blocks.planning import make_plan
from attnswitch.backends.query_blocks.scores import ScoreRule
from attnswitch.backends.query_blocks.settings import Settings

_SETTINGS = (
    "float dropout_p, bool is_causal, bool bottom_right, float scale, float softcap, "
    "int window_left, int window_right, int block_rows, bool keep_plan"
)
_INPUTS = (
    "Tensor query, Tensor key, Tensor value, Tensor? attn_mask, Tensor? alibi_slopes, "
    "Tensor? cu_rows, Tensor? cu_keys"
)
_library = torch.library.Library("attnswitch", "DEF")
# Dropout draws a seed: equal calls in one graph must not be merged.
_library.define(
    f"blockwise({_INPUTS}, {_SETTINGS}, bool need_lse) -> (Tensor, Tensor, Tensor)",
    tags=(torch.Tag.nondeterministic_seeded,),
)
_library.define(
    f"blockwise_backward(Tensor grad, Tensor seed, {_INPUTS}, {_SETTINGS}, "
    "bool need_mask_grad) -> (Tensor, Tensor, Tensor, Tensor)"
)
_forward_op = torch.ops.attnswitch.blockwise.default
_backward_op = torch.ops.attnswitch.blockwise_backward.default
_INPUT_COUNT = 7


def _empty_outputs(query, key, value, need_lse, dropout_p):
    B, H, T, _ = query.shape
    out = query.new_empty((B, T, H, value.shape[-1])).transpose(1, 2)
    lse = query.new_empty((B, H, T) if need_lse else (0,), dtype=torch.float32)
    seed = query.new_empty((1 if dropout_p else 0,), dtype=torch.int64)
    return out, lse, seed


def _group(tensor: torch.Tensor | None, groups: int) -> torch.Tensor | None:
    """Split the head dimension of a mask (B, H or 1, T, S) or slopes (B, H) into (G, R)."""
    if tensor is None:
        return None
    heads = tensor.shape[1]
    return tensor.unflatten(1, (groups, heads // groups) if heads > 1 else (1, 1))


def _blockwise(query, key, value, mask, slopes, cu_rows, cu_keys, *rest):
    settings, need_lse = Settings(*rest[:-1]), rest[-1]
    out, lse, seed = _empty_outputs(query, key, value, need_lse, settings.dropout_p)
    if out.numel() == 0 or key.shape[2] == 0:
        return out.zero_(), lse.fill_(-math.inf), seed.zero_()
    if settings.dropout_p:
        seed.random_()
    groups = key.shape[1]
    if is_direct(query, key, slopes, cu_rows, settings, need_lse):
        with torch.inference_mode(), without_autocast(query.device.type):
            decode(query, key, value, _group(mask, groups), settings.scale, out)
        return out, lse, seed
    # Dropout is drawn block by block, so the backward pass must meet the same blocks.
    size = choose_block_size(query, key, settings.block_rows, whole_rows=settings.dropout_p > 0)
    plan = make_plan(query, key, mask, cu_rows, cu_keys, settings, size)
    rule = ScoreRule(_group(mask, groups), _group(slopes, groups), settings.softcap)
    with without_autocast(query.device.type):
        Forward(
            query, key, value, rule, settings, out, lse if need_lse else None,
            int(seed) if settings.dropout_p else None,
        ).run(plan, size, choose_workers(query, key))  # fmt: skip
    return out, lse, seed


def _blockwise_backward(grad, seed, query, key, value, mask, slopes, cu_rows, cu_keys, *rest):
    settings, need_mask_grad = Settings(*rest[:-1]), rest[-1]
    mask_grad = _empty_mask_grad(mask if need_mask_grad else None, query)
    if grad.numel() == 0 or key.shape[2] == 0:
        return (*(torch.zeros_like(t) for t in (query, key, value)), mask_grad)
    groups = key.shape[1]
    size = choose_block_size(query, key, settings.block_rows, whole_rows=True)
    plan = make_plan(query, key, mask, cu_rows, cu_keys, settings, size)
    rule = ScoreRule(_group(mask, groups), _group(slopes, groups), settings.softcap)
    with without_autocast(query.device.type):
        grads = Backward(
            grad, query, key, value, rule, settings,
            int(seed) if settings.dropout_p else None,
            _group(mask_grad, groups) if need_mask_grad else None,
        ).run(plan, size, choose_workers(query, key))  # fmt: skip
    return (*grads, mask_grad)


def _empty_mask_grad(mask: torch.Tensor | None, query: torch.Tensor) -> torch.Tensor:
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    return query.new_zeros((0,) if mask is None else mask.shape, dtype=dtype)


def _blockwise_meta(query, key, value, *rest):
    return _empty_outputs(query, key, value, rest[-1], rest[4])


def _backward_meta(grad, seed, query, key, value, mask, *rest):
    mask_grad = _empty_mask_grad(mask if rest[-1] else None, query)
    return (*(torch.empty_like(t) for t in (query, key, value)), mask_grad)


class _Blockwise(torch.autograd.Function):
    @staticmethod
    def forward(*args: Any) -> tuple[torch.Tensor, ...]:
        with torch._C._AutoDispatchBelowAutograd():
            return _forward_op(*args)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        _, lse, seed = output
        ctx.save_for_backward(seed, *inputs[:_INPUT_COUNT])
        ctx.settings = inputs[_INPUT_COUNT:-1]
        ctx.mark_non_differentiable(lse, seed)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor, *_: Any) -> tuple[Any, ...]:
        seed, *inputs = ctx.saved_tensors
        need_mask_grad = ctx.needs_input_grad[3]
        grads = _FirstDerivative.apply(grad, seed, *inputs, *ctx.settings, need_mask_grad)
        mask_grad = grads[3].to(inputs[3].dtype) if need_mask_grad else None
        return (*grads[:3], mask_grad, *(None,) * (4 + len(ctx.settings)))


class _FirstDerivative(torch.autograd.Function):
    """The backward operator; differentiating it once more is an error, not a wrong number."""

    @staticmethod
    def forward(*args: Any) -> tuple[torch.Tensor, ...]:
        with torch._C._AutoDispatchBelowAutograd():
            return _backward_op(*args)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        """Nothing is kept: there is no second derivative."""

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(
            "attnswitch::blockwise has no second derivative. Use the backend `math` "
            "(torch.nn.attention.sdpa_kernel(SDPBackend.MATH)) where one is needed."
        )


def _blockwise_autograd(*args):
    if torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in args[:_INPUT_COUNT]
    ):
        return _Blockwise.apply(*args)
    with torch._C._AutoDispatchBelowAutograd():
        return _forward_op(*args)


def _backward_autograd(*args):
    return _FirstDerivative.apply(*args)


_library.impl("blockwise", _blockwise, "CompositeExplicitAutograd")
_library.impl("blockwise", _blockwise_meta, "Meta")
_library.impl("blockwise", _blockwise_autograd, "Autograd")
_library.impl("blockwise_backward", _blockwise_backward, "CompositeExplicitAutograd")
_library.impl("blockwise_backward", _backward_meta, "Meta")
_library.impl("blockwise_backward", _backward_autograd, "Autograd")
register_flop_formulas()

blockwise_op = _forward_op
