"""How PyTorch's FLOP counter (torch.utils.flop_counter) counts `blockwise`: as it counts SDPA.

Two products forward; five backward, of which one computes the scores again. Each is taken to be of
every query row with every key of its own sequence: what a causal mask or a window spares is
counted, as the counter does for FlashAttention.
"""

from __future__ import annotations

from typing import Any

import torch


def register_flop_formulas() -> None:
    """Tell the counter, where this PyTorch has one that can be told."""
    try:
        from torch.utils.flop_counter import register_flop_formula
    except ImportError:
        return
    operators = torch.ops.attnswitch
    register_flop_formula(operators.blockwise, get_raw=True)(_forward)
    register_flop_formula(operators.blockwise_backward, get_raw=True)(_backward)


def _forward(*args: Any, out_val: Any = None, **kwargs: Any) -> int:
    query, key, value = args[:3]
    return _products(query, key, value, args[5], args[6], key_products=1, value_products=1)


def _backward(*args: Any, out_val: Any = None, **kwargs: Any) -> int:
    query, key, value = args[2:5]
    return _products(query, key, value, args[7], args[8], key_products=3, value_products=2)


def _products(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_rows: torch.Tensor | None,
    cu_keys: torch.Tensor | None,
    *,
    key_products: int,
    value_products: int,
) -> int:
    """FLOPs of products over the width of keys and over that of values, two a multiply-add."""
    B, H, T, D = query.shape
    scores = T * key.shape[2]
    if cu_rows is not None and cu_keys is not None and cu_rows.device.type != "meta":
        rows, keys = cu_rows.diff().tolist(), cu_keys.diff().tolist()
        scores = sum(a * b for a, b in zip(rows, keys, strict=True))
    width = key_products * D + value_products * value.shape[3]
    return 2 * B * H * scores * width
