"""The calls of LLaVA, InternVL, MPT, Qwen-VL and EVA-CLIP, each as its project spells it."""

from __future__ import annotations

import pytest
import torch

from attnswitch.seams.package.flash_attn_api.bert_padding import pad_input, unpad_input
from attnswitch.seams.package.flash_attn_api.dense import flash_attn_func
from attnswitch.seams.package.flash_attn_api.unpadded import (
    flash_attn_unpadded_func,
    flash_attn_unpadded_qkvpacked_func,
)
from attnswitch.seams.package.flash_attn_api.varlen import flash_attn_varlen_qkvpacked_func
from attnswitch.seams.package.xformers_api.attention import memory_efficient_attention

from . import plain
from .agreement import passes, under

LENGTHS = (4, 7, 1)
MASK = torch.tensor([[n < length for n in range(7)] for length in LENGTHS])


@pytest.fixture(params=["blockwise", "flash", "math"])
def backend(request):
    with under(request.param):
        yield


def by_sequence(q, k, v, **asked):
    """Each sequence by itself in float64 and float32, padded with zeros."""
    found = []
    for dtype in (torch.float64, torch.float32):
        out = torch.zeros(q.shape, dtype=dtype)
        for n, length in enumerate(LENGTHS):
            parts = (t[n : n + 1, :length] for t in (q, k, v))
            out[n, :length] = plain.attention(*parts, dtype=dtype, **asked)[0][0]
        found.append(out)
    return found


def test_llava_replaces_llamas_attention(backend):
    qkv = torch.randn(3, 7, 3, 2, 8)
    tokens, indices, cu_q_lens, max_s = unpad_input(qkv.flatten(2), MASK)
    tokens = tokens.unflatten(-1, (3, 2, 8))
    out = flash_attn_unpadded_qkvpacked_func(
        tokens, cu_q_lens, max_s, 0.0, softmax_scale=None, causal=True
    )
    out = pad_input(out.flatten(1), indices, 3, 7).unflatten(-1, (2, 8))
    reference, yardstick = by_sequence(*qkv.unbind(2), causal=True)
    assert passes(out, yardstick, reference)


def test_internvl_packs_its_vision_tower(backend):
    qkv = torch.randn(3, 7, 3, 2, 8)
    tokens, indices, cu_seqlens, max_s = unpad_input(qkv.flatten(2), MASK)
    tokens = tokens.unflatten(-1, (3, 2, 8))
    out = flash_attn_varlen_qkvpacked_func(
        tokens, cu_seqlens, max_s, 0.0, softmax_scale=None, causal=False
    )
    out = pad_input(out.flatten(1), indices, 3, 7).unflatten(-1, (2, 8))
    reference, yardstick = by_sequence(*qkv.unbind(2))
    assert passes(out, yardstick, reference)


def test_mpt_counts_from_alibi_slopes_and_a_window(backend):
    q, k, v = (torch.randn(2, n, 4, 8) for n in (3, 9, 9))
    slopes = 2.0 ** -torch.arange(1.0, 5.0)
    out = flash_attn_func(
        q=q, k=k, v=v, dropout_p=0.0, softmax_scale=0.25, causal=True,
        return_attn_probs=False, window_size=(4, 4), alibi_slopes=slopes.expand(2, 4),
    )  # fmt: skip
    asked = {"scale": 0.25, "causal": True, "window": (4, 4), "slopes": slopes}
    reference, yardstick = (
        plain.attention(q, k, v, dtype=dtype, **asked)[0]
        for dtype in (torch.float64, torch.float32)
    )
    assert passes(out, yardstick, reference)


def test_qwen_vl_decodes_with_lengths_that_differ(backend):
    """It turns causal off there itself; 1.x would let the token see key 0 alone."""
    q, k, v = (torch.randn(n, 2, 8) for n in (2, 10, 10))
    cu_q, cu_k = torch.tensor([0, 1, 2]), torch.tensor([0, 5, 10])
    out = flash_attn_unpadded_func(q, k, v, cu_q, cu_k, 1, 5, 0.0, softmax_scale=None, causal=False)
    reference, yardstick = (
        plain.packed(q, k, v, [1, 1], [5, 5], dtype=dtype)[0]
        for dtype in (torch.float64, torch.float32)
    )
    assert passes(out, yardstick, reference)


def test_eva_clip_asks_xformers_for_its_own_scale(backend):
    q, k, v = (torch.randn(2, 5, 3, 8) for _ in range(3))
    out = memory_efficient_attention(q, k, v, p=0.0, scale=0.3, attn_bias=None)
    reference, yardstick = (
        plain.attention(q, k, v, dtype=dtype, scale=0.3)[0]
        for dtype in (torch.float64, torch.float32)
    )
    assert passes(out, yardstick, reference)
