"""The GLM classes, tiny: pictures come as flattened patches of a grid, merged two by two."""

from __future__ import annotations

from typing import Any

from .cousins import GRID_VISION, ROPE, flat_patches, make_config, token_kinds
from .tiny import IMAGE_TOKEN, TEXT, Tiny

WHOLE_ROPE = {**ROPE, "partial_rotary_factor": 1.0}
ROUTED = {"n_routed_experts": 2, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
TOKENS = {
    "image_token_id": IMAGE_TOKEN,
    "video_token_id": 101,
    "image_start_token_id": 102,
    "image_end_token_id": 103,
    "video_start_token_id": 104,
    "video_end_token_id": 105,
}


def _glm4v(name: str, text: dict[str, Any], **vision: Any):
    return make_config(
        name,
        text_config={**TEXT, "rope_parameters": WHOLE_ROPE, **text},
        vision_config={**GRID_VISION, "image_size": 56, **vision},
        **TOKENS,
    )


def _glm5_next():
    """A layer of linear attention, and one that picks the keys it attends to."""
    text = {
        **{name: value for name, value in TEXT.items() if name != "head_dim"},
        "num_key_value_heads": 4,
        "layer_types": ["linear_attention", "indexed_attention"],
        "mlp_layer_types": ["dense", "sparse"],
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "index_topk": 64,
        "index_kpool": 4,
        "index_head_dim": 8,
        "index_n_heads": 2,
        "rms_norm_eps": 0.1,  # as in qwens.HYBRID
        "linear_head_dim": 8,
        "linear_num_heads": 4,
        "hc_mult": 2,
        **ROUTED,
    }
    return make_config(
        "Glm5NextConfig",
        text_config=text,
        vision_config={**GRID_VISION, "image_size": 56, "projection_intermediate_size": 48},
        **TOKENS,
    )


def _tiny(model_type: str, config: Any) -> Tiny:
    return Tiny(model_type, config, 4, flat_patches, frame=((102,), (103,)), extra=token_kinds)


GLMS = (
    _tiny("glm4v", lambda: _glm4v("Glm4vConfig", {})),
    _tiny(
        "glm46v",
        lambda: _glm4v("Glm46VConfig", {"model_type": "glm4v_text"}, model_type="glm4v_vision"),
    ),
    _tiny("glm4v_moe", lambda: _glm4v("Glm4vMoeConfig", ROUTED)),
    _tiny("glm_ocr", lambda: _glm4v("GlmOcrConfig", {})),
    _tiny("glm5_next", _glm5_next),
)
