"""Calls carried out by backends with the signature of PyTorch's scaled_dot_product_attention.

What they do not know (bottom-right alignment, windows, ALiBi) is written out as a mask of T·S
elements; what no mask can say is an error that names it. Packed batches go one sequence at a time.
"""

from __future__ import annotations

from functools import partial

import torch

from attnswitch.backends import attend_with
from attnswitch.errors import UnavailableError
from attnswitch.seams.package.attention import bands, sequences
from attnswitch.seams.package.attention.call import AttentionCall, AttentionResult
from attnswitch.seams.package.attention.log_sum_exp import log_sum_exp


def run(backend: str, call: AttentionCall) -> AttentionResult:
    """Let `backend` compute the call.

    Raises:
        UnavailableError: the backend cannot take it; nothing was computed.
    """
    _refuse(backend, call)
    if call.packing is not None:
        return sequences.one_by_one(call, partial(_dense, backend))
    return _dense(backend, call)


def _refuse(backend: str, call: AttentionCall) -> None:
    reasons = []
    if call.softcap:
        reasons.append(f"it has no softcap (asked for: {call.softcap})")
    if call.dropout_p and backend in ("reference", "yardstick"):
        reasons.append("it has no dropout: its result would not be one number")
    if reasons:
        raise UnavailableError(
            f"{call.function}: {backend!r} cannot take this attention call",
            reasons=reasons,
            remedy="Ask for 'standard' here",
        )


def _dense(backend: str, call: AttentionCall) -> AttentionResult:
    if call.key.shape[1] == 0:
        return _nothing_to_see(call)
    plain = bands.is_plain_triangle(call) and call.bias is None and call.alibi_slopes is None
    mask, dead_BHT = (None, None) if plain else _mask(call)
    q, k, v = (t.transpose(1, 2) for t in (call.query, call.key, call.value))
    dtype = q.dtype
    if mask is not None and mask.dtype != torch.bool:
        # A bias in fp32 would be rounded to half precision with the scores' other inputs.
        wide = torch.promote_types(mask.dtype, dtype)
        q, k, v, mask = (t.to(wide) for t in (q, k, v, mask))
    out_BHTE = attend_with(backend)(
        q, k, v, mask, call.dropout_p, plain,
        scale=call.scale, enable_gqa=q.shape[1] != k.shape[1],
    ).to(dtype)  # fmt: skip
    lse = None
    if call.need_lse:
        lse = log_sum_exp(q, k, mask, plain, call.scale)
    if dead_BHT is not None:
        out_BHTE = out_BHTE.masked_fill(dead_BHT.unsqueeze(-1), 0.0)
        lse = lse.masked_fill(dead_BHT, torch.inf) if lse is not None else None
    return AttentionResult(out_BHTE.transpose(1, 2), lse)


def _mask(call: AttentionCall) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """The mask for SDPA, and which rows see nothing (None where each sees a key).

    Rows that see nothing are given every key, since kernels differ on them and their gradients
    would be NaN in some; their result is cleared afterwards.
    """
    seen, bias = bands.visible(call), bands.alibi(call)
    if call.bias is not None and call.bias.dtype == torch.bool:
        seen = call.bias if seen is None else call.bias & seen
    elif call.bias is not None:
        bias = call.bias if bias is None else bias + call.bias
    dead = None
    if bias is not None:
        hidden = bias == -torch.inf if seen is None else (bias == -torch.inf) | ~seen
        dead = hidden.all(dim=-1)
        bias = bias.masked_fill(hidden, -torch.inf).masked_fill(dead.unsqueeze(-1), 0.0)
    elif seen is not None:
        dead = ~seen.any(dim=-1)
        seen = seen | dead.unsqueeze(-1)
    mask = seen if bias is None else bias
    return mask, dead if dead is not None and bool(dead.any()) else None


def _nothing_to_see(call: AttentionCall) -> AttentionResult:
    """No keys at all: zeros, still connected to the query so that a backward pass finds its way."""
    B, T, H, _ = call.query.shape
    width = call.value.shape[-1]
    out_BTHE = call.query[..., :1] * call.query.new_zeros(width)
    lse = call.query.new_full((B, H, T), torch.inf, dtype=torch.float32) if call.need_lse else None
    return AttentionResult(out_BTHE, lse)
