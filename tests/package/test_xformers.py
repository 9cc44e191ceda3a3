"""xformers.ops.memory_efficient_attention against the float64 reference, mask by mask."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnswitch.errors import InputError, UnavailableError
from attnswitch.seams.package.xformers_api import masks
from attnswitch.seams.package.xformers_api.attention import (
    memory_efficient_attention,
    memory_efficient_attention_forward,
)

from . import plain
from .agreement import assert_agrees, under
from .cases import cases, examples

BATCH_MASKS = {
    "none": (lambda: None, {}),
    "causal": (masks.LowerTriangularMask, {"causal": True, "corner": "top-left"}),
    "causal from the end": (masks.LowerTriangularFromBottomRightMask, {"causal": True}),
    "local causal": (
        lambda: masks.LowerTriangularFromBottomRightMask().make_local_attention(3),
        {"causal": True, "window": (2, 0)},
    ),
    "local": (lambda: masks.LocalAttentionFromBottomRightMask(2, 1), {"window": (2, 1)}),
}
BLOCKS = {
    "blocks": (lambda m: m, {}),
    "causal": (lambda m: m.make_causal(), {"causal": True, "corner": "top-left"}),
    "causal from the end": (lambda m: m.make_causal_from_bottomright(), {"causal": True}),
    "local": (
        lambda m: m.make_local_attention(2),
        {"causal": True, "corner": "top-left", "window": (1, 0)},
    ),
    "local from the end": (
        lambda m: m.make_local_attention_from_bottomright(2),
        {"causal": True, "window": (1, 0)},
    ),
}


@given(cases(one_length=True), st.sampled_from(sorted(BATCH_MASKS)))
@examples(150)
def test_masks_of_a_batch(case, name):
    make, asked = BATCH_MASKS[name]
    inputs = case.batch()
    repeated = [t.repeat_interleave(case.heads // case.groups, dim=2) for t in inputs[1:]]
    for backend in ("blockwise", "flash"):
        with under(backend):
            out = memory_efficient_attention(inputs[0], *repeated, make(), scale=case.scale)
        assert_agrees(
            (out, None),
            inputs,
            lambda dtype, t: plain.attention(*t, dtype=dtype, scale=case.scale, **asked),
        )


@given(cases(one_length=False), st.sampled_from(sorted(BLOCKS)))
@examples(150)
def test_sequences_in_blocks(case, name):
    change, asked = BLOCKS[name]
    inputs = case.tensors()
    repeated = [t.repeat_interleave(case.heads // case.groups, dim=1) for t in inputs[1:]]
    mask = change(masks.BlockDiagonalMask.from_seqlens(case.rows, case.keys))
    with under("blockwise"):
        out = memory_efficient_attention(*(t[None] for t in (inputs[0], *repeated)), mask)
    assert_agrees(
        (out[0], None),
        inputs,
        lambda dtype, t: plain.packed(*t, case.rows, case.keys, dtype=dtype, **asked),
    )


@given(cases(one_length=True), st.booleans())
@examples(80)
def test_a_bias_is_added_and_has_a_gradient(case, causal):
    q, k, v = case.batch()
    k, v = (t.detach().repeat_interleave(case.heads // case.groups, 2) for t in (k, v))
    shape = (len(case.rows), case.heads, case.rows[0], case.keys[0])
    bias = torch.randn(shape, generator=torch.Generator().manual_seed(case.seed)).to(case.dtype)
    inputs = [t.detach().requires_grad_() for t in (q, k, v, bias)]
    mask = masks.LowerTriangularMask().add_bias(inputs[3]) if causal else inputs[3]
    with under("blockwise"):
        out = memory_efficient_attention(*inputs[:3], mask)
    assert_agrees(
        (out, None),
        inputs,
        lambda dtype, t: plain.attention(
            *t[:3], dtype=dtype, bias=t[3], causal=causal, corner="top-left"
        ),
    )


def test_three_and_five_dimensions_are_layouts_of_four():
    q, k, v = (torch.randn(2, n, 6, 8) for n in (5, 7, 7))
    five = [t.unflatten(2, (2, 3)) for t in (q, k, v)]
    bias = torch.randn(12, 5, 7)
    with under("blockwise"):
        four = memory_efficient_attention(q, k, v)
        assert torch.equal(memory_efficient_attention(*five).flatten(2, 3), four)
        assert torch.equal(memory_efficient_attention_forward(q, k, v), four)
        flat = [t.transpose(1, 2).flatten(0, 1) for t in (q, k, v)]
        three = memory_efficient_attention(*flat, bias)
        wanted = memory_efficient_attention(q, k, v, bias.unflatten(0, (2, 6)))
    torch.testing.assert_close(three.unflatten(0, (2, 6)).transpose(1, 2), wanted)


def test_tensors_go_into_one_and_come_back():
    tensors = [torch.randn(2, 3, 2, 8), torch.randn(1, 5, 2, 8)]
    mask, packed = masks.BlockDiagonalMask.from_tensor_list(tensors)
    assert packed.shape == (1, 11, 2, 8)
    with under("blockwise"):
        found = mask.split(memory_efficient_attention(packed, packed, packed, mask))
        for part, alone in zip(found, tensors, strict=True):
            torch.testing.assert_close(part, memory_efficient_attention(alone, alone, alone))


def test_a_mask_that_is_not_implemented_is_named():
    class PagedBlockDiagonalPaddedKeysMask(masks.AttentionBias):
        pass

    q = torch.randn(1, 3, 2, 8)
    with under("blockwise"):
        with pytest.raises(UnavailableError, match="PagedBlockDiagonalPaddedKeysMask is not"):
            memory_efficient_attention(q, q, q, PagedBlockDiagonalPaddedKeysMask())
        with pytest.raises(InputError, match="batch of one, not 2"):
            twice = torch.cat([q, q])
            mask = masks.BlockDiagonalMask.from_seqlens([3])
            memory_efficient_attention(twice, twice, twice, mask)
