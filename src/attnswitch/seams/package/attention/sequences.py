"""Packed batches for backends that know no packing: one sequence after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch.nn.functional import pad

from attnswitch.seams.package.attention.call import AttentionCall, AttentionResult


def one_by_one(
    call: AttentionCall, attend: Callable[[AttentionCall], AttentionResult]
) -> AttentionResult:
    """Let `attend` compute each sequence as a batch of one, and lay the results end to end."""
    assert call.packing is not None
    outs, lses = [], []
    for number, (rows, keys) in enumerate(call.packing.spans()):
        if rows.start == rows.stop:
            continue
        found = attend(_sequence(call, number, rows, keys))
        outs.append(found.out[0])
        lses.append(found.lse[0] if found.lse is not None else None)
    if not outs:
        out = call.query.new_zeros(0, call.query.shape[1], call.value.shape[2])
        lse = _no_rows(call) if call.need_lse else None
        return fill_up(call, AttentionResult(out, lse))
    lse = torch.cat([t for t in lses if t is not None], dim=1) if call.need_lse else None
    return fill_up(call, AttentionResult(torch.cat(outs), lse))


def _no_rows(call: AttentionCall) -> torch.Tensor:
    return call.query.new_zeros(call.query.shape[1], 0, dtype=torch.float32)


def _sequence(call: AttentionCall, number: int, rows: slice, keys: slice) -> AttentionCall:
    slopes = call.alibi_slopes
    if slopes is not None and slopes.ndim == 2:
        slopes = slopes[number]
    return replace(
        call,
        query=call.query[rows].unsqueeze(0),
        key=call.key[keys].unsqueeze(0),
        value=call.value[keys].unsqueeze(0),
        alibi_slopes=slopes,
        bias=None if call.bias is None else call.bias[..., rows, keys],
        packing=None,
    )


def fill_up(call: AttentionCall, found: AttentionResult) -> AttentionResult:
    """Give rows after the last sequence (padding of the packed batch) zeros."""
    missing = call.query.shape[0] - found.out.shape[0]
    if missing == 0:
        return found
    lse = None if found.lse is None else pad(found.lse, (0, missing), value=torch.inf)
    return AttentionResult(pad(found.out, (0, 0, 0, 0, 0, missing)), lse)
