"""flash_attn is not installed, the flag is off, and the project's fallback runs FlashAttention."""

import torch

import attnswitch
from attnswitch.report.text import trace_text

try:
    from flash_attn import flash_attn_func
except ImportError:
    flash_attn_func = None


class ProjectAttention(torch.nn.Module):
    def __init__(self, use_flash_attn):
        super().__init__()
        self.use_flash_attn = use_flash_attn and flash_attn_func is not None

    def forward(self, hidden):
        q = k = v = hidden.unflatten(-1, (4, 8))
        if self.use_flash_attn:
            return flash_attn_func(q, k, v, causal=True)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


model = torch.nn.Sequential(ProjectAttention(use_flash_attn=False)).eval()
hidden = torch.randn(1, 6, 32)
with torch.inference_mode(), attnswitch.trace(model) as before:
    model(hidden)
print("Before the switch\n" + trace_text(before.to_json()))

with torch.inference_mode(), attnswitch.apply(model, "standard"), attnswitch.trace(model) as after:
    model(hidden)
print("After the switch\n" + trace_text(after.to_json()))
