"""Attention alone: the same numbers as SDPA, the model's own eager code, every geometry."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import attnswitch
from attnswitch.bench.attention_alone import attention_alone
from attnswitch.geometries.catalogue import CATALOGUE
from attnswitch.geometries.find import geometry
from tests.bench.tiny_workloads import tiny

SMALL = {"qwen2.5-vl-7b": {"image_size": (56, 84), "text_tokens": 4}}


def ready_of(name: str, phase: str, size: dict):
    return attention_alone(geometry(name), tiny(phase, subject=name, size=size))


@pytest.mark.parametrize("request_word", ["flash", "standard", "math", "eager"])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_it_computes_attention(request_word, phase):
    shape = geometry("demo")
    model = attention_alone(shape, tiny(phase)).model
    torch.manual_seed(0)
    rows = 1 if phase == "decode" else 9
    query, key, value = (torch.randn(2, h, t, 32) for h, t in ((4, rows), (2, 9), (2, 9)))
    expected = F.scaled_dot_product_attention(
        query, key, value, is_causal=rows > 1, enable_gqa=True
    )
    with torch.no_grad(), attnswitch.apply(model, request_word):
        found = model(0, query, key, value).transpose(1, 2)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["llava-1.5-7b", "llava-v1.6-34b", "llava-onevision-0.5b"])
def test_the_layers_of_the_published_models(name):
    shape = CATALOGUE[name]
    size = {"images": 0, "text_tokens": 4}
    assert [p.times for p in ready_of(name, "prefill", size).pieces] == [shape.language.layers]
    size = {"tiles": 1} if shape.image.kind == "single" else {"images": 1}
    vision = ready_of(name, "vision", size)
    assert [p.times for p in vision.pieces] == [shape.vision.layers]


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_geometry_has_its_own_eager_code(name):
    size = SMALL.get(name, {"images": 0, "text_tokens": 4})
    ready = ready_of(name, "prefill", size)
    with attnswitch.apply(ready.model, "eager"), attnswitch.trace(ready.model) as watched:
        ready.call()
    assert {receipt.backend for receipt in watched.receipts} == {"eager"}
    (site,) = ready.model.language_model
    assert (
        f".{CATALOGUE[name].language.family.removesuffix('_text')}."
        in type(site.self_attn).__module__
    )


def test_windows_are_calls_of_their_own():
    ready = ready_of("qwen2.5-vl-7b", "vision", SMALL["qwen2.5-vl-7b"])
    assert [piece.times for piece in ready.pieces] == [4.0, 28.0]


def test_a_training_step_goes_backward_through_tower_and_decoder():
    ready = ready_of("demo", "training_step", {"tiles": 1, "text_tokens": 2})
    with attnswitch.apply(ready.model, "standard"), attnswitch.trace(ready.model) as watched:
        ready.call()
    assert {(r.role, r.phase) for r in watched.receipts} == {
        ("vision_tower", "vision"), ("vision_tower", "backward"),
        ("language_model", "prefill"), ("language_model", "backward"),
    }  # fmt: skip
