"""flash_attn_with_kvcache: what it writes, what it sees, and how it rotates."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnswitch.errors import InputError, UnavailableError
from attnswitch.seams.package.flash_attn_api.kvcache import flash_attn_with_kvcache

from . import plain
from .agreement import assert_agrees, under
from .cases import DTYPES, WINDOWS, examples
from .test_rotary import rotated, turns

CACHE = 14


@st.composite
def calls(draw):
    """Lengths before the call, new tokens, query rows, and how the cache is laid out."""
    batch = draw(st.integers(1, 3))
    rotary = draw(st.sampled_from((None, None, "halves", "neighbours")))
    return {
        # Rotated queries are rounded to the dtype, each implementation in its own way.
        "dtype": draw(st.sampled_from(DTYPES)) if rotary is None else torch.float32,
        "lengths": draw(st.lists(st.integers(0, 8), min_size=batch, max_size=batch)),
        "new": draw(st.integers(0, 4)),
        "rows": draw(st.integers(1, 4)),
        "groups": draw(st.sampled_from((1, 2))),
        "heads": draw(st.sampled_from((1, 3))),
        "causal": draw(st.booleans()),
        "window": draw(WINDOWS),
        "skip": draw(st.sampled_from((0, 0, 1))),
        "layout": draw(st.sampled_from(("rows", "rows", "chosen rows", "pages"))),
        "rotary": rotary,
        "seed": draw(st.integers(0, 2**31)),
    }


def laid_out(call, full_k, full_v, generator):
    """The cache in the layout of the call, and the arguments that describe it."""
    batch = len(call["lengths"])
    if call["layout"] == "rows":
        return full_k.clone(), full_v.clone(), {}
    if call["layout"] == "chosen rows":
        chosen = torch.randperm(batch + 2, generator=generator)[:batch]
        caches = [t.new_zeros(batch + 2, *t.shape[1:]) for t in (full_k, full_v)]
        for cache, full in zip(caches, (full_k, full_v), strict=True):
            cache[chosen] = full
        return *caches, {"cache_batch_idx": chosen}
    table = torch.randperm(batch * CACHE // 2, generator=generator).view(batch, -1).to(torch.int32)
    caches = [t.new_zeros(table.numel(), 2, *t.shape[2:]) for t in (full_k, full_v)]
    for cache, full in zip(caches, (full_k, full_v), strict=True):
        cache[table.long()] = full.unflatten(1, (-1, 2))
    return *caches, {"block_table": table}


def check(call, backend):
    generator = torch.Generator().manual_seed(call["seed"])
    batch, heads = len(call["lengths"]), call["groups"] * call["heads"]

    def random(tokens, n):
        return torch.randn(batch, tokens, n, 8, generator=generator).to(call["dtype"])

    q, full_k, full_v = random(call["rows"], heads), *[random(CACHE, call["groups"])] * 2
    k, v = random(call["new"], call["groups"]), random(call["new"], call["groups"])
    k_cache, v_cache, layout = laid_out(call, full_k, full_v, generator)
    lengths = torch.tensor(call["lengths"], dtype=torch.int32)
    cos, sin = turns(CACHE + 4)
    rotary = {} if call["rotary"] is None else {
        "rotary_cos": cos, "rotary_sin": sin, "rotary_interleaved": call["rotary"] == "neighbours",
    }  # fmt: skip
    skip = [min(call["skip"], length + call["new"]) for length in call["lengths"]]
    pads = {"cache_leftpad": torch.tensor(skip, dtype=torch.int32)} if any(skip) else {}
    with under(backend):
        out, lse = flash_attn_with_kvcache(
            q, k_cache, v_cache, k, v, cache_seqlens=lengths, causal=call["causal"],
            window_size=call["window"], return_softmax_lse=True, **layout, **rotary, **pads,
        )  # fmt: skip
    in_order = call["causal"] or call["window"] != (-1, -1)
    for n, length in enumerate(call["lengths"]):
        query, key = q[n], k[n]
        if call["rotary"]:
            pairs = call["rotary"] == "neighbours"
            places = [length + i * in_order for i in range(call["rows"])]
            query = rotated(query, cos, sin, places, pairs)
            key = rotated(key, cos, sin, range(length, length + call["new"]), pairs)
        seen_k = torch.cat([full_k[n, :length], key])[skip[n] :]
        seen_v = torch.cat([full_v[n, :length], v[n]])[skip[n] :]
        assert_agrees(
            (out[n : n + 1], lse[n : n + 1]),
            [t.unsqueeze(0) for t in (query, seen_k, seen_v)],
            lambda dtype, t: plain.attention(
                *t, dtype=dtype, causal=call["causal"], window=call["window"]
            ),
            gradients=False,
        )
        if call["layout"] == "rows":
            torch.testing.assert_close(k_cache[n, length : length + call["new"]], key)
            assert torch.equal(v_cache[n, length : length + call["new"]], v[n])
            assert torch.equal(k_cache[n, :length], full_k[n, :length])


@given(calls())
@examples(200)
def test_blockwise(call):
    check(call, "blockwise")


@given(calls())
@examples(60)
def test_flash_runs_pytorchs_kernel(call):
    check(call, "flash")


def test_one_length_for_all_is_a_number():
    q, cache = torch.randn(2, 1, 2, 8), torch.randn(2, 9, 2, 8)
    with under("blockwise"):
        found = flash_attn_with_kvcache(q, cache, cache, cache_seqlens=5)
        wanted = flash_attn_with_kvcache(q, cache[:, :5], cache[:, :5])
    assert torch.equal(found, wanted)


def test_a_full_cache_a_missing_length_and_a_gradient_are_refused():
    q, cache = torch.randn(1, 1, 2, 8), torch.randn(1, 3, 2, 8)
    with under("blockwise"):
        with pytest.raises(InputError, match="the cache holds 3 tokens, not 4"):
            flash_attn_with_kvcache(q, cache, cache, q, q, cache_seqlens=3)
        with pytest.raises(InputError, match="cache_seqlens must be given"):
            flash_attn_with_kvcache(q, cache, cache, q, q)
        with pytest.raises(UnavailableError, match="no backward pass"):
            flash_attn_with_kvcache(q.requires_grad_(), cache, cache)
