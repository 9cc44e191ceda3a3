"""A LLaVA of the true architecture, tiny and random, and inputs for it."""

from __future__ import annotations

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

IMAGE_TOKEN = 99


def build(**options) -> LlavaForConditionalGeneration:
    """3 CLIP layers, 2 Llama layers with 4 query and 2 key heads; seeded."""
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
            image_size=28, patch_size=14,
        ),
        text_config=LlamaConfig(
            hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, vocab_size=100, max_position_embeddings=256,
        ),
        image_token_index=IMAGE_TOKEN,
        **options,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config).eval()
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = None
    return model


def inputs(batch: int = 1) -> dict[str, torch.Tensor]:
    """Two words, one picture of four tokens, two words."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.tensor([[1, 2, *[IMAGE_TOKEN] * 4, 5, 6]] * batch)
    pixels = torch.randn(batch, 3, 28, 28, generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


def padded_inputs(side: str) -> dict[str, torch.Tensor]:
    """A batch of two; the second has three tokens of padding on `side`."""
    both = inputs(2)
    ids, mask = both["input_ids"], both["attention_mask"]
    longer, pad = ids.new_tensor([7, 8, 9]), ids.new_zeros(3)
    first = torch.cat([ids[0], longer])
    parts = [pad, ids[1]] if side == "left" else [ids[1], pad]
    marks = [pad, mask[1]] if side == "left" else [mask[1], pad]
    return {
        "input_ids": torch.stack([first, torch.cat(parts)]),
        "attention_mask": torch.stack([torch.ones_like(first), torch.cat(marks)]),
        "pixel_values": both["pixel_values"],
    }
