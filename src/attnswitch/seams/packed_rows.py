"""Rows in which several sequences are packed, for a site whose backend `apply` chose.

transformers hands the lengths on as keywords (`FlashAttentionKwargs`), which its SDPA function
ignores: it would attend across the sequences where no mask keeps them apart.
"""

from __future__ import annotations

from typing import Any

import torch

from attnswitch.seams.package.attention.call import NO_WINDOW, AttentionCall, Packing
from attnswitch.seams.package.attention.run import run_by


def attend(
    backend: str,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    asked: dict[str, Any],
    given: dict[str, Any],
) -> torch.Tensor:
    """Attention of each sequence over its own, in one row; [B, H, T, D] in, [B, T, H, E] out.

    `asked` are fields of the call (causal, dropout_p, scale); `given` transformers' keywords:
    `cu_seq_lens_q` and `cu_seq_lens_k`, cumulative lengths from 0 on, and `sliding_window`.

    Raises:
        InputError: the lengths do not fit the row.
        UnavailableError: the backend cannot take the call.
    """
    ends = given["cu_seq_lens_q"], given.get("cu_seq_lens_k", given["cu_seq_lens_q"])
    q, k, v = (t.transpose(1, 2).flatten(0, 1) for t in (query, key, value))
    window = given.get("sliding_window")
    call = AttentionCall(
        "scaled_dot_product_attention", q, k, v, **asked,
        window=NO_WINDOW if window is None else (window - 1, window - 1),
        packing=Packing(*(tuple(lengths.tolist()) for lengths in ends)),
    )  # fmt: skip
    return run_by(backend, call).out.unflatten(0, (query.shape[0], -1))
