"""The language model was asked for eager attention. The vision tower was asked for nothing."""

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)  # fmt: skip

import attnswitch
from attnswitch.report.text import trace_text

config = LlavaConfig(
    vision_config=CLIPVisionConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=3,
                                   num_attention_heads=4, image_size=28, patch_size=14),
    text_config=LlamaConfig(vocab_size=32, hidden_size=32, intermediate_size=64,
                            num_hidden_layers=2, num_attention_heads=4),
    image_token_index=31,
)  # fmt: skip
model = LlavaForConditionalGeneration(config).eval()
model.model.language_model.set_attn_implementation("eager")
inputs = {"input_ids": torch.tensor([[1, 31, 31, 31, 31, 2]]),
          "pixel_values": torch.zeros(1, 3, 28, 28)}  # fmt: skip

with torch.inference_mode(), attnswitch.trace(model) as before:
    model(**inputs)
print("Before the switch\n" + trace_text(before.to_json()))

with torch.inference_mode(), attnswitch.apply(model, "standard"), attnswitch.trace(model) as after:
    model(**inputs)
print("After the switch\n" + trace_text(after.to_json()))
