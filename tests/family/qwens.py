"""The Qwen classes after Qwen2.5-VL, and those made from them, tiny."""

from __future__ import annotations

from typing import Any

from .cousins import (
    GRID_VISION,
    QWEN_TEXT,
    QWEN_TOKENS,
    ROPE,
    flat_patches,
    make_config,
    token_kinds,
)
from .tiny import IMAGE_TOKEN, TEXT, Tiny

EXPERTS = {"num_experts": 2, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
# Rope over the whole head: a quarter of eight numbers is too few for three directions.
HYBRID = {
    **TEXT,
    "partial_rotary_factor": 1.0,
    "rope_parameters": {**ROPE, "partial_rotary_factor": 1.0},
    "layer_types": ["linear_attention", "full_attention"],
    # What the recurrence leaves near nothing is normalised after it: with a smaller epsilon one
    # rounding in a thousand grows a hundredfold there, and errors are no longer alike.
    "rms_norm_eps": 0.1,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}


VISION = {**GRID_VISION, "num_position_embeddings": 16}


def _qwen(name: str, text: dict[str, Any], **vision: Any):
    return make_config(name, text_config=text, vision_config={**VISION, **vision}, **QWEN_TOKENS)


DEEP = {"deepstack_visual_indexes": [0]}
QUALIFIED = {**EXPERTS, "shared_expert_intermediate_size": 24}


def _qwen4_exp():
    """N-grams, hyper-connections, and an indexer that picks the keys."""
    text = {
        **HYBRID,
        **QUALIFIED,
        "layer_types": ["linear_attention", "indexed_attention"],
        "hc_count": 2,
        "hc_lowrank": 8,
        "ple_layer_ids": [1],
        "ngram_vocab_size_base": 50,
        "heads_per_ngram": 2,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 64,
        "indexer_compress_ratio": 4,
    }
    return _qwen("Qwen4ExpConfig", text)


AUDIO = {
    "num_mel_bins": 16,
    "encoder_layers": 1,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "d_model": 32,
    "output_dim": 32,
    "n_window": 8,
}


def _qwen2_5_omni():
    """The ears are built, and hear nothing."""
    return make_config(
        "Qwen2_5OmniThinkerConfig",
        text_config=QWEN_TEXT,
        vision_config={**VISION, "fullatt_block_indexes": [1]},
        audio_config=AUDIO,
        image_token_index=IMAGE_TOKEN,
        video_token_index=101,
        audio_token_index=106,
        vision_start_token_id=102,
        vision_end_token_id=103,
        audio_start_token_id=104,
        audio_end_token_id=105,
        pad_token_id=0,
    )


def _qwen3_omni():
    return make_config(
        "Qwen3OmniMoeThinkerConfig",
        text_config={**QWEN_TEXT, **EXPERTS},
        vision_config={**VISION, **DEEP},
        audio_config={**AUDIO, "downsample_hidden_size": 8},
        image_token_id=IMAGE_TOKEN,
        video_token_id=101,
        audio_token_id=106,
        vision_start_token_id=102,
        vision_end_token_id=103,
        audio_start_token_id=104,
    )


FRAME = ((102,), (103,))


def _tiny(model_type: str, config: Any) -> Tiny:
    return Tiny(model_type, config, 4, flat_patches, FRAME, token_kinds)


QWENS = (
    _tiny("qwen3_vl_moe", lambda: _qwen("Qwen3VLMoeConfig", {**QWEN_TEXT, **EXPERTS}, **DEEP)),
    _tiny("qwen3_5", lambda: _qwen("Qwen3_5Config", HYBRID)),
    _tiny("qwen3_5_moe", lambda: _qwen("Qwen3_5MoeConfig", {**HYBRID, **QUALIFIED})),
    _tiny("qwen4_exp", _qwen4_exp),
    Tiny("qwen2_5_omni_thinker", _qwen2_5_omni, 4, flat_patches, FRAME),
    Tiny("qwen3_omni_moe_thinker", _qwen3_omni, 4, flat_patches, FRAME),
    _tiny(
        "cohere_compass",
        lambda: _qwen(
            "CohereCompassConfig",
            {**TEXT, "rope_parameters": {"full_attention": ROPE}, "sliding_window": 64},
            **DEEP,
        ),
    ),
    _tiny(
        "cosmos3_omni",
        lambda: _qwen(
            "Cosmos3OmniConfig",
            {"model_type": "qwen3_vl_text", **QWEN_TEXT},
            model_type="qwen3_vl_vision",
            **DEEP,
        ),
    ),
)
