"""Classes that transformers makes from LLaVA's cousins and relatives, tiny."""

from __future__ import annotations

from typing import Any

import torch

from .cousins import (
    LLAMA,
    SIGLIP,
    WIDE_VISION,
    flat_patches,
    make_config,
    sized_pictures,
    token_kinds,
)
from .gridded import LATENT
from .qwens import HYBRID
from .relatives import EXPERTS
from .special import square_64
from .tiny import IMAGE_TOKEN, TEXT, VISION, Tensors, Tiny, pixels

SAM = {
    "hidden_size": 32,
    "output_channels": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 64,
    "window_size": 2,
    "global_attn_indexes": [1],
    "mlp_dim": 48,
}
ROUTED = {"n_routed_experts": 2, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
NO_DIM = {name: value for name, value in TEXT.items() if name != "head_dim"}


def _deepseek_vl_hybrid():
    """Two towers at once: SigLIP's, and SAM's for the fine print."""
    return make_config(
        "DeepseekVLHybridConfig",
        text_config=LLAMA,
        vision_config=SIGLIP,
        high_res_vision_config={"model_type": "sam_vision_model", **SAM},
        image_token_id=IMAGE_TOKEN,
    )


def _two_resolutions(prompts: int, each: int) -> Tensors:
    count = prompts * each
    return {
        "pixel_values": pixels(count, 3, 28, 28),
        "high_res_pixel_values": pixels(count, 3, 64, 64),
    }


def _little_mobilenet() -> dict[str, Any] | None:
    """MobileNetV5's stages with one block of each kind, where timm is here to read their names."""
    try:
        from timm.models._efficientnet_builder import decode_arch_def
    except ImportError:
        return None
    attends = ["mqa_r1_k3_h2_s1_d16_c32", "uir_r1_a0_k0_s1_e1_c32"]
    stages = [
        ["er_r1_k3_s2_e1_c16"],
        ["uir_r1_a3_k5_s2_e1_c16"],
        ["uir_r1_a3_k5_s2_e1_c32", *attends],
        ["uir_r1_a3_k5_s1_e1_c32", *attends],
    ]
    blocks = decode_arch_def(stages, group_size=None)
    return {"block_args": blocks, "stem_size": 16, "msfa_output_resolution": 2}


def _gemma3n():
    """A convolutional tower with attention in its later stages, and ears that hear nothing."""
    return make_config(
        "Gemma3nConfig",
        text_config={
            **TEXT,
            "vocab_size_per_layer_input": 120,
            "hidden_size_per_layer_input": 8,
            "num_kv_shared_layers": 0,
            "laurel_rank": 4,
            "layer_types": ["sliding_attention", "full_attention"],
            "altup_num_inputs": 2,
        },
        vision_config={
            "hidden_size": 2048,
            "vocab_size": 4,
            "vocab_offset": 120,
            "model_args": _little_mobilenet(),
        },
        vision_soft_tokens_per_image=4,
        audio_config={
            "vocab_size": 4,
            "vocab_offset": 124,
            "hidden_size": 32,
            "conf_num_attention_heads": 4,
            "conf_num_hidden_layers": 1,
            "input_feat_size": 16,
            "sscp_conv_channel_size": [8, 8],
        },
        image_token_id=IMAGE_TOKEN,
        audio_token_id=106,
    )


def _gemma4():
    """The ears are built, and hear nothing; pictures are seen from both sides in sliding layers."""
    return make_config(
        "Gemma4Config",
        text_config={
            **TEXT,
            "vocab_size_per_layer_input": 120,
            "hidden_size_per_layer_input": 8,
            "global_head_dim": 16,
            "layer_types": ["sliding_attention", "full_attention"],
            "sliding_window": 64,
            "use_bidirectional_attention": "vision",
        },
        vision_config={
            **VISION,
            "num_key_value_heads": 4,
            "head_dim": 8,
            "pooling_kernel_size": 2,
            "position_embedding_size": 16,
        },
        audio_config={
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "subsampling_conv_channels": [8, 8],
            "output_proj_dims": 32,
        },
        image_token_id=IMAGE_TOKEN,
        video_token_id=101,
        audio_token_id=106,
        boi_token_id=102,
        eoi_token_id=103,
        boa_token_id=104,
        eoa_token_index=105,
    )


def _placed_patches(prompts: int, each: int) -> Tensors:
    """Patches [pictures, 20, 588] with their places; 16 are the picture's 4 x 4, four padding."""
    count = prompts * each
    places = torch.full((20, 2), -1)
    places[:16] = torch.cartesian_prod(torch.arange(4), torch.arange(4)).flip(-1)
    return {
        "pixel_values": (pixels(count, 20, 3 * 14 * 14) + 1) / 2,
        "image_position_ids": places.expand(count, -1, -1).contiguous(),
    }


def _granite_docling():
    return make_config(
        "GraniteDoclingConfig",
        text_config=TEXT,
        vision_config={
            **WIDE_VISION,
            "out_hidden_size": 32,
            "scale_factor": 2,
            "deepstack_visual_indexes": [0],
            "use_fine_route": False,
        },
        image_token_id=IMAGE_TOKEN,
        pad_token_id=0,
    )


def _tiles_with_mask(prompts: int, each: int) -> Tensors:
    return {
        "pixel_values": pixels(prompts, each, 3, 56, 56),
        "pixel_attention_mask": torch.ones(prompts, each, dtype=torch.bool),
    }


def _inkling():
    """The tower folds patches and has no attention; the language model adds a bias by distance."""
    return make_config(
        "InklingConfig",
        text_config={
            **TEXT,
            "unpadded_vocab_size": TEXT["vocab_size"],
            "swa_num_attention_heads": 4,
            "swa_num_key_value_heads": 2,
            "swa_head_dim": 8,
            "sliding_window_size": 64,
            "d_rel": 4,
            "rel_extent": 64,
            "logits_mup_width_multiplier": 1.0,
            "layer_types": ["hybrid_sliding", "hybrid"],
            "mlp_layer_types": ["dense", "sparse"],
            "n_routed_experts": 2,
            **EXPERTS,
        },
        vision_config={
            "text_hidden_size": 32,
            "patch_size": 4,
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
        },
        audio_config={"n_mel_bins": 8, "mel_vocab_size": 16, "text_hidden_size": 32},
        image_token_id=IMAGE_TOKEN,
        audio_token_id=106,
        image_bos_token_id=102,
        audio_bos_token_id=104,
    )


def _folded_patches(prompts: int, each: int) -> Tensors:
    """Two patches a picture, of two frames: [pictures * 2, 2, 4, 4, 3]."""
    return {"pixel_values": pixels(prompts * each * 2, 2, 4, 4, 3)}


def _lfm3_vl():
    return make_config(
        "Lfm3VlConfig",
        text_config={
            "model_type": "lfm2",
            **TEXT,
            "layer_types": ["conv", "full_attention"],
            "block_multiple_of": 16,
        },
        vision_config={
            **VISION,
            "num_key_value_heads": 2,
            "layer_types": ["conv", "full_attention"],
        },
        projector_hidden_size=48,
        image_token_id=IMAGE_TOKEN,
        video_token_id=101,
        vision_start_token_id=102,
        vision_end_token_id=103,
    )


def _lighton_ocr():
    return make_config(
        "LightOnOcrConfig",
        text_config={"model_type": "qwen3", **TEXT},
        vision_config={"model_type": "pixtral", **WIDE_VISION, "head_dim": 8},
        image_token_id=IMAGE_TOKEN,
    )


def _minicpm(name: str, text: dict[str, Any], **more: Any):
    """Windows of two by two patches attend to themselves, and are merged, between the layers."""
    return make_config(
        name,
        text_config=text,
        vision_config=WIDE_VISION,
        insert_layer_id=0,
        image_token_id=IMAGE_TOKEN,
        video_token_id=101,
        **more,
    )


def _packed_strips(prompts: int, each: int) -> Tensors:
    """All pictures' 4 x 4 patches side by side: [1, 3, 14, pictures * 16 * 14]."""
    count = prompts * each
    return {
        "pixel_values": pixels(1, 3, 14, count * 16 * 14),
        "target_sizes": torch.tensor([[4, 4]] * count, dtype=torch.int32),
    }


def _mistral_large4():
    """Latent attention that picks its keys; the second layer takes over the first one's picks."""
    return make_config(
        "MistralLarge4Config",
        text_config={
            **LATENT,
            **ROUTED,
            "head_dim": 4,
            "index_topk": 256,
            "index_head_dim": 8,
            "index_n_heads": 2,
        },
        vision_config={"model_type": "pixtral", **WIDE_VISION, "head_dim": 8},
        image_token_index=IMAGE_TOKEN,
    )


def _muse(name: str, **more: Any):
    text = {**TEXT, "sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"]}
    return make_config(
        name,
        text_config={**text, "moe_hidden_size": 32, **ROUTED, "num_local_experts": 2},
        vision_config={
            **{name: VISION[name] for name in VISION if name != "image_size"},
            "pos_emb_height": 4,
            "pos_emb_width": 4,
        },
        out_hidden_size=128,  # four merged patches
        projector_hidden_size=48,
        image_token_id=IMAGE_TOKEN,
        video_token_id=101,
        **more,
    )


