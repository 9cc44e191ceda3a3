"""The softmax of a block's rows, over all their keys, whether the scores come whole or in pieces.

Pieces are seen once for the maxima of the rows and come back once to be made weights: no score is
ever rescaled. The division by the row sum is left to the end, where it touches only the output.
"""

from __future__ import annotations

import math

import torch

from attnswitch.backends.query_blocks.scores import ScoreRule

LOG2_E = math.log2(math.e)
# A sum of exp(score − shift) over a row: 1 to S where the shift is the maximum, more where a larger
# score came later. Far from the largest number in fp32 (2¹²⁸), so that products with V are too.
LARGEST_SUM = 2.0**64


class RowSoftmax:
    """One block's softmax in single steps, for a CPU.

    exp2 takes half the time of exp there (0.53 against 1.02 ns an element on one Zen 3 core), and
    its factor log₂e goes into the subtraction of the maximum together with the scale, where that is
    allowed.
    """

    def __init__(self, scale: float, rule: ScoreRule, empty_rows: bool):
        # Softcap and biases are defined on scaled scores, and -inf times 0 is no number; a negative
        # scale turns maxima to minima.
        self._folded = scale > 0 and not rule.adds_to_scores
        self.product_factor = 1.0 if self._folded else scale
        self._scale = scale if self._folded else 1.0
        self._empty_rows = empty_rows
        self._top: torch.Tensor | None = None
        self._shift: torch.Tensor | None = None
        self._total: torch.Tensor | None = None

    def see(self, scores_GNS: torch.Tensor) -> None:
        """Take a piece into account for the maxima of the rows."""
        top = scores_GNS.amax(-1, keepdim=True)
        self._top = top if self._top is None else torch.maximum(self._top, top, out=top)

    def weigh_(self, scores_GNS: torch.Tensor) -> None:
        """Replace a piece's scores by exp(score − maximum); every piece has been seen by now."""
        factor = LOG2_E * self._scale
        if self._shift is None:
            assert self._top is not None
            if self._empty_rows:
                self._top.masked_fill_(self._top == -math.inf, 0.0)
            self._shift = self._top * -factor if self._folded else -self._top
        if self._folded:
            torch.add(self._shift, scores_GNS, alpha=factor, out=scores_GNS)
        else:
            # The lowest finite number stands for -inf in some masks: times log₂e it would be -inf.
            scores_GNS.add_(self._shift).mul_(factor)
        total = scores_GNS.exp2_().sum(-1, keepdim=True)
        self._total = total if self._total is None else self._total.add_(total)

    def can_shift(self) -> bool:
        """Whether what was seen so far can stand for the maxima: something of every row."""
        assert self._top is not None
        return bool(self._top.isfinite().all())

    def is_sound(self, out_GNE: torch.Tensor) -> bool:
        """Whether nothing overflowed, or could have, where the shift was not the rows' maximum."""
        assert self._total is not None
        return bool(self._total.amax() < LARGEST_SUM) and bool(out_GNE.sum().isfinite())

    def restart(self) -> None:
        """Forget all but what was seen: the rest of the rows is to be seen as well."""
        self._shift = self._total = None

    def log_sum_exp(self) -> torch.Tensor:
        """Return (G, N, 1); −inf for a row without a live key."""
        assert self._total is not None and self._top is not None
        return self._total.log().add_(self._top, alpha=self._scale)

    def divide_(self, out_GNE: torch.Tensor) -> None:
        """Divide the weighted values by the row sums; a row without a live key is zero."""
        total = self._total
        assert total is not None
        out_GNE.div_(total.masked_fill(total == 0.0, 1.0) if self._empty_rows else total)


class FusedRowSoftmax:
    """The same in PyTorch's one kernel, for devices where passes over memory are what counts.

    It takes rows whole. The log-sum-exp is a pass of its own, made where it is wanted.
    """

    def __init__(self, scale: float, empty_rows: bool, need_lse: bool):
        self.product_factor = scale
        self._empty_rows, self._need_lse = empty_rows, need_lse
        self._lse: torch.Tensor | None = None

    def see(self, scores_GNS: torch.Tensor) -> None:
        """Take the log-sum-exp, where it is wanted."""
        if self._need_lse:
            self._lse = torch.logsumexp(scores_GNS, -1, keepdim=True)

    def weigh_(self, scores_GNS: torch.Tensor) -> None:
        """Replace scores by probabilities; rows without a live key become zero, not NaN."""
        dead = scores_GNS.amax(-1, keepdim=True) == -math.inf if self._empty_rows else None
        torch.softmax(scores_GNS, -1, out=scores_GNS)
        if dead is not None:
            scores_GNS.masked_fill_(dead, 0.0)

    def log_sum_exp(self) -> torch.Tensor:
        """Return (G, N, 1); −inf for a row without a live key."""
        assert self._lse is not None
        return self._lse

    def divide_(self, out_GNE: torch.Tensor) -> None:
        """Nothing is left to do."""


def row_softmax(
    device: torch.device, scale: float, rule: ScoreRule, empty_rows: bool, need_lse: bool = False
) -> RowSoftmax | FusedRowSoftmax:
    """Return the softmax of one block on a device.

    Products are to be made with its ``product_factor``; then every piece is seen, then weighed, and
    the weighted values are divided.
    """
    if device.type == "cpu":
        return RowSoftmax(scale, rule, empty_rows)
    return FusedRowSoftmax(scale, empty_rows, need_lse)
