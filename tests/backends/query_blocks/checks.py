"""The one check that every implementation under test goes through, right or planted wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .plain import attention

# Largest error against float64, for values of order one: fp32 sums of some hundred terms; half
# precision rounds the output once (2⁻⁸ and 2⁻¹¹ of values up to about 4).
TOLERANCE = {
    torch.float64: 1e-10,
    torch.float32: 3e-5,
    torch.bfloat16: 2e-2,
    torch.float16: 3e-3,
}


def inputs(
    batch: int = 2,
    heads: int = 4,
    groups: int | None = None,
    rows: int = 37,
    keys: int | None = None,
    width: int = 8,
    value_width: int | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> list[torch.Tensor]:
    """Return query, key and value; values lie around 3, so that a forgotten key shows."""
    generator = torch.Generator().manual_seed(seed)
    groups = heads if groups is None else groups
    keys = rows if keys is None else keys
    query = torch.randn(batch, heads, rows, width, generator=generator)
    key = torch.randn(batch, groups, keys, width, generator=generator)
    value = torch.randn(batch, groups, keys, value_width or width, generator=generator)
    value[:, :, :: max(1, keys // 7)] += 3
    return [t.to(dtype) for t in (query, key, value)]


def check_forward(
    function: Callable[..., torch.Tensor], tensors: list[torch.Tensor], **arguments: Any
) -> None:
    """Assert that ``function`` agrees with plain float64 attention."""
    out = function(*tensors, enable_gqa=True, **arguments)
    arguments.pop("block_rows", None)
    expected = attention(*tensors, **arguments)
    assert out.dtype == tensors[0].dtype
    assert out.shape == expected.shape
    difference = (out.double() - expected).abs()
    assert not difference.isnan().any(), "NaN in the output"
    limit = TOLERANCE[out.dtype] * max(1.0, expected.abs().max().item() if out.numel() else 1.0)
    worst = difference.max().item() if out.numel() else 0.0
    assert worst <= limit, f"largest error {worst:.3g}, allowed {limit:.3g}"


def check_backward(
    function: Callable[..., torch.Tensor], tensors: list[torch.Tensor], **arguments: Any
) -> None:
    """Assert that the gradients agree with autograd through plain float64 attention."""
    mine = [t.detach().clone().requires_grad_() for t in tensors]
    plain = [t.detach().double().requires_grad_() for t in tensors]
    out = function(*mine, enable_gqa=True, **arguments)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    out.backward(upstream.to(out.dtype))
    arguments.pop("block_rows", None)
    attention(*plain, **arguments).backward(upstream.to(out.dtype).double())
    for name, a, b in zip(("query", "key", "value"), mine, plain, strict=True):
        assert a.grad is not None and b.grad is not None
        assert not a.grad.isnan().any(), f"NaN in the gradient of {name}"
        worst = (a.grad.double() - b.grad).abs().max().item() if a.numel() else 0.0
        scale = max(1.0, b.grad.abs().max().item() if a.numel() else 1.0)
        limit = 4 * TOLERANCE[out.dtype] * scale
        assert worst <= limit, f"gradient of {name}: largest error {worst:.3g}, allowed {limit:.3g}"
