"""Which modules count as attention, and how the switch is said to reach them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attnswitch.sites import find_sites, reach_of, role_of

ALL_ATTENTION_FUNCTIONS = {"sdpa": None}


class PlainLinearAttention(nn.Module):
    """A recurrence: no softmax, so nothing that another kernel could compute."""

    def forward(self, query, key, value):
        return query @ (key.transpose(-2, -1) @ value)


class FamousLinearAttention(nn.Module):
    """Called so after its model; what it computes is softmax attention."""

    def forward(self, query, key, value):
        return torch.softmax(query @ key.transpose(-2, -1), dim=-1) @ value


class TableAttention(nn.Module):
    """As transformers' models ask, beside a getattr that has nothing to do with it."""

    def forward(self, query, cache=None):
        cache = getattr(self, "cache", cache)
        return ALL_ATTENTION_FUNCTIONS[self.config](query)


class MistakenAttention(nn.Module):
    """Asks the table for an attribute, which it never has: eager code runs under every name."""

    def forward(self, query, key, value):
        attend = getattr(ALL_ATTENTION_FUNCTIONS, self.config, eager)
        return attend(query, key, value)


def eager(query, key, value):
    return torch.softmax(query @ key.transpose(-2, -1), dim=-1) @ value


def test_linear_attention_is_no_site():
    model = nn.ModuleList([PlainLinearAttention(), FamousLinearAttention()])
    assert list(find_sites(model)) == ["1"]


@pytest.mark.parametrize(
    ("kind", "reach"),
    [
        (TableAttention, "interface"),
        (MistakenAttention, "own"),
        (FamousLinearAttention, "own"),
        (nn.MultiheadAttention, "operator"),
    ],
)
def test_reach(kind, reach):
    module = kind(8, 2) if kind is nn.MultiheadAttention else kind()
    assert reach_of(module) == reach


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("model.vision_tower.encoder.layers.0.self_attn", "vision_tower"),
        ("model.encoder.vision_tower.encoder.layers.0.self_attn", "vision_tower"),
        ("qformer.encoder.layer.1.crossattention.attention", "projector"),
        ("model.perceiver_resampler.blocks.0.0", "projector"),
        ("image_to_text_projection.x_attn", "projector"),
        ("model.gated_cross_attn_layers.0.cross_attn", "language_model"),
        ("model.language_model.layers.3.self_attn", "language_model"),
        ("model.audio_tower.layers.0.self_attn", "other"),
    ],
)
def test_role_of_a_path(path, role):
    assert role_of(path) == role
