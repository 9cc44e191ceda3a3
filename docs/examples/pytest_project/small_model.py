"""The project under test: one layer of attention, by PyTorch's own function."""

import torch
from torch.nn.functional import scaled_dot_product_attention


class SelfAttention(torch.nn.Module):
    def forward(self, hidden):
        heads = hidden.unflatten(-1, (4, 8)).transpose(1, 2)
        return scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)


def build():
    return torch.nn.Sequential(SelfAttention(), torch.nn.Linear(32, 32)).eval()
