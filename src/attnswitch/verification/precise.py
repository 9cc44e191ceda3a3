"""The reference of propagated error: the whole model, one precision up, attention in float64.

Propagated error asks what rounding in attention has piled up to in the outputs. Were the rest of
the model left in bfloat16, its own rounding would swallow the yardstick's error (it was exactly
nothing for every LLaVA-family class tried), and no other implementation could be within twice of
nothing. So the reference keeps the weights as they are and computes everything more precisely:
float32 for a half-precision model, float64 for a float32 one, as FlashAttention's own tests
compare a half-precision kernel with the same formula upcast.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

_ONE_UP = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float64,
    torch.float64: torch.float64,
}


@contextmanager
def one_precision_up(model: Any) -> Iterator[torch.dtype]:
    """Compute with the same weights in the next higher precision inside the block.

    Yields the dtype of the computation. Parameters and floating-point buffers are exchanged for
    upcast copies and put back, the very same tensors, afterwards; peak memory is three times that
    of a half- or single-precision model's weights.
    """
    before = {id(p): (p, p.data) for p in model.parameters() if p.is_floating_point()}
    buffers = {id(b): (b, b.data) for b in model.buffers() if b.is_floating_point()}
    up = _ONE_UP.get(getattr(model, "dtype", torch.float32), torch.float64)
    tensors = [*before.values(), *buffers.values()]
    try:
        for tensor, data in tensors:
            tensor.data = data.to(up)
        yield up
    finally:
        for tensor, data in tensors:
            tensor.data = data


def upcast(inputs: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The inputs with their floating-point tensors in `dtype`."""
    return {
        name: value.to(dtype)
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for name, value in inputs.items()
    }
