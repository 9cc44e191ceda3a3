"""A tiny LLaVA answers, trains and is copied, as any program would do it; nothing here is ours."""

from __future__ import annotations

import copy
import sys

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

torch.manual_seed(0)
vision = CLIPVisionConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                          num_attention_heads=2, image_size=28, patch_size=14,
                          projection_dim=32)  # fmt: skip
text = LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, vocab_size=100,
                   num_attention_heads=4, num_key_value_heads=2,
                   max_position_embeddings=64)  # fmt: skip
config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=99)
model = LlavaForConditionalGeneration(config)
ids = torch.tensor([[1, 99, 99, 99, 99, 5, 6, 7]])
inputs = {
    "input_ids": ids,
    "pixel_values": torch.randn(1, 3, 28, 28),
    "attention_mask": torch.ones_like(ids),
}
if sys.argv[1] == "answer":
    model.eval().generate(**inputs, max_new_tokens=10, min_new_tokens=10, do_sample=False)
    copy.deepcopy(model)
    hooks = [
        hook
        for module in model.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ]
    # transformers leaves hooks of its own here; who watches leaves none.
    assert not any("attnswitch" in hook.__module__ for hook in hooks)
else:
    for _ in range(3):
        model.train()(**inputs, labels=ids).loss.backward()
