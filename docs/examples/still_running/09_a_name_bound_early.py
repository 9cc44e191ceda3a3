"""`scaled_dot_product_attention` is patched, but the module took the name at its import."""

import torch
from torch.nn import functional
from torch.nn.functional import scaled_dot_product_attention  # bound here, for good

import attnswitch
from attnswitch.report.text import trace_text


class ProjectAttention(torch.nn.Module):
    def forward(self, hidden):
        heads = hidden.unflatten(-1, (4, 8)).transpose(1, 2)
        return scaled_dot_product_attention(heads, heads, heads)


def by_hand(q, k, v):
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1) @ v


model = torch.nn.Sequential(ProjectAttention()).eval()
hidden = torch.randn(1, 6, 32)

original, functional.scaled_dot_product_attention = functional.scaled_dot_product_attention, by_hand
with torch.inference_mode(), attnswitch.trace(model) as before:
    model(hidden)
functional.scaled_dot_product_attention = original
print("Before the switch\n" + trace_text(before.to_json()))

with torch.inference_mode(), attnswitch.apply(model, "standard"), attnswitch.trace(model) as after:
    model(hidden)
print("After the switch\n" + trace_text(after.to_json()))
