"""Classes built like LLaVA (a vision tower, a projector, a language model), tiny."""

from __future__ import annotations

from typing import Any

import torch

from .tiny import IMAGE_TOKEN, TEXT, VISION, Tensors, Tiny, nested_pictures, pixels

WIDE_VISION = {**VISION, "image_size": 56}  # 16 patches, for towers whose patches are merged
LLAMA = {"model_type": "llama", **TEXT}
QWEN2 = {"model_type": "qwen2", **TEXT}
MISTRAL = {"model_type": "mistral", **TEXT}
SIGLIP = {"model_type": "siglip_vision_model", "vision_use_head": False, **VISION}


def make_config(name: str, **values: Any):
    import transformers

    return getattr(transformers, name)(**values)


def _internvl():
    vision = {**VISION, "image_size": [28, 28], "patch_size": [14, 14]}
    return make_config(
        "InternVLConfig", text_config=QWEN2, vision_config=vision, image_token_id=IMAGE_TOKEN
    )


def _aya_vision():
    return make_config(
        "AyaVisionConfig",
        text_config={"model_type": "cohere2", **TEXT, "sliding_window": 64},
        vision_config=SIGLIP,
        image_token_index=IMAGE_TOKEN,
    )


def _cohere2_vision():
    return make_config(
        "Cohere2VisionConfig",
        text_config={"model_type": "cohere2", **TEXT, "sliding_window": 64},
        vision_config=SIGLIP,
        image_token_id=IMAGE_TOKEN,
        alignment_intermediate_size=64,
    )


def _mistral3():
    return make_config(
        "Mistral3Config",
        text_config=MISTRAL,
        vision_config={"model_type": "pixtral", **WIDE_VISION, "head_dim": 8},
        image_token_index=IMAGE_TOKEN,
        spatial_merge_size=2,
    )


def sized_pictures(prompts: int, each: int) -> Tensors:
    count = prompts * each
    return {
        "pixel_values": pixels(count, 3, 56, 56),
        "image_sizes": torch.tensor([[56, 56]] * count),
    }


def _idefics2():
    return make_config(
        "Idefics2Config",
        text_config=MISTRAL,
        vision_config=VISION,
        perceiver_config={
            "hidden_size": 32,
            "resampler_n_latents": 3,
            "resampler_depth": 2,
            "resampler_n_heads": 4,
            "resampler_head_dim": 8,
            "num_key_value_heads": 2,
        },
        image_token_id=IMAGE_TOKEN,
    )


def _idefics3():
    return make_config(
        "Idefics3Config",
        text_config=LLAMA,
        vision_config=WIDE_VISION,
        image_token_id=IMAGE_TOKEN,
        scale_factor=2,
        pad_token_id=0,
    )


def _smolvlm():
    return make_config(
        "SmolVLMConfig",
        text_config=LLAMA,
        vision_config=WIDE_VISION,
        image_token_id=IMAGE_TOKEN,
        scale_factor=2,
        pad_token_id=0,
    )


def _wide_nested(prompts: int, each: int) -> Tensors:
    return {"pixel_values": pixels(prompts, each, 3, 56, 56)}


def _paligemma():
    return make_config(
        "PaliGemmaConfig",
        text_config={"model_type": "gemma", **TEXT},
        vision_config={**SIGLIP, "projection_dim": 32},
        image_token_index=IMAGE_TOKEN,
        projection_dim=32,
    )


def _gemma3():
    return make_config(
        "Gemma3Config",
        text_config={**TEXT, "sliding_window": 64},
        vision_config=SIGLIP,
        mm_tokens_per_image=4,
        image_token_index=IMAGE_TOKEN,
    )


# A tower over patches of a grid, merged two by two into tokens of the language model's width.
GRID_VISION = {
    "depth": 2,
    "hidden_size": 32,
    "out_hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 4,
    "patch_size": 14,
}


def _qwen_vision(**more: Any) -> dict[str, Any]:
    return {"depth": 2, "num_heads": 4, "patch_size": 14, "temporal_patch_size": 2, **more}


ROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
QWEN_TEXT = {**TEXT, "rope_parameters": ROPE, "rope_scaling": ROPE}
QWEN_TOKENS = {
    "image_token_id": IMAGE_TOKEN,
    "video_token_id": 101,
    "vision_start_token_id": 102,
    "vision_end_token_id": 103,
}


def _qwen2_vl():
    vision = _qwen_vision(embed_dim=32, hidden_size=32, mlp_ratio=2)
    return make_config("Qwen2VLConfig", text_config=QWEN_TEXT, vision_config=vision, **QWEN_TOKENS)


def _qwen2_5_vl():
    vision = _qwen_vision(
        hidden_size=32, out_hidden_size=32, intermediate_size=48, fullatt_block_indexes=[1]
    )
    return make_config(
        "Qwen2_5_VLConfig", text_config=QWEN_TEXT, vision_config=vision, **QWEN_TOKENS
    )


def _qwen3_vl():
    vision = _qwen_vision(
        hidden_size=32,
        out_hidden_size=32,
        intermediate_size=48,
        num_position_embeddings=16,
        deepstack_visual_indexes=[0],
    )
    return make_config("Qwen3VLConfig", text_config=QWEN_TEXT, vision_config=vision, **QWEN_TOKENS)


def flat_patches(prompts: int, each: int) -> Tensors:
    """Flattened patches [pictures * 16, 2 * 3 * 14 * 14] and their grid: 4 x 4, merged to 2 x 2."""
    count = prompts * each
    return {
        "pixel_values": pixels(count * 16, 2 * 3 * 14 * 14),
        "image_grid_thw": torch.tensor([[1, 4, 4]] * count),
    }


def token_kinds(input_ids: torch.Tensor) -> Tensors:
    return {"mm_token_type_ids": (input_ids == IMAGE_TOKEN).int()}


def _token_types(input_ids: torch.Tensor) -> Tensors:
    return {"token_type_ids": (input_ids == IMAGE_TOKEN).int()}


COUSINS = (
    Tiny("internvl", _internvl, 1),
    Tiny("aya_vision", _aya_vision, 1),
    Tiny("cohere2_vision", _cohere2_vision, 1),
    Tiny("mistral3", _mistral3, 4, sized_pictures),
    Tiny("idefics2", _idefics2, 3, nested_pictures),
    Tiny("idefics3", _idefics3, 4, _wide_nested),
    Tiny("smolvlm", _smolvlm, 4, _wide_nested),
    Tiny("paligemma", _paligemma, 4),
    Tiny("gemma3", _gemma3, 4, extra=_token_types),
    Tiny("qwen2_vl", _qwen2_vl, 4, flat_patches, frame=((102,), (103,)), extra=token_kinds),
    Tiny("qwen2_5_vl", _qwen2_5_vl, 4, flat_patches, frame=((102,), (103,)), extra=token_kinds),
    Tiny("qwen3_vl", _qwen3_vl, 4, flat_patches, frame=((102,), (103,)), extra=token_kinds),
)
