"""A vision tower as forks carry it: a private file with attention written out, and no switch."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


class TowerConfig(PretrainedConfig):
    model_type = "private_tower"
    hidden_size = 32
    num_attention_heads = 4


class PrivateAttention(nn.Module):
    """As CLIP's and SigLIP's before 4.45."""

    def __init__(self, config):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // self.num_heads
        self.scale = self.head_dim**-0.5
        self.dropout = 0.0
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_states, attention_mask=None, output_attentions=False):
        batch, rows, _ = hidden_states.shape
        projected = (p(hidden_states) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k, v = (t.view(batch, rows, self.num_heads, -1).transpose(1, 2) for t in projected)
        scores = torch.matmul(q, k.transpose(2, 3)) * self.scale
        if attention_mask is not None:
            scores = scores + attention_mask
        weights = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
        out = torch.matmul(weights, v).transpose(1, 2).reshape(hidden_states.shape)
        return self.out_proj(out), weights


class SharperAttention(nn.Module):
    """Looks the same from outside, and computes something else."""

    def __init__(self, config):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // self.num_heads
        self.scale, self.dropout = self.head_dim**-0.5, 0.0
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(config.hidden_size, config.hidden_size) for _ in range(4)
        )

    def forward(self, hidden_states, attention_mask=None, output_attentions=False):
        batch, rows, _ = hidden_states.shape
        projected = (p(hidden_states) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k, v = (t.view(batch, rows, self.num_heads, -1).transpose(1, 2) for t in projected)
        weights = (3 * torch.matmul(q, k.transpose(2, 3)) * self.scale).softmax(dim=-1)
        out = torch.matmul(weights, v).transpose(1, 2).reshape(hidden_states.shape)
        return self.out_proj(out), weights


class Tower(PreTrainedModel):
    """One layer of it; `kind` is the attention class."""

    config_class = TowerConfig
    kind: type[nn.Module] = PrivateAttention

    def __init__(self, config):
        super().__init__(config)
        self.vision_tower = self.kind(config)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(0, 0.5)

    def forward(self, hidden_states, attention_mask=None, output_attentions=False):
        return self.vision_tower(hidden_states, attention_mask, output_attentions)


class SharperTower(Tower):
    kind = SharperAttention


if __name__ == "__main__":
    torch.manual_seed(0)
    tower = Tower(TowerConfig()).eval()
    with torch.no_grad():
        for _ in range(3):
            tower(torch.randn(2, 6, 32))
