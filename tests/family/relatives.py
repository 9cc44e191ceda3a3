"""Classes built on LLaVA's code, or its shape, with a tower or a language model of another kind."""

from __future__ import annotations

import torch

from .cousins import flat_patches, make_config, token_kinds
from .special import square_64
from .tiny import IMAGE_TOKEN, TEXT, VISION, Tensors, Tiny, pixels

# A mixture of experts with few of them; "sparse" names its layers.
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}


def _deepseek_ocr2():
    """SAM's tower, then a decoder that reads 144 learned queries: each is a picture token."""
    return make_config(
        "DeepseekOcr2Config",
        text_config={
            **TEXT,
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "n_shared_experts": 1,
            "mlp_layer_types": ["dense", "sparse"],
            **EXPERTS,
        },
        vision_config={
            "sam_config": {
                "hidden_size": 32,
                "output_channels": 16,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "image_size": 64,
                "window_size": 2,
                "global_attn_indexes": [1],
                "mlp_dim": 48,
                "downsample_channels": [16, 32],
            },
            "encoder_config": {**TEXT},
        },
        image_token_id=IMAGE_TOKEN,
    )


def _florence2():
    """An encoder-decoder; the encoder reads the picture tokens and the prompt."""
    return make_config(
        "Florence2Config",
        text_config={
            "model_type": "bart",
            "vocab_size": TEXT["vocab_size"],
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
            "forced_eos_token_id": None,
        },
        vision_config={
            "depths": [1, 1],
            "patch_size": [7, 3],
            "patch_stride": [4, 2],
            "patch_padding": [3, 1],
            "patch_prenorm": [False, True],
            "embed_dim": [16, 32],
            "num_heads": [2, 4],
            "num_groups": [2, 4],
            "window_size": 2,
            "projection_dim": 32,
        },
        image_token_id=IMAGE_TOKEN,
    )


def _decoder_ids(input_ids: torch.Tensor) -> Tensors:
    """What was decoded so far, as long as the prompt, so that both have the same padding."""
    return {"decoder_input_ids": input_ids.where(input_ids != IMAGE_TOKEN, 3)}


def _inkling2():
    vision = {**VISION, "patch_size": 7, "posemb_grid_size": 4, "projection_hidden_dim": 32}
    del vision["image_size"]
    return make_config(
        "Inkling2Config",
        text_config={
            **TEXT,
            "unpadded_vocab_size": TEXT["vocab_size"],
            "swa_num_attention_heads": 4,
            "swa_num_key_value_heads": 2,
            "swa_head_dim": 8,
            "sliding_window_size": 64,
            "d_rel": 4,
            "rel_extent": 64,
            "layer_types": ["hybrid_sliding", "hybrid"],
            "n_routed_experts": 4,
            **EXPERTS,
        },
        vision_config={**vision, "text_hidden_size": 32},
        image_token_id=IMAGE_TOKEN,
    )


def _merged_patches(prompts: int, each: int) -> Tensors:
    """Four patches a picture, [pictures * 4, 14, 14, 3], each merged from four smaller ones."""
    count = prompts * each
    return {
        "pixel_values": pixels(count * 4, 14, 14, 3),
        "image_grid_thw": torch.tensor([[1, 2, 2]] * count),
    }


def _kimi_k25():
    return make_config(
        "Kimi_K25Config",
        text_config={
            "model_type": "deepseek_v3",
            **{name: value for name, value in TEXT.items() if name != "head_dim"},
            "num_key_value_heads": 4,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_nope_head_dim": 8,
            "qk_rope_head_dim": 4,
            "v_head_dim": 8,
            "n_routed_experts": 4,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            **EXPERTS,
        },
        vision_config={
            **{name: VISION[name] for name in VISION if name != "image_size"},
            "pos_emb_height": 4,
            "pos_emb_width": 4,
        },
        projection_hidden_size=32,
        image_token_id=IMAGE_TOKEN,
        video_token_id=101,
        vision_start_token_id=102,
        vision_end_token_id=103,
    )


