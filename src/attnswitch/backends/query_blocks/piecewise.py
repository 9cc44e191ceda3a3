"""One block's softmax and its product with V, a piece of the keys at a time.

Softmax is the same for whatever number is taken off all scores of a row: the largest keeps exp from
overflowing, and so does any number near it. One piece is enough to find such a number, which then
stands for the whole row: no sum is ever rescaled, and every score is made once. Where it was not
near enough, sums overflow or come close to it; the block then runs again with the true maxima, for
which its scores are made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from attnswitch.backends.query_blocks.plan import RowBlock
from attnswitch.backends.query_blocks.row_softmax import FusedRowSoftmax, RowSoftmax

# In place of the scores of a piece (G, N, S), their weights, times V, begin or join the output.
AddValues = Callable[[RowBlock, torch.Tensor, bool], None]


def add_up(
    pieces: Sequence[RowBlock],
    softmax: RowSoftmax | FusedRowSoftmax,
    scores_of: Callable[[RowBlock], torch.Tensor],
    add_values: AddValues,
    out_GNE: torch.Tensor,
) -> None:
    """Fill ``out_GNE`` with weights · V, not yet divided by the row sums."""
    first = next((piece for piece in pieces if piece.is_whole), pieces[0])
    others = [piece for piece in pieces if piece is not first]
    scores = scores_of(first)
    softmax.see(scores)
    if not others:
        softmax.weigh_(scores)
        add_values(first, scores, False)
        return
    assert isinstance(softmax, RowSoftmax), "the fused kernel takes rows whole"
    if softmax.can_shift():
        softmax.weigh_(scores)
        add_values(first, scores, False)
        for piece in others:
            scores = scores_of(piece)
            softmax.weigh_(scores)
            add_values(piece, scores, True)
        if softmax.is_sound(out_GNE):
            return
    softmax.restart()
    for piece in others:
        softmax.see(scores_of(piece))
    for piece in pieces:
        scores = scores_of(piece)
        softmax.weigh_(scores)
        add_values(piece, scores, piece is not pieces[0])
