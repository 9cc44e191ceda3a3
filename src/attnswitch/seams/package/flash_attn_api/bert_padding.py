"""`flash_attn.bert_padding`: take the padding out of a batch, and put it back."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import pad

from attnswitch.seams.package.flash_attn_api.caller import names_on_the_left


def index_first_axis(input: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Rows `indices` of input (N, ...), with a gradient."""
    return input[indices]


def index_first_axis_residual(
    input: torch.Tensor, indices: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows `indices` of input, and the input itself for a residual connection."""
    return input[indices], input


def index_put_first_axis(
    values: torch.Tensor, indices: torch.Tensor, first_axis_dim: int
) -> torch.Tensor:
    """Lay values (n, ...) into rows `indices` of zeros (first_axis_dim, ...)."""
    zeros = values.new_zeros(first_axis_dim, *values.shape[1:])
    return zeros.index_put((indices,), values)


def unpad_input(
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor,
    unused_mask: torch.Tensor | None = None,
) -> tuple[Any, ...]:
    """Take the tokens out of hidden_states (B, T, ...) where attention_mask (B, T) is 1.

    Tokens of `unused_mask` are taken out too, but not counted as used.

    Returns:
        tokens (N, ...), their places among the B·T, cumulative lengths (B + 1) int32, the longest
        length, and the used tokens of each sequence (B,). flash_attn before 2.7 returned the first
        four: four are returned to a caller that unpacks four.
    """
    masks = attention_mask if unused_mask is None else attention_mask + unused_mask
    lengths = masks.sum(dim=-1, dtype=torch.int32)
    used = attention_mask.sum(dim=-1, dtype=torch.int32)
    indices = torch.nonzero(masks.flatten(), as_tuple=False).flatten()
    tokens = index_first_axis(hidden_states.flatten(0, 1), indices)
    found = (tokens, indices, _cumulated(lengths), int(lengths.max()), used)
    return found[:4] if names_on_the_left() == 4 else found


def unpad_input_for_concatenated_sequences(
    hidden_states: torch.Tensor, attention_mask_in_length: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """Like `unpad_input`, for rows that hold several sequences one after the other.

    attention_mask_in_length (B, T) gives the lengths of the sequences in each row, then zeros.
    """
    width = attention_mask_in_length.shape[-1]
    filled = attention_mask_in_length.sum(dim=-1, keepdim=True)
    taken = torch.arange(width, device=filled.device)[None, :] < filled
    lengths = attention_mask_in_length.flatten()
    lengths = lengths[lengths > 0].to(torch.int32)
    indices = torch.nonzero(taken.flatten(), as_tuple=False).flatten()
    tokens = index_first_axis(hidden_states.flatten(0, 1), indices)
    return tokens, indices, _cumulated(lengths), int(lengths.max())


def pad_input(
    hidden_states: torch.Tensor, indices: torch.Tensor, batch: int, seqlen: int
) -> torch.Tensor:
    """Put tokens (N, ...) back to their places in zeros (batch, seqlen, ...)."""
    return index_put_first_axis(hidden_states, indices, batch * seqlen).unflatten(
        0, (batch, seqlen)
    )


def _cumulated(lengths: torch.Tensor) -> torch.Tensor:
    return pad(torch.cumsum(lengths, dim=0, dtype=torch.int32), (1, 0))
