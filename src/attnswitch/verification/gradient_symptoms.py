"""What is wrong with a backward, in words: hypotheses tried on one call's gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from attnswitch.verification.attention_call import AttentionCall
from attnswitch.verification.gradient_formula import gradients
from attnswitch.verification.pieces import Piece, pieces

# A hypothesis explains an error if it leaves less than this share of its root mean square.
LEFT = 0.5
NAMES = ("query", "key", "value")


def diagnose_gradients(
    call: AttentionCall, grad: torch.Tensor, given: Sequence[torch.Tensor], wrong: Sequence[str]
) -> str:
    """The first hypothesis that explains the gradients [like query, key, value], or the facts."""
    listed = " and ".join(wrong)
    which = f"the gradient{'s' if len(wrong) > 1 else ''} of {listed}"
    if not all(bool(torch.isfinite(one).all()) for one in given):
        return f"{which} are not finite (inf or NaN)"
    silent = [n for n, one in zip(NAMES, given, strict=True) if n in wrong and not one.any()]
    if silent:
        return f"the gradient of {' and '.join(silent)} is nothing but zeros"
    truth = _whole(call, grad)
    if "query" in wrong and _explains(_without_correction(call, grad), given[0], truth[0]):
        return (
            f"its backward forgets the softmax correction: {which} are what P∘dP alone would give, "
            "without subtracting rowsum(P∘dP)"
        )
    for name in wrong:
        number = NAMES.index(name)
        size = truth[number].square().sum().item()
        slope = (given[number].double() * truth[number]).sum().item() / size if size else 1.0
        if _explains(truth[number] * slope, given[number], truth[number]):
            return f"the gradient of {name} is {slope:.4g} times what it should be"
    return f"{which} are off by more than rounding explains"


def _explains(guess: torch.Tensor, given: torch.Tensor, truth: torch.Tensor) -> bool:
    left = (given.double() - guess.double()).square().mean().sqrt()
    return bool(left < LEFT * (given.double() - truth).square().mean().sqrt())


def _whole(call: AttentionCall, grad: torch.Tensor) -> list[torch.Tensor]:
    """The exact gradients of the whole call, in float64."""
    whole = [t.new_empty(t.shape, dtype=torch.float64) for t in (call.query, call.key, call.value)]
    for part in gradients(call, grad, exact=True):
        whole[0][part.batch, part.heads] = part.query
        whole[1][part.batch, part.groups] = part.key
        whole[2][part.batch, part.groups] = part.value
    return whole


def _without_correction(call: AttentionCall, grad: torch.Tensor) -> torch.Tensor:
    """The gradient of the query with dS = P∘dP."""
    whole = call.query.new_empty(call.query.shape, dtype=torch.float64)
    rows = torch.arange(call.query.shape[-2], device=call.query.device)
    for piece in pieces(call, rows):
        whole[piece.batch, piece.heads, piece.rows] = _query_gradient(piece, piece.of(grad))
    return whole


def _query_gradient(piece: Piece, grad: torch.Tensor) -> torch.Tensor:
    each = piece.query.shape[1] // piece.key.shape[1]
    key, value = (t.double().repeat_interleave(each, dim=1) for t in (piece.key, piece.value))
    scores = piece.query.double() @ key.transpose(-2, -1) * piece.scale
    if piece.mask is not None and piece.mask.dtype == torch.bool:
        scores = scores.masked_fill(~piece.mask, -torch.inf)
    elif piece.mask is not None:
        scores = scores + piece.mask.double()
    chances = torch.softmax(scores, dim=-1).nan_to_num()
    return (chances * (grad.double() @ value.transpose(-2, -1))) @ key * piece.scale
