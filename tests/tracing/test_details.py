"""What a receipt holds besides the kernel: source, dtype, shapes, mask, what was refused."""

from __future__ import annotations

import pytest
import torch

import attnswitch
from tests.core import tiny_llava
from tests.tracing.small_models import SdpaAttention, Stack, hidden_states


@pytest.fixture(scope="module")
def model():
    return tiny_llava.build()


def answer(model, tokens=4, **options):
    with torch.inference_mode():
        model.generate(
            **tiny_llava.inputs(), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False,
            **options,
        )  # fmt: skip


def test_where_it_was_asked(model):
    with attnswitch.trace(model) as trace:
        answer(model)
    assert {r.source for r in trace.receipts} == {
        "the model's config: attn_implementation='sdpa', transformers' default"
    }
    with attnswitch.apply(model, "math"), attnswitch.trace(model) as trace:
        answer(model)
    assert {r.source for r in trace.receipts} == {"apply()"}


def test_a_module_without_a_setting_says_so():
    model = Stack(SdpaAttention())
    with torch.no_grad(), attnswitch.trace(model) as trace:
        model(hidden_states())
    assert trace.receipts[0].source == "default: the module has no setting"


def test_a_policys_line_is_named(model, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("# off\nuse_flash_attention: false\n")
    with attnswitch.apply(model, str(policy)), attnswitch.trace(model) as trace:
        answer(model)
    assert {(r.source, r.backend) for r in trace.receipts} == {
        (f"apply() ({policy}:2)", "blockwise"),
    }  # fmt: skip


def test_shapes_dtype_and_mask(model):
    with attnswitch.trace(model) as trace:
        answer(model)
    receipt = next(r for r in trace.receipts if r.phase == "prefill")
    query, key = receipt.shapes[0][:2]
    assert (query, key[-2]) == ([1, 4, 8, 16], 8)
    assert receipt.dtype == "float32"
    assert receipt.mask == "causal"
    assert next(r for r in trace.receipts if r.phase == "vision").mask == "none"


def test_padding_shows_as_a_mask(model):
    with torch.inference_mode(), attnswitch.trace(model) as trace:
        model(**tiny_llava.padded_inputs("left"))
    masks = {r.mask for r in trace.receipts if r.role == "language_model"}
    assert masks == {"2×1×11×11 bool"}


def test_bfloat16_is_told():
    model = Stack(SdpaAttention()).to(torch.bfloat16)
    with torch.no_grad(), attnswitch.trace(model) as trace:
        model(hidden_states().to(torch.bfloat16))
    assert trace.receipts[0].dtype == "bfloat16"


def test_faster_backends_and_why_they_were_refused(model):
    with attnswitch.apply(model, "standard"), attnswitch.trace(model) as trace:
        answer(model)
    refused = {line["backend"]: line["reasons"] for line in trace.receipts[0].refused}
    assert refused["flash"] == ["'standard' was asked for"]
    assert any("cuda" in reason for reason in refused["efficient"])


@pytest.mark.parametrize("word", ["flash", "standard"])
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_generate_with_either_cache(model, word, cache):
    backend = {"flash": "flash", "standard": "blockwise"}[word]
    with attnswitch.apply(model, word), attnswitch.trace(model) as trace:
        answer(model, cache_implementation=cache)
    calls = {}
    for receipt in trace.receipts:
        key = (receipt.role, receipt.phase, receipt.backend)
        calls[key] = calls.get(key, 0) + receipt.calls
    assert calls == {
        ("vision_tower", "vision", backend): 3,
        ("language_model", "prefill", backend): 2,
        ("language_model", "decode", backend): 6,
    }


@pytest.mark.parametrize(
    ("variables", "source"),
    [({"ATTNSWITCH": "math"}, "ATTNSWITCH"), ({}, "default: the module has no setting")],
)
def test_the_environment_or_nothing_set_it(variables, source):
    """In a process of its own, as it is armed there."""
    import os
    import subprocess
    import sys
    from pathlib import Path

    root = Path(__file__).parents[2]
    script = (
        "from attnswitch import arming\n"
        "import torch\n"
        "arming.arm()\n"
        "import attnswitch\n"
        "from tests.tracing.small_models import SdpaAttention, Stack, hidden_states\n"
        "with torch.no_grad(), attnswitch.trace(Stack(SdpaAttention())) as trace:\n"
        "    trace.model(hidden_states())\n"
        "print({r.source for r in trace.receipts})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **variables}, cwd=root,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == str({source}), done.stderr


def test_a_keyword_and_a_config_are_told():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, vocab_size=32,
                         num_attention_heads=4, attn_implementation="eager")  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.inference_mode(), attnswitch.trace(model) as trace:
        model(torch.tensor([[1, 2, 3]]))
    (receipt,) = trace.receipts
    assert receipt.source == "the model's config: attn_implementation='eager'"
    assert (receipt.requested, receipt.backend) == (None, "eager")
