"""An attention function registered without a mask function gets no mask: the model cheats."""

import torch
from torch.nn import functional
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM

import attnswitch
from attnswitch.report.text import trace_text


def project_attention(module, query, key, value, attention_mask, **options):
    output = functional.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
    return output.transpose(1, 2), None


AttentionInterface.register("project_attention", project_attention)
torch.manual_seed(0)
config = LlamaConfig(vocab_size=32, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                     num_attention_heads=4, attn_implementation="project_attention")  # fmt: skip
model = LlamaForCausalLM(config).eval()
tokens = torch.arange(8)[None]
other_end = tokens.clone()
other_end[0, -1] = 31


def sees_the_future():
    return not torch.allclose(model(tokens).logits[0, 0], model(other_end).logits[0, 0], atol=1e-6)


with torch.inference_mode(), attnswitch.trace(model) as before:
    cheats = sees_the_future()
print("Before the switch\n" + trace_text(before.to_json()))
print(f"Mask: {before.receipts[0].mask}. The first token knows the last: {cheats}.\n")

with torch.inference_mode(), attnswitch.apply(model, "standard"), attnswitch.trace(model) as after:
    cheats = sees_the_future()
print("After the switch\n" + trace_text(after.to_json()))
print(f"Mask: {after.receipts[0].mask}. The first token knows the last: {cheats}.")
