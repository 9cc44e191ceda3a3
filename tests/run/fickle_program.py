"""A tiny language model that takes another kernel in its third pass; nothing here is ours."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, vocab_size=100,
                     num_attention_heads=4, num_key_value_heads=2)  # fmt: skip
model = LlamaForCausalLM(config).eval()
ids = torch.tensor([[1, 5, 6, 7]])
mask = torch.ones(1, 1, 4, 4).tril().log()
for number in range(1, 8):
    # A mask that wants a gradient is more than the kernel takes.
    model(ids, attention_mask=mask.clone().requires_grad_(number == 3))
