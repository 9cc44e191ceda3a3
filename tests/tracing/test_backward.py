"""Receipts of the backward pass: by site where its forward was seen, honest elsewhere."""

from __future__ import annotations

import pytest
from torch.utils.checkpoint import checkpoint

import attnswitch
from tests.core import tiny_llava
from tests.tracing.small_models import EagerAttention, SdpaAttention, Stack, found, hidden_states


def train(model, steps):
    for _ in range(steps):
        model(hidden_states(requires_grad=True)).sum().backward()


@pytest.mark.parametrize(
    ("layer", "backend"), [(SdpaAttention, "flash"), (EagerAttention, "eager")]
)
def test_each_site_has_its_backward(layer, backend):
    model = Stack(layer(), layer())
    with attnswitch.trace(model) as trace:
        train(model, 5)
    assert found(trace) == [
        ("layers.0", "prefill", backend, "op", 5),
        ("layers.1", "prefill", backend, "op", 5),
        ("layers.1", "backward", backend, "op", 5),
        ("layers.0", "backward", backend, "op", 5),
    ]


@pytest.mark.parametrize("word", ["standard", "math"])
def test_a_switched_model_trains_without_flash(word):
    model = Stack(SdpaAttention(), SdpaAttention())
    backend = "blockwise" if word == "standard" else word
    with attnswitch.use(word), attnswitch.trace(model) as trace:
        train(model, 3)
    assert {(r.phase, r.backend, r.evidence, r.calls) for r in trace.receipts} == {
        ("prefill", backend, "guarded", 3),
        ("backward", backend, "guarded", 3),
    }
    assert {r.site for r in trace.receipts} == {"layers.0", "layers.1"}


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputation_under_checkpointing_belongs_to_the_backward(reentrant):
    class Checkpointed(Stack):
        def forward(self, hidden):
            for layer in self.layers:
                hidden = hidden + checkpoint(layer, hidden, use_reentrant=reentrant)
            return hidden

    model = Checkpointed(SdpaAttention(), SdpaAttention())
    with attnswitch.trace(model) as trace:
        train(model, 3)
    backward = {r.site: r for r in trace.receipts if r.phase == "backward"}
    assert set(backward) == {"layers.0", "layers.1"}
    for receipt in backward.values():
        assert receipt.calls == 3
        assert [name.endswith("_backward") for name in receipt.executed] == [False, True]
    assert {r.calls for r in trace.receipts if r.phase == "prefill"} == {3}


def test_a_llava_in_training():
    model = tiny_llava.build().train()
    inputs = tiny_llava.inputs()
    with attnswitch.trace(model) as trace:
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert {(r.role, r.phase) for r in trace.receipts} == {
        ("vision_tower", "vision"), ("vision_tower", "backward"),
        ("language_model", "prefill"), ("language_model", "backward"),
    }  # fmt: skip
    assert {r.family for r in trace.receipts} == {"flash"}


def test_a_frozen_tower_has_no_backward():
    model = tiny_llava.build().train()
    model.model.vision_tower.requires_grad_(False)
    inputs = tiny_llava.inputs()
    with attnswitch.trace(model) as trace:
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert {r.role for r in trace.receipts if r.phase == "backward"} == {"language_model"}


def test_gradient_accumulation_counts_every_pass():
    model = Stack(SdpaAttention())
    with attnswitch.trace(model) as trace:
        for _ in range(3):
            loss = model(hidden_states()).sum() + model(hidden_states()).sum()
            loss.backward()
    calls = {(r.site, r.phase): r.calls for r in trace.receipts}
    assert calls["layers.0", "prefill"] == 6
    assert sum(n for (_, phase), n in calls.items() if phase == "backward") == 6


def test_another_models_backward_is_not_ours():
    watched, other = Stack(SdpaAttention()), Stack(SdpaAttention())
    with attnswitch.trace(watched) as trace:
        train(other, 2)
    assert found(trace) == []
