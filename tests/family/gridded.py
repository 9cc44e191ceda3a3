"""Classes whose pictures are patches of a grid, of makers other than Qwen and GLM, tiny."""

from __future__ import annotations

import torch

from .cousins import (
    GRID_VISION,
    QWEN_TEXT,
    QWEN_TOKENS,
    ROPE,
    flat_patches,
    make_config,
    token_kinds,
)
from .tiny import IMAGE_TOKEN, TEXT, VISION, Tensors, Tiny, pixels

LATENT = {
    **{name: value for name, value in TEXT.items() if name != "head_dim"},
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
}


def _cosmos3_edge():
    return make_config(
        "Cosmos3EdgeConfig",
        text_config=QWEN_TEXT,
        vision_config={**VISION, "num_patches": 16},
        projector_hidden_size=48,
        **QWEN_TOKENS,
    )


def _dots3_note():
    """Latent attention: a layer that picks its keys, and one with a sliding window."""
    sliding = {
        f"swa_{name}": value
        for name, value in LATENT.items()
        if "_dim" in name or "_rank" in name or "_heads" in name
    }
    return make_config(
        "Dots3NoteConfig",
        text_config={
            **LATENT,
            **sliding,
            "swa_head_dim": 12,
            "head_dim": 12,
            "sliding_window": 64,
            "layer_types": ["indexed_attention", "sliding_attention"],
            "index_topk": 256,
            "index_head_dim": 8,
            "index_n_heads": 2,
            "mlp_layer_types": ["dense", "sparse"],
            "n_routed_experts": 2,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "shared_experts_intermediate_size": 24,
        },
        vision_config={
            **VISION,
            "mlp_layer_types": ["dense", "dense"],
            "adapter_in_dim": 32,
            "adapter_out_dim": 32,
        },
        audio_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "feature_size": 16,
            "downsample_hidden_size": 8,
            "adapter_input_size": 32,
            "adapter_out_dim": 32,
        },
        image_token_id=IMAGE_TOKEN,
        video_token_id=101,
        audio_token_id=106,
    )


def _ernie4_5_vl_moe():
    """Experts for words and experts for pictures."""
    return make_config(
        "Ernie4_5_VLMoeConfig",
        text_config={
            **TEXT,
            "rope_parameters": ROPE,
            "moe_intermediate_size": [24, 24],
            "moe_k": 2,
            "moe_num_experts": 2,
            "moe_num_shared_experts": 1,
            "mlp_layer_types": ["dense", "sparse"],
        },
        vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4},
        image_start_token_id=102,
        image_end_token_id=103,
        image_token_id=IMAGE_TOKEN,
        video_start_token_id=104,
        video_end_token_id=105,
        video_token_id=101,
    )


QWEN2_5_VISION = {**GRID_VISION, "fullatt_block_indexes": [1]}


def _exaone4_5():
    return make_config(
        "Exaone4_5_Config",
        text_config={
            "model_type": "exaone4",
            **TEXT,
            "sliding_window": 64,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        vision_config={**QWEN2_5_VISION, "num_key_value_heads": 2},
        image_token_id=IMAGE_TOKEN,
        video_token_id=101,
    )


def _hyperclovax():
    return make_config(
        "HyperCLOVAXVisionV2Config",
        text_config={"model_type": "hyperclovax", **TEXT},
        vision_config={"model_type": "qwen2_5_vl_vision", **QWEN2_5_VISION},
        image_token_id=IMAGE_TOKEN,
        video_token_id=101,
    )


def _hunyuan_vl():
    """A newline for each row of the picture, a token before it and one after it."""
    return make_config(
        "HunYuanVLConfig",
        text_config={
            **TEXT,
            "rope_parameters": {**ROPE, "mrope_section": [1, 1, 1, 1]},
        },
        vision_config={
            **VISION,
            "out_hidden_size": 32,
            "text_hidden_size": 32,
            "max_image_size": 56,
            "min_image_size": 28,
        },
        image_token_id=IMAGE_TOKEN,
        im_start_id=102,
        im_end_id=103,
        im_newline_id=104,
    )


def _paddleocr_vl():
    return make_config(
        "PaddleOCRVLConfig",
        text_config={**TEXT, "rope_parameters": ROPE},
        vision_config={**VISION, "image_size": 56},
        **QWEN_TOKENS,
    )


def _video_llama_3():
    return make_config(
        "VideoLlama3Config",
        text_config={"model_type": "qwen2", **TEXT},
        vision_config=VISION,
        image_token_id=IMAGE_TOKEN,
        video_token_id=101,
    )


def square_patches(prompts: int, each: int) -> Tensors:
    """Patches of one frame [pictures * 16, 3 * 14 * 14] and their grid: 4 x 4, merged to 2 x 2."""
    count = prompts * each
    return {
        "pixel_values": pixels(count * 16, 3 * 14 * 14),
        "image_grid_thw": torch.tensor([[1, 4, 4]] * count),
    }


def _unfolded_patches(prompts: int, each: int) -> Tensors:
    given = square_patches(prompts, each)
    return {**given, "pixel_values": given["pixel_values"].view(-1, 3, 14, 14)}


def _with_merge_sizes(prompts: int, each: int) -> Tensors:
    given = square_patches(prompts, each)
    return {**given, "image_merge_sizes": torch.full((prompts * each,), 2)}


FRAME = ((102,), (103,))
GRIDDED = (
    Tiny("cosmos3_edge", _cosmos3_edge, 4, square_patches, FRAME, token_kinds),
    Tiny("dots3_note", _dots3_note, 4, square_patches),
    Tiny("ernie4_5_vl_moe", _ernie4_5_vl_moe, 4, square_patches, FRAME, token_kinds),
    Tiny("exaone4_5", _exaone4_5, 4, flat_patches),
    Tiny("hyperclovax_vision_v2", _hyperclovax, 4, flat_patches),
    Tiny("hunyuan_vl", _hunyuan_vl, 8, square_patches, FRAME, token_kinds),
    Tiny("paddleocr_vl", _paddleocr_vl, 4, _unfolded_patches, FRAME, token_kinds),
    Tiny("video_llama_3", _video_llama_3, 4, _with_merge_sizes),
)
