"""FLOPs by formula against PyTorch's own counter, on real tensors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from attnswitch.backends import attend_with, blockwise
from attnswitch.backends.query_blocks import blockwise_varlen
from attnswitch.estimating import work
from attnswitch.estimating.attention_call import call_memory, eager_function, mask_of
from attnswitch.estimating.flops import attention_flops, forward_flops, pairs
from attnswitch.estimating.scenario import Scenario, Training
from attnswitch.estimating.steps import forward_backward, prefill
from attnswitch.estimating.whole_model import model_memory
from attnswitch.geometries.building import build_model
from attnswitch.geometries.catalogue import CATALOGUE
from attnswitch.geometries.inputs import make_inputs
from attnswitch.geometries.samples import sample
from attnswitch.geometries.workloads import AttentionWorkload
from attnswitch.switch import use
from tests.estimating.small import narrow

LLAVA = CATALOGUE["llava-onevision-0.5b"]
CALL = AttentionWorkload("language_model", "prefill", 2, 6, 2, 90, 90, 16, "causal", 5, True)
# PyTorch's counter has no formula for the CPU's FlashAttention.
FLASH_CPU = {
    getattr(torch.ops.aten, name): formula for name, formula in work._MORE_FORMULAS.items()
}
for _formula in FLASH_CPU.values():
    _formula._get_raw = True


def counted(call):
    with FlopCounterMode(display=False, custom_mapping=FLASH_CPU) as counter:
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize("backend", ["flash", "blockwise", "math", "eager"])
@pytest.mark.parametrize("mask", ["full", "causal"])
@pytest.mark.parametrize("backward", [False, True])
def test_an_attention_call(backend, mask, backward):
    one = replace(CALL, mask=mask, calls=1, backward=backward)
    query, key, value = one.tensors(torch.float32)

    def call():
        if backend == "eager":
            out = eager_function(LLAVA, one)(query, key, value, mask_of(one, "eager", query))
        else:
            attend = attend_with(backend)
            out = attend(query, key, value, None, 0.0, mask == "causal", enable_gqa=True)
        if backward:
            out.sum().backward()

    expected = attention_flops(one, backend)
    assert counted(call) == expected.counted
    found = call_memory(LLAVA, one, backend, "float32")
    assert found.forward.flops + (found.backward.flops if backward else 0) == expected.counted
    assert attention_flops(replace(one, calls=5), backend).counted == 5 * expected.counted


def test_needed_leaves_out_what_the_mask_kills():
    for rows, keys in ((1, 1), (90, 90), (5, 90), (90, 5)):
        one = replace(CALL, q_tokens=rows, kv_tokens=keys)
        assert pairs(one) == int(torch.ones(rows, keys).tril().sum())
    needed, all_of_it = (
        attention_flops(CALL, "flash").needed,
        attention_flops(CALL, "flash").counted,
    )
    assert needed / all_of_it == pytest.approx(91 / 180)


def test_packed_sequences_count_each_with_itself_alone():
    query = torch.randn(30, 4, 8, requires_grad=True)
    cu = torch.tensor([0, 10, 30])

    def call():
        blockwise_varlen(query, query, query, cu).sum().backward()

    assert counted(call) == 2 * 4 * 8 * (10 * 10 + 20 * 20) * (2 + 5)


def test_blockwise_counts_as_sdpa_does():
    query, key = torch.randn(2, 6, 40, 8), torch.randn(2, 3, 50, 8)
    assert counted(lambda: blockwise(query, key, key, enable_gqa=True)) == 4 * 2 * 6 * 40 * 50 * 8


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("llava-1.5-7b", {}), ("llava-v1.6-34b", {"tiles": 4}), ("llava-onevision-7b", {}),
        ("llava-next-video-7b", {"frames": 3}), ("llava-onevision-0.5b-video", {"frames": 3}),
        ("video-llava-7b", {"frames": 2}), ("video-llava-7b", {"images": 1}),
        ("llava-v1.6-mistral-7b", {"images": 2, "text_tokens": 0}),
    ],
)  # fmt: skip
def test_a_forward_pass(name, shown):
    small = narrow(name)
    found = sample(small, **shown)
    model = build_model(small)
    inputs = make_inputs(small, found, batch=2)
    with use("math"):
        by_counter = counted(lambda: prefill(model, inputs))
    parts = forward_flops(small, found, batch=2)
    assert sum(part.counted for part in parts.values()) == by_counter
    scenario = Scenario(small, found, "float32", batch=2, new_tokens=0)
    assert model_memory(scenario, "math").phases[0].work.flops == by_counter


@pytest.mark.parametrize("backend", ["flash", "blockwise", "math", "eager"])
@pytest.mark.parametrize("trained", ["full", "frozen-tower", "projector"])
def test_a_training_step(backend, trained):
    from attnswitch.estimating.adapters import prepare

    small = narrow("llava-1.5-7b")
    found, training = sample(small, text_tokens=5), Training(trained)
    model = build_model(small)
    prepare(model, training)
    inputs = make_inputs(small, found)

    def step():
        if backend == "eager":
            model.set_attn_implementation("eager")
            forward_backward(model, inputs)
        else:
            with use(backend):
                forward_backward(model, inputs)

    scenario = Scenario(small, found, "float32", training=training)
    assert model_memory(scenario, backend).phases[0].work.flops == counted(step)
