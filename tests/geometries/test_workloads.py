"""The listed attention calls against those that models really make."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from attnswitch.geometries.building import build_model
from attnswitch.geometries.catalogue import CATALOGUE
from attnswitch.geometries.inputs import make_inputs
from attnswitch.geometries.samples import sample
from attnswitch.geometries.workloads import attention_workloads


def narrow(name):
    """Few layers and narrow heads; tiles, windows and masks as they are."""
    listed = CATALOGUE[name]
    merge = listed.projector.merge
    tower = replace(
        listed.vision, layers=2, heads=2, head_dim=16, width=32, mlp_width=32,
        full_layers=(1,) if listed.vision.full_layers else (),
    )  # fmt: skip
    language = replace(
        listed.language, layers=2, heads=4, kv_heads=2, head_dim=16, width=64, mlp_width=64
    )
    projector = replace(listed.projector, width_in=32 * merge, width_hidden=64, width_out=64)
    if merge > 1:
        projector = replace(projector, width_hidden=32 * merge)
    return replace(listed, vision=tower, language=language, projector=projector)


def calls_made(model, inputs):
    """Counter of (query shape, key shape, is_causal) of SDPA calls in one forward."""
    made = Counter()
    real = torch.nn.functional.scaled_dot_product_attention

    def watch(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, **more):
        causal = is_causal or attn_mask is not None
        made[tuple(query.shape), tuple(key.shape)[-3:], causal] += 1
        return real(query, key, value, attn_mask, dropout_p, is_causal, **more)

    torch.nn.functional.scaled_dot_product_attention = watch
    try:
        with torch.no_grad():
            model(**inputs, logits_to_keep=1)
    finally:
        torch.nn.functional.scaled_dot_product_attention = real
    return made


@pytest.mark.parametrize(
    ("name", "shown", "batch"),
    [
        ("llava-1.5-7b", {}, 2), ("llava-v1.6-mistral-7b", {"tiles": 3}, 1),
        ("llava-onevision-0.5b", {"tiles": 2}, 2), ("llava-next-video-7b", {"frames": 4}, 1),
        ("video-llava-7b", {"frames": 2}, 1), ("qwen2.5-vl-7b", {"image_size": (300, 420)}, 2),
    ],
)  # fmt: skip
def test_the_calls_are_those_that_the_model_makes(name, shown, batch):
    small = narrow(name)
    found = sample(small, text_tokens=7, **shown)
    model = build_model(small, dtype="float32")
    made = calls_made(model, make_inputs(small, found, batch=batch, dtype=torch.float32))
    listed = Counter()
    for phase in ("vision", "prefill"):
        for w in attention_workloads(small, found, phase=phase, batch=batch):
            query = (w.batch, w.heads, w.q_tokens, w.head_dim)
            key = (w.kv_heads, w.kv_tokens, w.head_dim)
            listed[query, key, w.mask == "causal"] += w.calls
    assert listed == made


def test_a_training_step_is_both_with_gradients():
    small = CATALOGUE["llava-1.5-7b"]
    step = attention_workloads(small, sample(small), phase="training_step", batch=4)
    assert [(w.role, w.batch, w.q_tokens, w.calls, w.backward) for w in step] == [
        ("vision_tower", 4, 577, 24, True), ("language_model", 4, 640, 32, True)
    ]  # fmt: skip
    query, key, value = replace(step[1], heads=2, kv_heads=1).tensors(torch.bfloat16)
    assert query.shape == (4, 2, 640, 128) and key.shape == (4, 1, 640, 128)
    assert query.requires_grad and query.stride(-2) == 2 * 128 and value.dtype == torch.bfloat16


def test_decode_sees_everything_before_it():
    listed = CATALOGUE["llava-onevision-0.5b"]
    (one,) = attention_workloads(listed, sample(listed, tiles=2), phase="decode")
    assert (one.q_tokens, one.kv_tokens, one.mask) == (1, 729 + 27 * 28 + 64 + 1, "full")


def test_an_unknown_phase_is_an_error():
    listed = CATALOGUE["llava-1.5-7b"]
    with pytest.raises(ValueError, match="training_step"):
        attention_workloads(listed, sample(listed), phase="train")
