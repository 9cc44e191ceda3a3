"""Mllama, tiny: LLaVA's shape, with the pictures entering through cross-attention layers."""

from __future__ import annotations

from typing import Any

import torch

from .cousins import make_config
from .tiny import IMAGE_TOKEN, TEXT, Tensors, Tiny, pixels


def _mllama():
    """Pictures enter through cross-attention layers; the image token only says from where on."""
    text: dict[str, Any] = {name: value for name, value in TEXT.items() if name != "head_dim"}
    return make_config(
        "MllamaConfig",
        text_config={
            **text,
            "num_hidden_layers": 3,
            "cross_attention_layers": [1],
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 4,
            "image_size": 28,
            "patch_size": 14,
            "vision_output_dim": 64,
            "intermediate_layers_indices": [1],
            "max_num_tiles": 2,
            "supported_aspect_ratios": [[1, 1], [1, 2]],
        },
        image_token_index=IMAGE_TOKEN,
    )


def _tiles_for_crossing(prompts: int, each: int) -> Tensors:
    """Two tiles a picture [prompts, each, 2, 3, 28, 28]; a prompt's first picture fills one."""
    ids = torch.full((prompts, each), 2)
    ids[:, 0] = 1
    return {
        "pixel_values": pixels(prompts, each, 2, 3, 28, 28),
        "aspect_ratio_ids": ids,
        "aspect_ratio_mask": torch.stack([torch.ones_like(ids), ids - 1], dim=-1),
    }


def _crossing(input_ids: torch.Tensor) -> Tensors:
    """Which tiles each token sees [B, T, pictures, 2]: those of the pictures before it."""
    here = input_ids == IMAGE_TOKEN
    numbers = torch.arange(1, int(here.sum(1).max()) + 1)
    seen = here.cumsum(1)[:, :, None] >= numbers
    return {"cross_attention_mask": seen[..., None].expand(-1, -1, -1, 2).long()}


MLLAMA = Tiny("mllama", _mllama, 1, _tiles_for_crossing, extra=_crossing)
