"""What is wrong, in words: hypotheses tried on a failing call, the first that explains it named.

Each function takes the evidence and returns a sentence, or None where it does not explain the
error. The candidate's output is compared with what attention *with that fault* would give, so
that a name is a finding and not a guess.
"""

from __future__ import annotations

import torch

from attnswitch.verification.attention_call import visible
from attnswitch.verification.evidence import Evidence

# Fewer visible keys than this are no "beyond": short rows are right in most faults.
FEWEST_KEYS = 32
WRONG = 4.0


def diagnose(evidence: Evidence) -> str:
    """The first hypothesis that explains the error, or the plain facts of it."""
    for symptom in SYMPTOMS:
        found = symptom(evidence)
        if found is not None:
            return found
    times = evidence.rms / evidence.rounding if evidence.rounding else float("inf")
    return f"its error is {times:.3g} times that of standard attention with fp32 scores"


def not_finite(evidence: Evidence) -> str | None:
    """inf or NaN in the output, and whether scores in half precision overflow there."""
    bad = ~torch.isfinite(evidence.candidate)
    if not bool(bad.any()):
        return None
    rows = int(bad.any(-1).sum())
    largest = torch.finfo(evidence.call.query.dtype).max
    said = f"its output is not finite (inf or NaN) in {rows:,} rows"
    if evidence.largest_product > largest:
        said += (
            f": scores overflow in {evidence.dtype_name}, whose largest number is {largest:,.0f}; "
            f"the largest |q·k| is {evidence.largest_product:,.0f}"
        )
    return said


def silent_heads(evidence: Evidence) -> str | None:
    """Whole heads that are zero."""
    zero = [
        head for head in range(evidence.candidate.shape[1])
        if not evidence.candidate[:, head].any() and evidence.reference[:, head].any()
    ]  # fmt: skip
    return f"{evidence.heads(zero)} give nothing but zeros" if zero else None


def beyond_some_key(evidence: Evidence) -> str | None:
    """Rows are right up to some number of visible keys, and wrong beyond it."""
    keys = evidence.seen().sum(-1).expand(evidence.counts.shape)[evidence.counts]
    per_row = evidence.error.square().mean(-1).sqrt()[evidence.counts]
    own = (evidence.yardstick - evidence.reference).square().mean(-1).sqrt()[evidence.counts]
    wrong = per_row > WRONG * torch.maximum(own, own.mean() / WRONG)
    if not bool(wrong.any()) or bool(wrong.all()):
        return None
    first = int(keys[wrong].min())
    below = keys[(keys < first) & ~wrong]
    share = wrong[keys >= first].double().mean().item()
    if first < FEWEST_KEYS or not len(below) or share < 0.9 or len(below) < 3:
        return None
    last = int(below.max())
    between = f"{last:,} keys" if first == last + 1 else f"between {last:,} and {first:,} keys"
    return f"it is right where a row sees few keys and wrong beyond {between}"


def sees_the_future(evidence: Evidence) -> str | None:
    """Rows see keys that come after them."""
    seen = evidence.seen()
    whole = evidence.seen_by_any_row().expand_as(seen)
    if bool((whole == seen).all()):
        return None
    if evidence.explained_by(evidence.with_mask(whole)):
        return "it attends to the future: every row sees what the last row sees"
    one_more = seen | torch.roll(seen, 1, dims=-1) & whole
    one_more[..., 0] = seen[..., 0]
    if evidence.explained_by(evidence.with_mask(one_more)):
        return "it attends to the future: each row sees one key too many"
    return None


def ignores_padding(evidence: Evidence) -> str | None:
    """Keys that are hidden from every row (padding) take part."""
    mask = evidence.call.mask_4d
    if mask is None:
        return None
    seen = evidence.seen()
    hidden = ~visible(mask).any(dim=-2, keepdim=True)
    if not bool(hidden.any()):
        return None
    before = torch.arange(seen.shape[-1], device=seen.device) <= evidence.piece.rows[:, None]
    square = evidence.call.query.shape[-2] == seen.shape[-1]
    for allowed in (seen | hidden & before if square else seen | hidden, seen | hidden):
        if evidence.explained_by(evidence.with_mask(allowed)):
            return "it ignores padding: keys that are hidden from every row take part"
    return None


def other_scale(evidence: Evidence) -> str | None:
    """The factor on QKᵀ is another one: found along the derivative of attention by it."""
    scale = evidence.piece.scale
    derivative = (evidence.with_scale(scale * 1.001) - evidence.reference) / 0.001
    derivative = derivative.masked_fill(~evidence.counts[..., None], 0.0)
    size = derivative.square().sum().item()
    if not size:
        return None
    off = (evidence.error * derivative).sum().item() / size
    for factor in (1.0 + off, 1.0 / scale, scale):
        if factor > 0 and abs(factor - 1.0) > 1e-6 and evidence.explained_by(
            evidence.with_scale(scale * factor)
        ):  # fmt: skip
            percent = abs(factor - 1.0) * 100
            many = f"{percent:.2g} % too {'large' if factor > 1 else 'small'}"
            said = many if percent < 50 else f"{factor:.3g} times what it should be"
            return f"its scale is off: the factor on QKᵀ is {said}"
    return None


def half_precision_scores(evidence: Evidence) -> str | None:
    """Scores are rounded to the call's own half precision before the softmax."""
    call, piece = evidence.call, evidence.piece
    if call.query.dtype not in (torch.float16, torch.bfloat16):
        return None
    key, value = (
        t.repeat_interleave(call.query.shape[1] // t.shape[1], dim=1)
        for t in (piece.key, piece.value)
    )
    scores = (piece.query @ key.transpose(-2, -1) * piece.scale).float()
    mask = evidence.seen()
    chances = torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=-1).nan_to_num()
    guess = chances.to(value.dtype) @ value
    if not evidence.explained_by(guess):
        return None
    largest = scores.masked_fill(~mask, 0.0).abs().max().item()
    rounding = largest * torch.finfo(call.query.dtype).eps / 2
    return (
        f"its scores are kept in {evidence.dtype_name}: logits up to {largest:.3g} are rounded by "
        f"up to {rounding:.2g}, which standard attention with fp32 scores does not do"
    )


def proportional(evidence: Evidence) -> str | None:
    """The output is the right one times a number."""
    size = evidence.reference.square().sum().item()
    slope = (evidence.error * evidence.reference).sum().item() / size if size else 0.0
    if abs(slope) < 1e-6 or not evidence.explained_by(evidence.reference * (1.0 + slope)):
        return None
    return f"its output is {1.0 + slope:.4g} times what it should be"


def some_heads(evidence: Evidence) -> str | None:
    """Only some heads are wrong."""
    per_head = evidence.error.square().mean((0, 2, 3)).sqrt()
    own = (evidence.yardstick - evidence.reference).square().mean((0, 2, 3)).sqrt()
    wrong = (per_head > WRONG * own).nonzero().flatten().tolist()
    if not wrong or len(wrong) == len(per_head):
        return None
    return f"{evidence.heads(wrong)} are wrong, the others are right"


SYMPTOMS = (
    not_finite,
    silent_heads,
    beyond_some_key,
    sees_the_future,
    ignores_padding,
    half_precision_scores,
    other_scale,
    proportional,
    some_heads,
)
