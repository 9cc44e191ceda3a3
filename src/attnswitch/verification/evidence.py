"""What a diagnosis looks at: one failing call, some of its rows, and what each answered there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch

from attnswitch.verification.attention_call import AttentionCall, visible
from attnswitch.verification.pieces import Piece, pieces

# Hypotheses are computed over this many scores at most; a diagnosis is words, not a verdict.
SCORES = 2 * 2**20
# A hypothesis explains an error if it leaves less than this share of its root mean square.
LEFT = 0.5


@dataclass
class Evidence:
    """One call, in float64 unless said otherwise; rows that do not count are zero everywhere.

    `candidate`, `reference`, `yardstick`: [B, H, n, E]; `counts`: [B, H, n] bool; `rows`: [n];
    `piece` holds the same rows of the call.
    """

    call: AttentionCall
    piece: Piece
    counts: torch.Tensor
    candidate: torch.Tensor
    reference: torch.Tensor
    yardstick: torch.Tensor
    largest_product: float = 0.0
    _cached: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        call: AttentionCall,
        out_BHTE: torch.Tensor,
        rows: torch.Tensor,
        padding_BT: torch.Tensor | None,
        largest_product: float,
    ) -> Evidence:
        """Take up to `SCORES` scores' worth of the given rows, evenly."""
        each = call.scores // max(1, call.query.shape[-2])
        step = max(1, -(-len(rows) * each // SCORES))
        some = torch.unique(torch.cat([rows[::step], rows[-1:]]))
        piece = next(iter(pieces(call, some, most=call.scores + 1)))
        counts = piece.counting(padding_BT)
        keep = counts[..., None]
        dtype = torch.float64 if call.query.dtype == torch.float64 else torch.float32
        yardstick = piece.attention(dtype).to(call.query.dtype)
        three = (piece.of(out_BHTE), piece.attention(torch.float64), yardstick)
        candidate, reference, standard = (t.double().masked_fill(~keep, 0.0) for t in three)
        return cls(call, piece, counts, candidate, reference, standard, largest_product)

    @property
    def dtype_name(self) -> str:
        """The dtype of the call, such as "bfloat16"."""
        return str(self.call.query.dtype).removeprefix("torch.")

    @property
    def error(self) -> torch.Tensor:
        """[B, H, n, E]: candidate minus reference."""
        return self.candidate - self.reference

    @property
    def rounding(self) -> float:
        """The root-mean-square error of the yardstick over the rows that count."""
        return self._rms(self.yardstick - self.reference)

    @property
    def rms(self) -> float:
        """The root-mean-square error of the candidate over the rows that count."""
        return self._rms(self.error)

    def _rms(self, difference: torch.Tensor) -> float:
        shown = difference[self.counts]
        return shown.square().mean().sqrt().item() if shown.numel() else 0.0

    def explained_by(self, hypothesis: torch.Tensor) -> bool:
        """Whether the candidate is what `hypothesis` [B, H, n, E] would give."""
        left = self._rms(self.candidate - hypothesis.double().masked_fill(
            ~self.counts[..., None], 0.0))  # fmt: skip
        return left < max(LEFT * self.rms, 0.0) or left <= 2.0 * self.rounding < self.rms

    def with_mask(self, mask: torch.Tensor) -> torch.Tensor:
        """Attention in float64 under another mask, True where a key takes part."""
        return self.piece.attention(torch.float64, mask=mask)

    def with_scale(self, scale: float) -> torch.Tensor:
        """Attention in float64 under another factor on QKᵀ."""
        return self.piece.attention(torch.float64, scale=scale)

    def seen(self) -> torch.Tensor:
        """[B or 1, H or 1, n, S] bool: which keys each row may see."""
        if self.piece.mask is not None:
            return visible(self.piece.mask)
        shape = (1, 1, len(self.piece.rows), self.call.key.shape[-2])
        return torch.ones(shape, dtype=torch.bool, device=self.call.key.device)

    def seen_by_any_row(self) -> torch.Tensor:
        """[B or 1, H or 1, 1, S] bool: which keys some row of the whole call may see."""
        mask = self.call.mask_4d
        if mask is None:
            return torch.ones_like(self.seen()[:, :, :1])
        return visible(mask).any(dim=-2, keepdim=True)

    def heads(self, which: Iterable[int]) -> str:
        """Such as "heads 2 and 5 of 8"."""
        numbers, of = list(which), self.call.query.shape[1]
        listed = [str(n) for n in numbers[:6]] + (["others"] if len(numbers) > 6 else [])
        if len(numbers) == 1:
            return f"head {numbers[0]} of {of}"
        return f"heads {', '.join(listed[:-1])} and {listed[-1]} of {of}"
