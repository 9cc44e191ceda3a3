"""Peak memory of one attention call: estimated against measured, forward and with gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest

from attnswitch.estimating import kernel_memory
from attnswitch.estimating.attention_call import call_memory
from attnswitch.estimating.measuring import measured_call
from attnswitch.geometries.catalogue import CATALOGUE
from attnswitch.geometries.workloads import AttentionWorkload

LLAVA = CATALOGUE["llava-onevision-0.5b"]
ON_A_CPU = ("flash", "blockwise", "math", "eager")


def calls(role, batch, heads, kv_heads, rows, keys, width, mask):
    phase = "vision" if role == "vision_tower" else "prefill"
    return AttentionWorkload(role, phase, batch, heads, kv_heads, rows, keys, width, mask, 1)


CALLS = {
    "tower": calls("vision_tower", 3, 4, 4, 257, 257, 72, "full"),
    "grouped heads": calls("language_model", 1, 14, 2, 300, 300, 64, "causal"),
    "as many heads": calls("language_model", 2, 6, 6, 200, 200, 32, "causal"),
    "long": calls("language_model", 1, 4, 2, 1500, 1500, 32, "causal"),
    "one token": calls("language_model", 2, 14, 2, 1, 700, 64, "full"),
}


@pytest.mark.parametrize("backend", ON_A_CPU)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CALLS)
def test_forward(name, dtype, backend):
    call = CALLS[name]
    expected = call_memory(LLAVA, call, backend, dtype).peak_bytes
    assert expected == pytest.approx(measured_call(LLAVA, call, backend, dtype), rel=0.01)


@pytest.mark.parametrize("backend", ON_A_CPU)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["tower", "grouped heads", "as many heads"])
def test_forward_and_backward(name, dtype, backend):
    call = replace(CALLS[name], backward=True)
    expected = call_memory(LLAVA, call, backend, dtype).peak_bytes
    assert expected == pytest.approx(measured_call(LLAVA, call, backend, dtype), rel=0.01)


def test_a_kernel_whose_inside_is_forgotten_is_noticed(monkeypatch):
    monkeypatch.setattr(kernel_memory, "_EVERYWHERE", {})
    call = CALLS["long"]
    expected = call_memory(LLAVA, call, "blockwise", "float32").peak_bytes
    assert expected < 0.9 * measured_call(LLAVA, call, "blockwise", "float32")


def test_the_estimate_follows_the_block_sizes(monkeypatch):
    from attnswitch.backends.query_blocks import block_size

    call = CALLS["long"]
    before = call_memory(LLAVA, call, "blockwise", "float32").peak_bytes
    monkeypatch.setattr(block_size, "SCORE_ELEMENTS", block_size.SCORE_ELEMENTS // 16)
    after = call_memory(LLAVA, call, "blockwise", "float32").peak_bytes
    assert after < before
    assert after == pytest.approx(measured_call(LLAVA, call, "blockwise", "float32"), rel=0.01)


def test_closed_forms():
    """What docs/estimate.md writes down, for a causal call with as many key-value heads."""
    call = CALLS["as many heads"]
    with_gradients = replace(call, backward=True)
    rows = call.batch * call.heads * call.q_tokens
    scores, query = rows * call.kv_tokens, rows * call.head_dim
    triangle = call.q_tokens * call.kv_tokens

    def of(call, backend, dtype):
        return call_memory(LLAVA, call, backend, dtype)

    assert of(call, "eager", "float32").peak_bytes == 8 * scores
    assert of(call, "eager", "bfloat16").peak_bytes == 10 * scores
    math = of(call, "math", "float32").peak_bytes
    assert math == 9 * scores + 4 * triangle + 4 * query + rows
    assert of(with_gradients, "eager", "float32").peak_bytes == 12 * scores + 16 * query
    assert of(with_gradients, "eager", "bfloat16").peak_bytes == 12 * scores + 8 * query
    assert of(with_gradients, "math", "float32").peak_bytes == 12 * scores + 16 * query
    assert of(with_gradients, "flash", "bfloat16").kept_bytes == 2 * query + 4 * rows
    assert of(with_gradients, "blockwise", "bfloat16").kept_bytes == 2 * query


def test_on_a_gpu_sizes_are_whole_blocks_and_backends_are_cudas():
    call = replace(CALLS["grouped heads"], backward=True)
    for backend in ("flash", "efficient", "blockwise", "math", "eager"):
        found = call_memory(LLAVA, call, backend, "float16", "cuda")
        assert found.peak_bytes % 512 == 0
    flash = call_memory(LLAVA, call, "flash", "float16", "cuda")
    assert any("fp32" in part for part in flash.parts)
    # Keys and values are repeated for CUDA's kernels, which the CPU's needs not.
    assert any("repeat" in s.operator or "clone" in s.operator for s in flash.forward.steps)
