"""A mask does not keep FlashAttention away: one that hides nothing is dropped for its sake."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import attnswitch
from attnswitch.report.text import trace_text

config = LlamaConfig(vocab_size=32, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                     num_attention_heads=4)  # fmt: skip
model = LlamaForCausalLM(config).eval()
tokens = torch.arange(8)[None]
hides_nothing = torch.ones_like(tokens)

with torch.inference_mode(), attnswitch.trace(model) as before:
    model(tokens, attention_mask=hides_nothing)
print("Before the switch\n" + trace_text(before.to_json()))
print(f"The mask that reached the kernel: {before.receipts[0].mask}\n")

with torch.inference_mode(), attnswitch.apply(model, "standard"), attnswitch.trace(model) as after:
    model(tokens, attention_mask=hides_nothing)
print("After the switch\n" + trace_text(after.to_json()))
