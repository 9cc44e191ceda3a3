"""`set_attn_implementation("eager")` on a model with code of its own writes a config, no more."""

import torch
from torch.nn import functional
from transformers import PretrainedConfig, PreTrainedModel

import attnswitch
from attnswitch.report.text import trace_text


class ProjectAttention(torch.nn.Module):
    def forward(self, hidden):
        heads = hidden.unflatten(-1, (4, 8)).transpose(1, 2)
        return functional.scaled_dot_product_attention(heads, heads, heads)


class ProjectModel(PreTrainedModel):
    config_class = PretrainedConfig
    _supports_sdpa = True

    def __init__(self, config):
        super().__init__(config)
        self.attention = ProjectAttention()
        self.post_init()

    def forward(self, hidden):
        return self.attention(hidden)


model = ProjectModel(PretrainedConfig()).eval()
model.set_attn_implementation("eager")
print(f"The config says {model.config._attn_implementation!r}.\n")

hidden = torch.randn(1, 6, 32)
with torch.inference_mode(), attnswitch.trace(model) as before:
    model(hidden)
print("Before the switch\n" + trace_text(before.to_json()))

with torch.inference_mode(), attnswitch.apply(model, "standard"), attnswitch.trace(model) as after:
    model(hidden)
print("After the switch\n" + trace_text(after.to_json()))
