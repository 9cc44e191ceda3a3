"""The seven LLaVA classes that the command line names, tiny."""

from __future__ import annotations

import torch

from .tiny import IMAGE_TOKEN, TEXT, VISION, Tensors, Tiny, pixels


def _llava_like(config_class: str, **more):
    import transformers

    return getattr(transformers, config_class)(
        text_config={"model_type": "llama", **TEXT},
        vision_config={"model_type": "clip_vision_model", "projection_dim": 32, **VISION},
        image_token_index=IMAGE_TOKEN,
        **more,
    )


def _llava_onevision():
    from transformers import LlavaOnevisionConfig

    return LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **TEXT},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **VISION},
        image_token_index=IMAGE_TOKEN,
        video_token_index=IMAGE_TOKEN + 1,
        image_grid_pinpoints=[[28, 28]],
    )


def _fast_vlm():
    """A timm tower as in the checkpoints, in the smallest architecture that FastVLM can use."""
    from transformers import FastVlmConfig

    return FastVlmConfig(
        text_config={"model_type": "qwen2", **TEXT},
        vision_config={
            "model_type": "timm_wrapper",
            "architecture": "fastvit_sa12",
            "do_pooling": True,
            "global_pool": "avg",
            "hidden_size": 64,
            "model_args": {
                "inference_mode": True,
                "layers": [1, 1, 1, 1],
                "embed_dims": [16, 16, 32, 32],
            },
        },
        image_token_index=IMAGE_TOKEN,
    )


def _tiles(prompts: int, each: int) -> Tensors:
    """A base picture and one tile each, as LLaVA-NeXT cuts a picture of 28 x 28."""
    count = prompts * each
    return {
        "pixel_values": pixels(count, 2, 3, 28, 28),
        "image_sizes": torch.tensor([[28, 28]] * count),
    }


def _frames_or_pictures(prompts: int, each: int) -> Tensors:
    return {"pixel_values_images": pixels(prompts * each, 3, 28, 28)}


def _square_pictures(prompts: int, each: int) -> Tensors:
    return {"pixel_values": pixels(prompts * each, 3, 64, 64)}


TILE_TOKENS = 4 + 4 + 2  # the base picture, the tile, and a newline for each of its two rows
NEXT = {"image_grid_pinpoints": [[28, 28]]}

NAMED = (
    Tiny("llava", lambda: _llava_like("LlavaConfig"), 4),
    Tiny("llava_next", lambda: _llava_like("LlavaNextConfig", **NEXT), TILE_TOKENS, _tiles),
    Tiny(
        "llava_next_video",
        lambda: _llava_like("LlavaNextVideoConfig", video_token_index=IMAGE_TOKEN + 1, **NEXT),
        TILE_TOKENS,
        _tiles,
    ),
    Tiny("llava_onevision", _llava_onevision, TILE_TOKENS, _tiles),
    Tiny("vipllava", lambda: _llava_like("VipLlavaConfig", vision_feature_layers=[-2, -1]), 4),
    Tiny(
        "video_llava",
        lambda: _llava_like("VideoLlavaConfig", video_token_index=IMAGE_TOKEN + 1),
        4,
        _frames_or_pictures,
    ),
    Tiny("fast_vlm", _fast_vlm, 4, _square_pictures),
)
