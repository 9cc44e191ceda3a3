"""Where nobody asked attnswitch: who decided, and why nothing faster ran."""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import LlamaConfig, LlamaForCausalLM

import attnswitch
from attnswitch.tracing.unasked import Unasked
from tests.tracing.small_models import EagerAttention, SdpaAttention, Stack, hidden_states

NO_PACKAGE = "the package flash_attn is not installed"
NOT_CUDA = "runs on cuda, not on cpu"


def refusals(model, *inputs) -> dict[str, list[str]]:
    with torch.no_grad(), attnswitch.trace(model) as trace:
        model(*inputs)
    (receipt,) = trace.receipts
    return {one["backend"]: one["reasons"] for one in receipt.refused}


def llama(name: str):
    config = LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, vocab_size=32,
                         num_attention_heads=4, attn_implementation=name)  # fmt: skip
    return LlamaForCausalLM(config).eval()


def test_where_flash_ran_only_the_package_is_faster():
    assert refusals(Stack(SdpaAttention()), hidden_states()) == {
        "flash_attn": ["the module calls PyTorch's SDPA", NOT_CUDA,
                       "takes bfloat16, float16, not float32", NO_PACKAGE],
    }  # fmt: skip


def test_a_toggle_of_pytorch_is_named():
    with sdpa_kernel(SDPBackend.MATH):
        found = refusals(llama("sdpa"), torch.tensor([[1, 2, 3]]))
    assert found["flash"] == ["torch.backends.cuda.enable_flash_sdp(False) holds"]
    assert found["efficient"] == [
        "torch.backends.cuda.enable_mem_efficient_sdp(False) holds", NOT_CUDA,
    ]  # fmt: skip
    assert found["flash_attn"][0] == "the model's config asks for 'sdpa'"
    assert set(found) == {"flash_attn", "flash", "efficient"}


def test_a_config_that_asks_for_eager_is_the_reason():
    found = refusals(llama("eager"), torch.tensor([[1, 2, 3]]))
    assert found["flash"] == ["the model's config asks for 'eager'"]
    assert found["math"] == ["the model's config asks for 'eager'"]


def test_arithmetic_of_the_modules_own_is_the_reason():
    found = refusals(Stack(EagerAttention()), hidden_states())
    assert found["flash"] == ["the module does its own arithmetic"]


def test_a_mask_on_a_gpu_is_the_reason():
    here = Unasked("sdpa", "cuda", (8, 0), ())
    found = {one["backend"]: one["reasons"]
             for one in here.refusals("efficient", "bfloat16", 64, True)}  # fmt: skip
    assert found["flash"] == ["takes no attention mask on CUDA"]
    assert here.refusals("math", "bfloat16", 320, False)[1]["reasons"] == [
        "head width at most 256, not 320"
    ]
    assert here.refusals("efficient", "bfloat16", 64, False)[1]["reasons"] == [
        "PyTorch's SDPA passed it over"
    ]


def test_a_kernel_that_is_not_ranked_has_no_faster_ones():
    assert Unasked(None, "cuda", (9, 0), ()).refusals("cudnn", "bfloat16", 64, False) == []
