"""flash_attn.bert_padding: out and back, and the return values of each version."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from attnswitch.seams.package.flash_attn_api import bert_padding

from .cases import examples

MASKS = st.integers(1, 3).flatmap(
    lambda batch: st.lists(
        st.lists(st.integers(0, 1), min_size=5, max_size=5), min_size=batch, max_size=batch
    )
)


@given(MASKS, st.booleans())
@examples(100)
def test_out_and_back_again(rows, as_bool):
    mask = torch.tensor(rows)
    x = torch.arange(mask.numel() * 6.0).view(*mask.shape, 2, 3).requires_grad_()
    given_mask = mask.bool() if as_bool else mask
    tokens, indices, cu_seqlens, longest, used = bert_padding.unpad_input(x, given_mask)
    assert tokens.shape == (sum(map(sum, rows)), 2, 3)
    assert cu_seqlens.dtype == torch.int32
    assert cu_seqlens.diff().tolist() == [sum(row) for row in rows] == used.tolist()
    assert longest == max(sum(row) for row in rows)
    back = bert_padding.pad_input(tokens, indices, *mask.shape)
    assert torch.equal(back, x * mask[..., None, None])
    back.sum().backward()
    assert torch.equal(x.grad, mask[..., None, None].expand_as(x).float())


def test_four_names_get_what_versions_before_2_7_returned():
    x, mask = torch.randn(2, 3, 4), torch.tensor([[1, 1, 0], [1, 0, 0]])
    tokens, indices, cu_seqlens, longest = bert_padding.unpad_input(x, mask)
    five = bert_padding.unpad_input(x, mask)
    first, *rest = bert_padding.unpad_input(x, mask)
    assert len(five) == 5 and len(rest) == 4
    assert torch.equal(five[0], tokens) and torch.equal(first, tokens)
    assert torch.equal(five[1], indices) and torch.equal(five[2], cu_seqlens)
    assert five[3] == longest == 2


def test_unused_tokens_are_taken_out_and_not_counted():
    mask, unused = torch.tensor([[1, 1, 0, 0]]), torch.tensor([[0, 0, 1, 0]])
    tokens, _, cu, longest, used = bert_padding.unpad_input(torch.randn(1, 4, 2), mask, unused)
    assert len(tokens) == 3 and cu.tolist() == [0, 3] and longest == 3 and used.tolist() == [2]


def test_several_sequences_in_one_row():
    lengths = torch.tensor([[2, 3, 0, 0, 0, 0], [3, 2, 0, 0, 0, 0], [6, 0, 0, 0, 0, 0]])
    x = torch.randn(3, 6, 2)
    tokens, indices, cu, longest = bert_padding.unpad_input_for_concatenated_sequences(x, lengths)
    assert cu.tolist() == [0, 2, 5, 8, 10, 16] and longest == 6
    assert torch.equal(tokens, torch.cat([x[0, :5], x[1, :5], x[2]]))
    assert torch.equal(tokens, x.flatten(0, 1)[indices])
