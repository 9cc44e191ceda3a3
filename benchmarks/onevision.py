"""LLaVA-OneVision-0.5B's geometry with random weights: what the other benchmarks here run.

SigLIP-so400m and Qwen2-0.5B in bf16 over 2,980 tokens: a picture of 384×1152 in four views, and 37
of text. What it costs under each request is a question for `attnswitch bench`:

    attnswitch bench --geometry llava-onevision-0.5b --tokens 2980 --dtype bf16 \
        --phase vision prefill decode training_step
"""

from __future__ import annotations

from typing import Any

import torch

from attnswitch.geometries.building import build_model, smaller
from attnswitch.geometries.find import geometry
from attnswitch.geometries.inputs import make_inputs as inputs_of
from attnswitch.geometries.samples import sample

GEOMETRY = geometry("llava-onevision-0.5b")
SAMPLE = sample(GEOMETRY, image_size=(384, 1152), text_tokens=37)


def build(layers: int | None, dtype: str = "bfloat16") -> Any:
    """Return the model with random weights in `dtype`, attention through SDPA."""
    shape = GEOMETRY if layers is None else smaller(GEOMETRY, layers)
    return build_model(shape, dtype=dtype)


def make_inputs(model: Any) -> dict[str, torch.Tensor]:
    """Return one picture of four views and a short prompt."""
    return inputs_of(GEOMETRY, SAMPLE, dtype=model.dtype)


def sequence_length(model: Any, inputs: dict[str, torch.Tensor]) -> int:
    """Return how many tokens the language model sees."""
    return int(inputs["input_ids"].shape[1])


def prefill(model: Any, inputs: dict[str, torch.Tensor]) -> Any:
    """Run the prompt once, pictures included, as the first step of generation does."""
    with torch.no_grad():
        return model(**inputs, logits_to_keep=1, use_cache=True).logits
