"""`torch.compile` recognises attention written by hand and replaces it by FlashAttention."""

import math

import torch

import attnswitch
from attnswitch.report.text import trace_text


class Attention(torch.nn.Module):
    def forward(self, hidden):
        q = k = v = hidden.unflatten(-1, (4, 8)).transpose(1, 2)
        scores = q @ k.transpose(-1, -2) / math.sqrt(8)
        return (torch.softmax(scores, dim=-1) @ v).transpose(1, 2).flatten(2)


model = torch.nn.Sequential(Attention()).eval()
hidden = torch.randn(1, 6, 32)

compiled = torch.compile(model)
with torch.inference_mode(), attnswitch.trace(compiled) as before:
    compiled(hidden)
print("Before the switch\n" + trace_text(before.to_json()))

with torch.inference_mode(), attnswitch.use("standard"):
    compiled = torch.compile(model)
    with attnswitch.trace(compiled) as after:
        compiled(hidden)
print("After the switch\n" + trace_text(after.to_json()))
