"""`use_flash_attention_2=False` is accepted, kept in the config, and read by nobody."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import attnswitch
from attnswitch.report.text import trace_text

config = LlamaConfig(vocab_size=32, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                     num_attention_heads=4, use_flash_attention_2=False)  # fmt: skip
model = LlamaForCausalLM(config).eval()
tokens = torch.arange(8)[None]
print(f"config.use_flash_attention_2 is {model.config.use_flash_attention_2}.\n")

with torch.inference_mode(), attnswitch.trace(model) as before:
    model(tokens)
print("Before the switch\n" + trace_text(before.to_json()))

with torch.inference_mode(), attnswitch.apply(model, "standard"), attnswitch.trace(model) as after:
    model(tokens)
print("After the switch\n" + trace_text(after.to_json()))
