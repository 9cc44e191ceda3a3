"""Questions that people ask instead, and what they answer while FlashAttention runs."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import is_flash_attn_2_available

import attnswitch
from attnswitch.report.text import trace_text

config = LlamaConfig(vocab_size=32, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                     num_attention_heads=4)  # fmt: skip
model = LlamaForCausalLM(config).eval()
tokens = torch.arange(8)[None]
print(f"is_flash_attn_2_available(): {is_flash_attn_2_available()}")
print(f"'flash' in config._attn_implementation: {'flash' in model.config._attn_implementation}")

with torch.inference_mode(), attnswitch.trace(model) as before:
    model(tokens)
print(f"flash_sdp_enabled(): {torch.backends.cuda.flash_sdp_enabled()}\n")
print("Before the switch\n" + trace_text(before.to_json()))

with torch.inference_mode(), attnswitch.apply(model, "standard"), attnswitch.trace(model) as after:
    model(tokens)
    print(f"flash_sdp_enabled(): {torch.backends.cuda.flash_sdp_enabled()}, a toggle, no kernel\n")
print("After the switch\n" + trace_text(after.to_json()))