def unfolded_patches(prompts: int, each: int) -> Tensors:
    """Patches [pictures * 16, 3, 14, 14] and their grid: 4 x 4, merged to 2 x 2."""
    count = prompts * each
    return {
        "pixel_values": pixels(count * 16, 3, 14, 14),
        "image_grid_thw": torch.tensor([[1, 4, 4]] * count),
    }


def _lfm2_vl():
    """A convolution and an attention layer in the language model."""
    return make_config(
        "Lfm2VlConfig",
        text_config={
            "model_type": "lfm2",
            **TEXT,
            "layer_types": ["conv", "full_attention"],
            "block_multiple_of": 16,
        },
        vision_config={
            "model_type": "siglip2_vision_model",
            **VISION,
            "num_patches": 16,
            "vision_use_head": False,
        },
        projector_hidden_size=48,
        image_token_id=IMAGE_TOKEN,
    )


def _padded_patches(prompts: int, each: int) -> Tensors:
    """Patches [pictures, 20, 588], of which 16 are the picture's 4 x 4 and four are padding."""
    count = prompts * each
    mask = torch.ones(count, 20, dtype=torch.int64)
    mask[:, 16:] = 0
    return {
        "pixel_values": pixels(count, 20, 3 * 14 * 14),
        "pixel_attention_mask": mask,
        "spatial_shapes": torch.tensor([[4, 4]] * count),
    }


def _minimax_m3_vl():
    """A full and a sparse attention layer; the sparse one picks blocks of keys."""
    return make_config(
        "MiniMaxM3VLConfig",
        text_config={
            **TEXT,
            "dense_intermediate_size": 48,
            "shared_intermediate_size": 24,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "rotary_dim": 4,
            "mlp_layer_types": ["dense", "sparse"],
            "layer_types": ["full_attention", "minimax_m3_sparse"],
            "index_n_heads": 2,
            "index_head_dim": 8,
            "index_block_size": 4,
            "index_topk_blocks": 16,
        },
        vision_config={**VISION, "image_size": 56},
        image_token_index=IMAGE_TOKEN,
        video_token_index=101,
        projector_hidden_size=32,
    )


def _molmo2():
    heads = {"num_key_value_heads": 4, "head_dim": 8}
    return make_config(
        "Molmo2Config",
        text_config={**TEXT, "additional_vocab_size": 8},
        vision_config={**VISION, **heads, "image_size": [28, 28]},
        adapter_config={
            **heads,
            "num_attention_heads": 4,
            "vision_feature_layer": [-1, 0],
            "hidden_size": 32,
            "intermediate_size": 48,
            "text_hidden_size": 32,
        },
        image_start_token_id=102,
        image_end_token_id=103,
        image_patch_id=IMAGE_TOKEN,
        low_res_image_start_token_id=104,
        frame_start_token_id=105,
        frame_end_token_id=106,
    )


def _pooled_patches(prompts: int, each: int) -> Tensors:
    """One crop of 2 x 2 patches a picture, pooled to two tokens; one pool is half empty."""
    count = prompts * each
    pools = [[[4 * i, 4 * i + 1], [4 * i + 2, -1]] for i in range(count)]
    return {
        "pixel_values": pixels(count, 4, 3 * 14 * 14),
        "image_token_pooling": torch.tensor(pools).flatten(0, 1),
        "image_grids": torch.tensor([[1, 2, 0, 0]] * count),
    }


RELATIVES = (
    Tiny("deepseek_ocr2", _deepseek_ocr2, 145, square_64),
    Tiny("florence2", _florence2, 17, extra=_decoder_ids),
    # Its router multiplies in float32, whatever the model's dtype.
    Tiny("inkling2", _inkling2, 4, _merged_patches, in_float64="model.vision_tower"),
    Tiny("kimi_k25", _kimi_k25, 4, unfolded_patches),
    Tiny("lfm2_vl", _lfm2_vl, 4, _padded_patches),
    Tiny("minimax_m3_vl", _minimax_m3_vl, 4, flat_patches),
    Tiny("molmo2", _molmo2, 2, _pooled_patches, frame=((102,), (103,)), extra=token_kinds),
)
