"""The backward of standard attention, written out, piece by piece.

With P = softmax(QKᵀ·scale + mask), O = PV and upstream gradient G (Dao et al., FlashAttention,
2022, appendix B.4):

    dV = PᵀG    dP = GVᵀ    dS = P∘(dP − rowsum(G∘O))    dQ = dS·K·scale    dK = dSᵀ·Q·scale

The exact form computes every step in float64. The yardstick computes what any training kernel
does with fp32 scores: P is made again from the scores and their log-sum-exp, what goes into a
matrix product is in the call's dtype, and sums over blocks of rows are kept in that dtype.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from attnswitch.verification.attention_call import AttentionCall
from attnswitch.verification.pieces import PIECE_SCORES, Piece, pieces

# Rows whose contribution to dK and dV is summed before it is rounded to the call's dtype.
ROWS_OF_A_SUM = 32


@dataclass(frozen=True)
class Gradients:
    """Of one group of heads: query [b, h, T, D], key [b, g, S, D], value [b, g, S, E]."""

    batch: slice
    heads: slice
    groups: slice
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor


def gradients(call: AttentionCall, grad: torch.Tensor, *, exact: bool) -> Iterator[Gradients]:
    """The gradients of a call, one key-value head of one sequence at a time.

    `grad` [B, H, T, E] is the upstream gradient. Exact ones are float64, the yardstick's in the
    call's dtype.
    """
    batch, heads, groups = call.query.shape[0], call.query.shape[1], call.key.shape[1]
    each, rows = heads // groups, torch.arange(call.query.shape[-2], device=call.query.device)
    for b in range(batch):
        for g in range(groups):
            one, mine, group = slice(b, b + 1), slice(g * each, (g + 1) * each), slice(g, g + 1)
            part = AttentionCall(
                call.query[one, mine], call.key[one, group], call.value[one, group],
                _part_of_mask(call, one, mine), call.is_causal, call.scale,
            )  # fmt: skip
            three = _of_group(part, grad[one, mine], rows, exact)
            yield Gradients(one, mine, group, *three)


def _part_of_mask(call: AttentionCall, batch: slice, heads: slice) -> torch.Tensor | None:
    mask = call.mask_4d
    if mask is None:
        return None
    mask = mask if mask.shape[0] == 1 else mask[batch]
    return mask if mask.shape[1] == 1 else mask[:, heads]


def _of_group(
    call: AttentionCall, grad: torch.Tensor, rows: torch.Tensor, exact: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    own = call.query.dtype
    dtype = torch.float64 if exact or own == torch.float64 else torch.float32
    parts = []
    key_sum = torch.zeros_like(call.key, dtype=dtype)
    value_sum = torch.zeros_like(call.value, dtype=dtype)
    most = PIECE_SCORES
    if not exact:
        most = min(most, ROWS_OF_A_SUM * call.key.shape[-2] * call.query.shape[1])
    for piece in pieces(call, rows, most=most):
        one = _of_piece(piece, piece.of(grad), dtype, None if exact else own)
        parts.append(one[0])
        key_sum, value_sum = key_sum + one[1], value_sum + one[2]
        if not exact:
            key_sum, value_sum = (t.to(own).to(dtype) for t in (key_sum, value_sum))
    three = (torch.cat(parts, dim=2), key_sum, value_sum)
    return three if exact else tuple(t.to(own) for t in three)  # type: ignore[return-value]


def _of_piece(
    piece: Piece, grad: torch.Tensor, dtype: torch.dtype, rounded: torch.dtype | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """dQ [1, h, n, D], dK [1, 1, S, D] and dV [1, 1, S, E] of some rows, in `dtype`."""

    def stored(tensor: torch.Tensor) -> torch.Tensor:
        return tensor if rounded is None else tensor.to(rounded).to(dtype)

    q, k, v, g = (t.to(dtype) for t in (piece.query, piece.key, piece.value, grad))
    scores = q @ k.transpose(-2, -1) * piece.scale
    if piece.mask is not None and piece.mask.dtype == torch.bool:
        scores = scores.masked_fill(~piece.mask, -torch.inf)
    elif piece.mask is not None:
        scores = scores + piece.mask.to(dtype)
    sums = scores.logsumexp(dim=-1, keepdim=True)
    chances = torch.exp(scores - sums).masked_fill(sums == -torch.inf, 0.0)
    out = stored(stored(chances) @ v)
    inner = (g * out).sum(dim=-1, keepdim=True)
    scores_grad = stored(chances * (g @ v.transpose(-2, -1) - inner))
    dq = scores_grad @ k * piece.scale
    dk = (scores_grad.transpose(-2, -1) @ q * piece.scale).sum(dim=1, keepdim=True)
    dv = (stored(chances).transpose(-2, -1) @ g).sum(dim=1, keepdim=True)
    return dq, dk, dv
