"""Peak memory of whole models: estimated on the meta device against measured on the CPU."""

from __future__ import annotations

import pytest

from attnswitch.estimating import whole_model
from attnswitch.estimating.measuring import measured_peaks
from attnswitch.estimating.scenario import Scenario, Training
from attnswitch.estimating.whole_model import model_memory
from attnswitch.geometries.find import geometry
from attnswitch.geometries.samples import sample
from tests.estimating.small import narrow

ON_A_CPU = ("flash", "blockwise", "math", "eager")
# (geometry, what it sees, dtype, batch, training)
SCENARIOS = {
    "built-in": (None, {}, "float32", 1, None),
    "built-in, half": (None, {}, "bfloat16", 1, None),
    "built-in, trained": (None, {}, "float32", 1, Training()),
    "built-in, all trained": (None, {"text_tokens": 9}, "float32", 2, Training("full")),
    "one tile": ("llava-1.5-7b", {}, "float32", 2, None),
    "tiles": ("llava-v1.6-mistral-7b", {"tiles": 5}, "float32", 2, None),
    "tiles, trained": ("llava-v1.6-34b", {"tiles": 3}, "float32", 1, Training(optimizer="sgd")),
    "pooled tiles": ("llava-onevision-7b", {}, "float32", 1, None),
    "tied, LoRA": (
        "llava-onevision-0.5b", {"tiles": 3}, "float32", 2, Training("lora", lora_rank=8),
    ),
    "frames": ("llava-next-video-7b", {"frames": 8}, "float32", 1, None),
    "frames, recomputed": (
        "llava-onevision-0.5b-video", {"frames": 4}, "float32", 1,
        Training(checkpointing=True, optimizer="none"),
    ),
    "two towers, projector": (
        "video-llava-7b", {"frames": 3}, "float32", 1, Training("projector"),
    ),
}  # fmt: skip


def scenario_of(name: str) -> Scenario:
    listed, shown, dtype, batch, training = SCENARIOS[name]
    found = geometry(None) if listed is None else narrow(listed, 3)
    return Scenario(
        found, sample(found, **shown), dtype, batch=batch, new_tokens=3, training=training
    )


@pytest.mark.parametrize("backend", ON_A_CPU)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_phase(name, backend):
    scenario = scenario_of(name)
    measured = measured_peaks(scenario, backend)
    found = model_memory(scenario, backend, with_work=False)
    assert [phase.phase for phase in found.phases] == list(measured)
    for phase in found.phases:
        assert phase.dynamic_bytes == pytest.approx(measured[phase.phase], rel=0.02), phase.phase
        assert sum(phase.parts.values()) == phase.bytes > phase.dynamic_bytes


@pytest.mark.parametrize("name", ["built-in", "built-in, trained"])
def test_a_wrong_backend_is_noticed(name, monkeypatch):
    """Planted: attention is estimated with FlashAttention, whatever is asked for."""
    scenario = scenario_of(name)
    right = model_memory(scenario, "math", with_work=False).phases[0].dynamic_bytes
    planted = whole_model.attend_on_meta("flash", "cpu")
    monkeypatch.setattr(whole_model, "attend_on_meta", lambda *_: planted)
    assert model_memory(scenario, "math", with_work=False).phases[0].dynamic_bytes < 0.8 * right


def test_what_stands_is_weights_states_and_cache():
    scenario = scenario_of("tiles")
    found = model_memory(scenario, "flash", with_work=False)
    text = scenario.geometry.language
    a_token = 2 * text.layers * text.kv_heads * text.head_dim * 4 * scenario.batch
    assert found.kv_cache_bytes == a_token * (scenario.sample.tokens + scenario.new_tokens)
    decode = found.phases[1]
    # The last layer's keys and values are copied when the last token joins them.
    assert decode.parts["KV cache"] <= found.kv_cache_bytes
    trained = model_memory(scenario_of("built-in, all trained"), "flash", with_work=False)
    gradients = trained.phases[1].parts["gradients"]
    # A tower's last layer, whose output LLaVA does not use, gets none.
    assert 0.85 * trained.standing["weights"] < gradients < trained.standing["weights"]
    assert trained.standing["optimizer state"] == pytest.approx(2 * gradients, rel=1e-3)


def test_float32_copies_for_the_optimizer_are_counted():
    scenario = scenario_of("built-in, trained")
    training = Training("full", optimizer="adamw-fp32")
    half = Scenario(scenario.geometry, scenario.sample, "bfloat16", training=training)
    found = model_memory(half, "flash", with_work=False)
    assert 0.85 * 6 < found.standing["optimizer state"] / found.standing["weights"] < 6
    assert [phase.phase for phase in found.phases] == ["forward and backward"]


def test_checkpointing_saves_and_lora_trains_little():
    def peak(training):
        found = geometry(None)
        scenario = Scenario(found, sample(found), "float32", training=training)
        return model_memory(scenario, "flash", with_work=False)

    plain, checked = peak(Training("full")), peak(Training("full", checkpointing=True))
    assert checked.phases[0].dynamic_bytes < plain.phases[0].dynamic_bytes
    little, all_of_it = peak(Training("lora", lora_rank=4)), plain
    assert little.standing["optimizer state"] < 0.2 * all_of_it.standing["optimizer state"]


def test_nothing_stays_registered_in_the_dispatcher():
    import torch

    q = torch.empty(1, 2, 8, 4, device="meta", requires_grad=True)
    model_memory(scenario_of("one tile"), "flash", with_work=False)
    out = torch.nn.functional.scaled_dot_product_attention(q, q, q)
    assert out.shape == q.shape and "Flash" not in type(out.grad_fn).__name__
