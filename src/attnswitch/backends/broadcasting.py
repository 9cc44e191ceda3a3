"""Batch and head dimensions of one, broadcast as PyTorch's scaled_dot_product_attention does.

A kernel that takes its sizes from the query and is given keys of another batch size reads whatever
lies beyond them; so what calls a kernel comes through here first.
"""

from __future__ import annotations

import torch

Three = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def broadcast(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, enable_gqa: bool
) -> Three:
    """query [B, H, T, D], key [B, G, S, D], value [B, G, S, E] with one B and, unless
    `enable_gqa`, one H: views, nothing is copied. What does not broadcast is returned as it is."""
    for dim in (0,) if enable_gqa else (0, 1):
        q, k, v = query.shape[dim], key.shape[dim], value.shape[dim]
        if q == k == v:  # compared, not collected: under torch.compile these are symbols
            continue
        size = q if q != 1 else k if k != 1 else v
        if all(n == 1 or n == size for n in (q, k, v)):
            query, key, value = (_expanded(t, dim, size) for t in (query, key, value))
    return query, key, value


def _expanded(tensor: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    return tensor.expand(*tensor.shape[:dim], size, *tensor.shape[dim + 1 :])