HEARING = {
    "patch_sizes": [4, 2, 2, 2],
    "hidden_sizes": [8, 8, 8, 8],
    "depths": [1, 1, 1, 1],
    "out_hidden_size": 32,
}


def _nemotron_h_omni():
    """A state-space layer, an attention layer and one of experts; RADIO's tower."""
    return make_config(
        "NemotronH_Omni_Reasoning_V3_Config",
        text_config={
            "model_type": "nemotron_h",
            **TEXT,
            "layers_block_type": ["mamba", "attention", "moe"],
            "num_hidden_layers": 3,
            "ssm_state_size": 8,
            "mamba_num_heads": 4,
            "mamba_head_dim": 8,
            "n_groups": 1,
            "chunk_size": 8,
            "moe_shared_expert_intermediate_size": 24,
            **ROUTED,
        },
        vision_config={
            "model_type": "radio",
            **VISION,
            "image_size": 56,
            "max_img_size": 56,
            "video_temporal_patch_size": 2,
        },
        vision_hidden_size=32,
        projector_hidden_size=48,
        image_token_id=IMAGE_TOKEN,
        video_token_id=101,
        audio_token_id=106,
    )


def _grids_of_patches(prompts: int, each: int) -> Tensors:
    count = prompts * each
    return {
        "pixel_values": pixels(count * 16, 3 * 14 * 14),
        "image_grid_hw": torch.tensor([[4, 4]] * count),
    }


