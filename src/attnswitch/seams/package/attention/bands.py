"""Which keys a query row sees, written out as a mask, for backends that know only masks."""

from __future__ import annotations

import torch

from attnswitch.seams.package.attention.call import NO_WINDOW, AttentionCall


def diagonal(call: AttentionCall) -> int:
    """The key on the diagonal of row 0: S - T where aligned bottom-right, else 0."""
    rows, keys = call.query.shape[1], call.key.shape[1]
    return keys - rows if call.alignment == "bottom-right" else 0


def is_plain_triangle(call: AttentionCall) -> bool:
    """Whether SDPA's `is_causal` (aligned top-left) says exactly what the call asks."""
    return call.causal and call.window == NO_WINDOW and diagonal(call) == 0


def visible(call: AttentionCall) -> torch.Tensor | None:
    """(T, S) boolean, True where a row sees a key; None where every row sees every key.

    Beside `causal`, row i sees keys from i + d - left to i + d + right, with d the diagonal.
    """
    left, right = call.window
    if call.causal:
        right = 0 if right < 0 else min(right, 0)
    if left < 0 and right < 0:
        return None
    offset = _offsets(call)
    seen = torch.ones_like(offset, dtype=torch.bool)
    if left >= 0:
        seen &= offset >= -left
    if right >= 0:
        seen &= offset <= right
    return None if bool(seen.all()) else seen


def alibi(call: AttentionCall) -> torch.Tensor | None:
    """The bias of ALiBi, -slope·|i + d - j|, (1 or B, H, T, S) in fp32 (Press et al. 2022)."""
    slopes = call.alibi_slopes
    if slopes is None:
        return None
    slopes = slopes.unsqueeze(0) if slopes.ndim == 1 else slopes
    distance = _offsets(call).abs().to(torch.float32)
    return -slopes.to(torch.float32)[:, :, None, None] * distance


def _offsets(call: AttentionCall) -> torch.Tensor:
    """(T, S): how far right of its row's diagonal each key lies."""
    device = call.query.device
    row = torch.arange(call.query.shape[1], device=device)[:, None] + diagonal(call)
    return torch.arange(call.key.shape[1], device=device)[None, :] - row
