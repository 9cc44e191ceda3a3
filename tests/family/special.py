"""Cousins of LLaVA with a tower, a projector or a picture generator of their own kind, tiny."""

from __future__ import annotations

import torch

from .cousins import LLAMA, QWEN2, SIGLIP, make_config
from .tiny import IMAGE_TOKEN, TEXT, VISION, Tensors, Tiny, pixels


def _janus():
    return make_config(
        "JanusConfig",
        text_config=LLAMA,
        vision_config={**VISION, "mlp_ratio": 2, "projection_dim": 32, "num_image_tokens": 4},
        vq_config={
            "base_channels": 32,
            "channel_multiplier": [1, 1],
            "embed_dim": 8,
            "num_embeddings": 16,
            "num_patches": 4,
            "latent_channels": 8,
            "num_hidden_layers": 2,
            "projection_dim": 32,
            "image_token_embed_dim": 32,
        },
        image_token_id=IMAGE_TOKEN,
    )


def _deepseek_vl():
    return make_config(
        "DeepseekVLConfig", text_config=LLAMA, vision_config=SIGLIP, image_token_id=IMAGE_TOKEN
    )


def _got_ocr2():
    return make_config(
        "GotOcr2Config",
        text_config=QWEN2,
        vision_config={
            "hidden_size": 32,
            "output_channels": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 64,
            "patch_size": 16,
            "window_size": 2,
            "global_attn_indexes": [1],
            "mlp_dim": 48,
        },
        image_token_index=IMAGE_TOKEN,
    )


def square_64(prompts: int, each: int) -> Tensors:
    return {"pixel_values": pixels(prompts * each, 3, 64, 64)}


def _aria():
    return make_config(
        "AriaConfig",
        text_config={**TEXT, "moe_num_experts": 4, "moe_topk": 2, "moe_num_shared_experts": 1},
        vision_config={"model_type": "idefics3_vision", **VISION},
        projector_patch_to_query_dict={4: 3, 8: 4},
        image_token_index=IMAGE_TOKEN,
    )


def _ovis2():
    return make_config(
        "Ovis2Config",
        text_config=QWEN2,
        vision_config={
            **VISION,
            "hidden_stride": 2,
            "num_visual_indicator_tokens": 5,
            "vocab_size": 64,
        },
        image_token_id=IMAGE_TOKEN,
        visual_indicator_token_ids=[110, 111, 112, 113, 114],
        vocab_size=TEXT["vocab_size"],
        hidden_size=TEXT["hidden_size"],
    )


def _granite4_vision():
    return make_config(
        "Granite4VisionConfig",
        text_config=TEXT,
        vision_config={"model_type": "clip_vision_model", **VISION, "hidden_size": 64},
        qformer_config={
            "model_type": "blip_2_qformer",
            "intermediate_size": 48,
            "num_hidden_layers": 1,
            "cross_attention_frequency": 1,
            "use_qformer_text_input": False,
        },
        image_grid_pinpoints=[[28, 28]],
        downsample_rate="1/2",
        deepstack_layer_map=[[1, 0]],
        spatial_vision_layer=-1,
        spatial_target_layers=[0, 0, 1, 1],
        image_token_index=IMAGE_TOKEN,
    )


def _tiles(prompts: int, each: int) -> Tensors:
    """A base picture and one tile each."""
    count = prompts * each
    return {
        "pixel_values": pixels(count, 2, 3, 28, 28),
        "image_sizes": torch.tensor([[28, 28]] * count),
    }


def _perception_lm():
    return make_config(
        "PerceptionLMConfig",
        text_config=LLAMA,
        vision_config={
            "model_type": "timm_wrapper",
            "architecture": "vit_pe_core_large_patch14_336",
            "model_args": {
                "embed_dim": 32,
                "depth": 2,
                "num_heads": 4,
                "img_size": [56, 56],
                "global_pool": "",
                "use_post_transformer_norm": False,
                "init_values": 0.1,
                "ref_feat_shape": [4, 4],
            },
        },
        image_token_id=IMAGE_TOKEN,
        video_token_id=101,
        projector_pooling_ratio=2,
        vision_use_cls_token=True,
    )


def _tiled_wide(prompts: int, each: int) -> Tensors:
    return {"pixel_values": pixels(prompts * each, 1, 3, 56, 56)}


SPECIAL = (
    Tiny("janus", _janus, 4),
    Tiny("deepseek_vl", _deepseek_vl, 4),
    Tiny("got_ocr2", _got_ocr2, 1, square_64),
    Tiny("aria", _aria, 3),
    Tiny("ovis2", _ovis2, 1),
    Tiny("granite4_vision", _granite4_vision, 3, _tiles),
    Tiny("perception_lm", _perception_lm, 4, _tiled_wide),
)
