"""`nn.MultiheadAttention` has no attention setting: in training it runs FlashAttention."""

import torch

import attnswitch
from attnswitch.report.text import trace_text


class Resampler(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.query = torch.nn.Parameter(torch.randn(1, 4, 32))
        self.attention = torch.nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, features):
        return self.attention(self.query, features, features, need_weights=False)[0]


model = Resampler().train()
features = torch.randn(1, 16, 32)
with attnswitch.trace(model) as before:
    model(features).sum().backward()
print("Before the switch\n" + trace_text(before.to_json()))

with attnswitch.apply(model, "standard"), attnswitch.trace(model) as after:
    model(features).sum().backward()
print("After the switch\n" + trace_text(after.to_json()))