def _qianfan_ocr():
    vision = {**VISION, "image_size": [28, 28], "patch_size": [14, 14]}
    return make_config(
        "QianfanOCRConfig",
        text_config={"model_type": "qwen3", **TEXT},
        vision_config=vision,
        image_token_id=IMAGE_TOKEN,
    )


def _step3p7():
    return make_config(
        "Step3p7Config",
        text_config={
            **TEXT,
            **ROUTED,
            "num_local_experts": 2,
            "share_expert_dim": 24,
            "mlp_layer_types": ["dense", "sparse"],
            "layer_types": ["full_attention", "sliding_attention"],
            "sliding_window": 64,
        },
        vision_config={**VISION, "image_size": 56, "max_position_embeddings": 16},
        image_token_id=IMAGE_TOKEN,
    )


def _unlimited_ocr():
    """SAM's tower, then CLIP's on what it gives; a window that slides over what was decoded."""
    return make_config(
        "UnlimitedOcrConfig",
        text_config={
            **TEXT,
            **ROUTED,
            "n_shared_experts": 1,
            "num_key_value_heads": 4,
            "mlp_layer_types": ["dense", "sparse"],
        },
        vision_config={
            "sam_config": {**SAM, "downsample_channels": [16, 32]},
            "encoder_config": {**VISION, "image_size": 16, "patch_size": 16},
        },
        image_token_id=IMAGE_TOKEN,
    )


def _llama4():
    """Attention in chunks, and a layer without rope over everything."""
    return make_config(
        "Llama4Config",
        text_config={
            **TEXT,
            "intermediate_size_mlp": 48,
            "num_local_experts": 2,
            "num_experts_per_tok": 2,
            "moe_layers": [1],
            "no_rope_layers": [1, 0],
            "attention_chunk_size": 64,
        },
        vision_config={
            **WIDE_VISION,
            "intermediate_size": 128,  # what four merged patches make
            "pixel_shuffle_ratio": 0.5,
            "vision_output_dim": 32,
            "projector_input_dim": 32,
            "projector_output_dim": 32,
        },
        image_token_index=IMAGE_TOKEN,
        boi_token_index=102,
        eoi_token_index=103,
    )


def _wide_pictures(prompts: int, each: int) -> Tensors:
    return {"pixel_values": pixels(prompts * each, 3, 56, 56)}


CANVAS = {
    "image_start_id": 102,
    "image_end_id": 103,
    "slice_start_id": 104,
    "slice_end_id": 105,
    "newline_id": 107,
}
HYBRID_QWEN = {"model_type": "qwen3_5_text", **HYBRID}
FRAME = ((102,), (103,))

OFFSPRING = (
    Tiny("deepseek_vl_hybrid", _deepseek_vl_hybrid, 4, _two_resolutions),
    Tiny("gemma3n", _gemma3n, 4, square_64),
    Tiny("gemma4", _gemma4, 4, _placed_patches, extra=token_kinds),
    Tiny("granite_docling", _granite_docling, 4, _tiles_with_mask),
    Tiny("inkling_mm_model", _inkling, 2, _folded_patches),
    Tiny("lfm3_vl", _lfm3_vl, 4, flat_patches, FRAME),
    Tiny("lighton_ocr", _lighton_ocr, 4, sized_pictures),
    Tiny(
        "minicpm_ocr",
        lambda: _minicpm("MiniCPMOcrConfig", LLAMA, downsample_mode="16x"),
        1,
        _packed_strips,
    ),
    Tiny("minicpmv4_6", lambda: _minicpm("MiniCPMV4_6Config", HYBRID_QWEN), 1, _packed_strips),
    Tiny(
        "minicpmv4_7",
        lambda: _minicpm("MiniCPMV4_7Config", HYBRID_QWEN, **CANVAS),
        1,
        _packed_strips,
        FRAME,
        token_kinds,
    ),
    Tiny("mistral_large4", _mistral_large4, 4, sized_pictures),
    Tiny("muse_glimmer", lambda: _muse("MuseGlimmerConfig"), 4, flat_patches),
    Tiny(
        "muse_spark",
        lambda: _muse("MuseSparkConfig", audio_config=HEARING, audio_token_id=106),
        4,
        flat_patches,
    ),
    Tiny("nemotron_h_omni", _nemotron_h_omni, 4, _grids_of_patches),
    Tiny("qianfan_ocr", _qianfan_ocr, 1),
    Tiny("step3p7", _step3p7, 1, _wide_pictures),
    Tiny("unlimited_ocr", _unlimited_ocr, 3, square_64),
    Tiny("llama4", _llama4, 4, _wide_pictures),
)
