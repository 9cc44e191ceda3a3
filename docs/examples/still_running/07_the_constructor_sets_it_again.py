"""The caller asks for eager attention; the project's constructor writes its own wish over it."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import attnswitch
from attnswitch.report.text import trace_text


class ProjectModel(LlamaForCausalLM):
    def __init__(self, config):
        config._attn_implementation = "sdpa"  # "flash_attention_2" in the projects it is taken from
        super().__init__(config)


def load(**asked):
    config = LlamaConfig(vocab_size=32, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                         num_attention_heads=4)  # fmt: skip
    return ProjectModel._from_config(config, **asked).eval()


model = load(attn_implementation="eager")
tokens = torch.arange(8)[None]
with torch.inference_mode(), attnswitch.trace(model) as before:
    model(tokens)
print("Before the switch\n" + trace_text(before.to_json()))

with torch.inference_mode(), attnswitch.apply(model, "standard"), attnswitch.trace(model) as after:
    model(tokens)
print("After the switch\n" + trace_text(after.to_json()))
