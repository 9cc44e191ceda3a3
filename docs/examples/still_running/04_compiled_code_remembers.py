"""Compiled code keeps the kernel that it was compiled with, whatever is asked later."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

import attnswitch
from attnswitch.report.text import trace_text


class Attention(torch.nn.Module):
    def forward(self, hidden):
        heads = hidden.unflatten(-1, (4, 8)).transpose(1, 2)
        return scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)


hidden = torch.randn(1, 6, 32)
model = torch.compile(torch.nn.Sequential(Attention()).eval())
with torch.inference_mode():
    model(hidden)

# The math kernel is asked for now, but the model is compiled already.
with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), attnswitch.trace(model) as before:
    model(hidden)
print("Before the switch\n" + trace_text(before.to_json()))

with torch.inference_mode(), attnswitch.use("standard"), attnswitch.trace(model) as after:
    model(hidden)
print("After the switch\n" + trace_text(after.to_json()))
