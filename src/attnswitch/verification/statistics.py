"""What explains an error: how large the logits are, how peaked the softmax, how near an overflow.

Taken in float64 from the query, key and mask of a call, over some of the rows that are judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from attnswitch.verification.attention_call import visible
from attnswitch.verification.pieces import Piece
from attnswitch.verification.rule import FACTOR

ROWS_OF_A_PIECE = 32
HALF = (torch.float16, torch.bfloat16)
# A product this near to the largest number of the dtype may overflow with the next prompt.
NEAR = 0.25


@dataclass
class Statistics:
    """Over the rows of a site and phase; logits are QKᵀ·scale, the scores before the mask.

    `logit_scale` is the standard deviation of a row's visible logits (root mean square over
    rows), `largest_product` the largest |q·k| before the scale, `entropy` the mean over rows in
    nats, beside `most_entropy`, that of uniform attention over the same keys. `scale_slope` is by
    how much the output changes with the factor on QKᵀ: the root mean square of its derivative by
    the factor's logarithm.
    """

    dtype: torch.dtype = torch.float32
    rows: int = 0
    largest_logit: float = 0.0
    largest_product: float = 0.0
    _variance: float = 0.0
    _entropy: float = 0.0
    _most_entropy: float = 0.0
    _slope_squares: float = 0.0
    _slope_count: int = 0

    def add(self, piece: Piece, counts: torch.Tensor) -> None:
        """Count in some rows of a piece; `counts` [b, h, n] leaves padding out."""
        step = max(1, math.ceil(len(piece.rows) / ROWS_OF_A_PIECE))
        query, counts = piece.query[:, :, ::step], counts[:, :, ::step]
        if not bool(counts.any()):
            return
        self.dtype = query.dtype
        groups = query.shape[1] // piece.key.shape[1]
        key, value = (t.repeat_interleave(groups, dim=1) for t in (piece.key, piece.value))
        products = query.double() @ key.double().transpose(-2, -1) * piece.scale
        logits = products
        seen = torch.ones_like(logits, dtype=torch.bool)
        if piece.mask is not None:
            seen = visible(piece.mask[:, :, ::step]).expand_as(logits)
            if piece.mask.dtype != torch.bool:
                logits = logits + piece.mask[:, :, ::step].double().masked_fill(~seen, 0.0)
        chances = torch.softmax(logits.masked_fill(~seen, -torch.inf), dim=-1)
        self._add_rows(logits[counts], seen[counts], chances[counts], piece.scale)
        self._add_slope(products, chances.masked_fill(~counts[..., None], 0.0), value, counts)

    def _add_slope(
        self,
        products: torch.Tensor,
        chances: torch.Tensor,
        value: torch.Tensor,
        counts: torch.Tensor,
    ) -> None:
        """d out / d log scale = Σ p·(x - x̄)·v, with x the scores before any bias."""
        mean = (chances * products).sum(-1, keepdim=True)
        slope = (chances * (products - mean)) @ value.double()
        self._slope_squares += slope.square().sum().item()
        self._slope_count += int(counts.sum()) * value.shape[-1]

    def _add_rows(
        self, logits: torch.Tensor, seen: torch.Tensor, chances: torch.Tensor, scale: float
    ) -> None:
        """logits, seen and chances: [rows, S]."""
        keys = seen.sum(-1)
        shown = logits.masked_fill(~seen, 0.0)
        mean = shown.sum(-1) / keys
        spread = ((shown - mean[:, None]).masked_fill(~seen, 0.0).square().sum(-1)) / keys
        self.rows += len(logits)
        self.largest_logit = max(self.largest_logit, shown.abs().max().item())
        self.largest_product = max(self.largest_product, self.largest_logit / abs(scale or 1.0))
        self._variance += spread.sum().item()
        self._entropy += -torch.xlogy(chances, chances).sum().item()
        self._most_entropy += keys.log().sum().item()

    @property
    def logit_scale(self) -> float:
        """Standard deviation of the logits of a row."""
        return math.sqrt(self._variance / self.rows) if self.rows else 0.0

    @property
    def scale_slope(self) -> float:
        """Root mean square of d out / d log scale."""
        return math.sqrt(self._slope_squares / self._slope_count) if self._slope_count else 0.0

    def scale_error_told(self, yardstick_rms: float) -> float | None:
        """The smallest relative error of the factor on QKᵀ that the rule finds here.

        A kernel that is off by δ has, beside the yardstick's own rounding, the error
        δ·`scale_slope`; their squares add, and twice the yardstick's is allowed: δ = √3·y/slope.
        None where the output does not depend on the factor.
        """
        slope = self.scale_slope
        return math.sqrt(FACTOR**2 - 1.0) * yardstick_rms / slope if slope else None

    @property
    def overflow(self) -> str:
        """Of QKᵀ kept in the call's own dtype: "none", "near" or "yes"."""
        share = self.largest_product / torch.finfo(self.dtype).max
        return "yes" if share > 1.0 else "near" if share > NEAR else "none"

    @property
    def rounding(self) -> float:
        """By how much the largest logit would be off, were scores kept in the call's dtype."""
        return self.largest_logit * torch.finfo(self.dtype).eps / 2

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; nats for entropies."""
        rows = max(1, self.rows)
        return {
            "logit_scale": self.logit_scale,
            "largest_logit": self.largest_logit,
            "largest_product": self.largest_product,
            "entropy": self._entropy / rows,
            "most_entropy": self._most_entropy / rows,
            "overflow": self.overflow,
            "rounding_of_scores": self.rounding,
            "rows": self.rows,
        }
