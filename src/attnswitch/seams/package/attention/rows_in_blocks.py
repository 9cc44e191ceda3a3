"""Calls carried out by `blockwise`, which takes everything that flash_attn takes."""

from __future__ import annotations

import torch

from attnswitch.backends import attend_with
from attnswitch.seams.package.attention import sequences
from attnswitch.seams.package.attention.call import AttentionCall, AttentionResult


def run(call: AttentionCall) -> AttentionResult:
    """Standard attention with memory linear in the number of tokens."""
    if call.packing is None:
        return _dense(call)
    if call.bias is not None or _slopes_differ_by_sequence(call):
        return sequences.one_by_one(call, _dense)
    return _packed(call, call.packing.query_ends, call.packing.key_ends)


def _slopes_differ_by_sequence(call: AttentionCall) -> bool:
    return call.alibi_slopes is not None and call.alibi_slopes.ndim == 2


def _dense(call: AttentionCall) -> AttentionResult:
    query, key, value = (t.transpose(1, 2) for t in (call.query, call.key, call.value))
    found = attend_with("blockwise")(
        query, key, value, call.bias, call.dropout_p, call.causal,
        scale=call.scale, enable_gqa=True, causal_alignment=call.alignment, window=call.window,
        softcap=call.softcap, alibi_slopes=call.alibi_slopes, return_lse=call.need_lse,
    )  # fmt: skip
    out_BHTE, lse = found if isinstance(found, tuple) else (found, None)
    return AttentionResult(out_BHTE.transpose(1, 2), infinite_where_dead(lse))


def _packed(
    call: AttentionCall, query_ends: tuple[int, ...], key_ends: tuple[int, ...]
) -> AttentionResult:
    from attnswitch.backends.query_blocks import blockwise_varlen

    rows, keys = query_ends[-1], key_ends[-1]
    found = blockwise_varlen(
        call.query[:rows], call.key[:keys], call.value[:keys],
        torch.tensor(query_ends, dtype=torch.int32), torch.tensor(key_ends, dtype=torch.int32),
        call.dropout_p, call.causal, call.scale,
        causal_alignment=call.alignment, window=call.window, softcap=call.softcap,
        alibi_slopes=call.alibi_slopes, return_lse=call.need_lse,
    )  # fmt: skip
    out_NHE, lse_HN = found if isinstance(found, tuple) else (found, None)
    return sequences.fill_up(call, AttentionResult(out_NHE, infinite_where_dead(lse_HN)))


def infinite_where_dead(lse: torch.Tensor | None) -> torch.Tensor | None:
    """Rows with nothing to attend to have an infinite log-sum-exp in flash_attn, not minus that."""
    return None if lse is None else lse.masked_fill(lse == -torch.inf, torch.inf)
