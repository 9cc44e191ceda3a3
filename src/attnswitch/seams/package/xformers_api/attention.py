"""`xformers.ops.memory_efficient_attention`, computed by the backend in force."""

from __future__ import annotations

from typing import Any

import torch

from attnswitch.errors import InputError
from attnswitch.seams.package.attention.call import AttentionCall
from attnswitch.seams.package.attention.run import run
from attnswitch.seams.package.xformers_api.reading import meaning_of

NAME = "memory_efficient_attention"


def memory_efficient_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_bias: Any = None,
    p: float = 0.0,
    scale: float | None = None,
    *,
    op: Any = None,
    output_dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Attention of query over key and value, in xformers' layouts.

    Args:
        query: (B, T, H, D); (B, T, D) for one head; or (B, T, G, R, D) for R heads a group, with
            key and value repeated over R.
        key, value: (B, S, H, D) and (B, S, H, E), or as query.
        attn_bias: a tensor (B, H, T, S) added to the scores ((B, T, S) with three dimensions), or
            one of xformers' masks.
        p: dropout probability.
        scale: factor on QKᵀ, 1/√D if None.
        op: which of xformers' kernels to use; overruled by the request in force.
        output_dtype: dtype of the result, the query's if None.

    Returns:
        Query's shape with the width of value.

    Raises:
        InputError: shapes that do not go together.
        UnavailableError: a mask that is not implemented, or a call the backend cannot take.
    """
    if query.ndim not in (3, 4, 5):
        raise InputError(f"{NAME}: query must have 3, 4 or 5 dimensions, not {tuple(query.shape)}")
    shape = (*query.shape[:-1], value.shape[-1])
    meaning = _meaning(attn_bias, query.ndim)
    query, key, value = (_four_dimensions(t) for t in (query, key, value))
    if "packing" in meaning:
        if query.shape[0] != 1:
            raise InputError(
                f"{NAME}: {type(attn_bias).__name__} wants sequences laid end to end in a batch "
                f"of one, not {query.shape[0]}"
            )
        query, key, value = (t[0] for t in (query, key, value))
    found = run(
        AttentionCall(
            function=NAME, query=query, key=key, value=value, dropout_p=p, scale=scale, **meaning
        )
    )
    out = found.out.reshape(shape)
    return out if output_dtype is None else out.to(output_dtype)


def memory_efficient_attention_forward(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_bias: Any = None,
    p: float = 0.0,
    scale: float | None = None,
    *,
    op: Any = None,
    output_dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """`memory_efficient_attention` without a gradient."""
    with torch.no_grad():
        return memory_efficient_attention(
            query, key, value, attn_bias, p, scale, op=op, output_dtype=output_dtype
        )


def unbind(x: torch.Tensor, dim: int) -> tuple[torch.Tensor, ...]:
    """The slices of x along `dim`."""
    return torch.unbind(x, dim)


def _meaning(attn_bias: Any, dimensions: int) -> dict[str, Any]:
    if attn_bias is None:
        return {}
    if not torch.is_tensor(attn_bias):
        return meaning_of(attn_bias)
    if attn_bias.ndim == 3 and dimensions == 3:
        return {"bias": attn_bias.unsqueeze(1)}
    if attn_bias.ndim == 5:
        return {"bias": attn_bias.flatten(1, 2)}
    return {"bias": attn_bias}


def _four_dimensions(x: torch.Tensor) -> torch.Tensor:
    """(B, T, D) and (B, T, G, R, D) as (B, T, heads, D)."""
    if x.ndim == 3:
        return x.unsqueeze(2)
    return x.flatten(2, 3) if x.ndim == 5 else x
