"""Small models with attention of every kind, for the tests of tracing."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

FLASH = "aten::_scaled_dot_product_flash_attention_for_cpu"
WIDTH, HEADS = 32, 4


class EagerAttention(nn.Module):
    """Attention written by hand, in the form that Inductor recognises and fuses."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def heads(self, hidden):
        batch, rows, _ = hidden.shape
        return [
            projection(hidden).view(batch, rows, HEADS, WIDTH // HEADS).transpose(1, 2)
            for projection in (self.q, self.k, self.v)
        ]

    def attend(self, q, k, v):
        scores = q @ k.transpose(-1, -2) / math.sqrt(WIDTH // HEADS)
        return torch.softmax(scores, dim=-1) @ v

    def forward(self, hidden):
        return self.attend(*self.heads(hidden)).transpose(1, 2).flatten(2)


class SdpaAttention(EagerAttention):
    """Attention by PyTorch's scaled_dot_product_attention, as in remote code."""

    def attend(self, q, k, v):
        return functional.scaled_dot_product_attention(q, k, v)


class Stack(nn.Module):
    """Layers of attention, one after the other."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, hidden):
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        return hidden


def hidden_states(rows: int = 6, **options) -> torch.Tensor:
    return torch.randn(1, rows, WIDTH, generator=torch.Generator().manual_seed(0), **options)


def found(trace) -> list[tuple]:
    """What the receipts say: site, phase, backend, evidence and calls."""
    return [(r.site, r.phase, r.backend, r.evidence, r.calls) for r in trace.receipts]
