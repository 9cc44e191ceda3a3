"""Classes of another shape that take a picture and a prompt all the same, tiny."""

from __future__ import annotations

from typing import Any

import torch

from .cousins import LLAMA, SIGLIP, make_config, token_kinds
from .tiny import IMAGE_TOKEN, TEXT, VISION, Tensors, Tiny, flat_pictures, nested_pictures, pixels

QUERIES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 32,
    "cross_attention_frequency": 1,
    "encoder_hidden_size": 32,
}


def _with_a_q_former(name: str, token: str, **more: Any):
    """Three learned queries read the picture; what they become are the picture's tokens."""
    return make_config(
        name,
        text_config=LLAMA,
        vision_config=VISION,
        qformer_config=QUERIES,
        num_query_tokens=3,
        **{token: IMAGE_TOKEN},
        **more,
    )


def _asked_pictures(prompts: int, each: int) -> Tensors:
    """Pictures, and what the Q-Former is asked about each: the second half of it is padding."""
    count = prompts * each
    mask = torch.ones(count, 4, dtype=torch.int64)
    mask[1::2, 2:] = 0
    return {
        **flat_pictures(prompts, each),
        "qformer_input_ids": torch.arange(4).expand(count, -1) + 5,
        "qformer_attention_mask": mask,
    }


def _asked_videos(prompts: int, each: int) -> Tensors:
    """Two frames for each picture there would be: [prompts, 2 * pictures, 3, 28, 28]."""
    asked = _asked_pictures(prompts, 1)
    return {**asked, "pixel_values": pixels(prompts, 2 * each, 3, 28, 28)}


def _t5gemma2():
    """An encoder-decoder; the decoder attends to itself and to the encoder at one go."""
    text = {**TEXT, "sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"]}
    return make_config(
        "T5Gemma2Config",
        encoder={
            "text_config": text,
            "vision_config": SIGLIP,
            "mm_tokens_per_image": 4,
            "boi_token_index": 102,
            "eoi_token_index": 103,
        },
        decoder=text,
        image_token_index=IMAGE_TOKEN,
        decoder_start_token_id=1,
        vocab_size=TEXT["vocab_size"],
    )


def _decoder_ids(input_ids: torch.Tensor) -> Tensors:
    """What was decoded so far, as long as the prompt, so that both have the same padding."""
    return {"decoder_input_ids": input_ids.where(input_ids != IMAGE_TOKEN, 3)}


def _idefics():
    """Pictures enter by gated cross-attention, resampled by a perceiver."""
    text = {
        name: value
        for name, value in TEXT.items()
        if name not in ("head_dim", "num_key_value_heads")
    }
    vision = {**VISION, "embed_dim": 32}
    del vision["hidden_size"]
    return make_config(
        "IdeficsConfig",
        **text,
        vision_config=vision,
        use_resampler=True,
        perceiver_config={
            "use_resampler": True,
            "resampler_n_latents": 3,
            "resampler_depth": 1,
            "resampler_n_heads": 4,
            "resampler_head_dim": 8,
        },
    )


def _seen_after(input_ids: torch.Tensor) -> Tensors:
    """Which pictures each token sees [B, T, pictures]: those that came before it."""
    here = input_ids == IMAGE_TOKEN
    numbers = torch.arange(1, int(here.sum(1).max()) + 1)
    return {"image_attention_mask": (here.cumsum(1)[:, :, None] >= numbers).long()}


KOSMOS = {
    "vocab_size": 120,
    "max_position_embeddings": 256,
    "embed_dim": 32,
    "layers": 2,
    "ffn_dim": 48,
    "attention_heads": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def _kosmos2():
    return make_config(
        "Kosmos2Config", text_config=KOSMOS, vision_config=VISION, latent_query_num=3
    )


def _kosmos2_5():
    vision = {
        "hidden_size": 32,
        "patch_embed_hidden_size": 27,
        "intermediate_size": 48,
        "head_dim": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_num_patches": 16,
    }
    return make_config(
        "Kosmos2_5Config", text_config=KOSMOS, vision_config=vision, latent_query_num=3
    )


def _placed_flat_patches(prompts: int, each: int) -> Tensors:
    """Patches [pictures, 8, 2 + 27]: row, column, pixels; the last two are padding."""
    patches = pixels(prompts * each, 8, 29)
    patches[:, :, 0] = torch.arange(8) // 3 + 1
    patches[:, :, 1] = torch.arange(8) % 3 + 1
    patches[:, 6:] = 0
    return {"flattened_patches": patches}


def _here(input_ids: torch.Tensor) -> Tensors:
    return {"image_embeds_position_mask": input_ids == IMAGE_TOKEN}


def _fuyu():
    text = {**TEXT, "model_type": "persimmon", "partial_rotary_factor": 0.5}
    return make_config(
        "FuyuConfig", text_config=text, patch_size=4, image_size=8, image_token_id=IMAGE_TOKEN
    )


def _rows_of_patches(prompts: int, each: int) -> Tensors:
    return {"pixel_values": pixels(prompts * each, 4, 4 * 4 * 3)}


def _gemma4_unified():
    """Patches are projected, and that is all; the language model sees a picture from both sides."""
    return make_config(
        "Gemma4UnifiedConfig",
        text_config={
            **TEXT,
            "global_head_dim": 16,
            "layer_types": ["sliding_attention", "full_attention"],
            "sliding_window": 64,
        },
        vision_config={
            "patch_size": 4,
            "pooling_kernel_size": 2,
            "mm_embed_dim": 32,
            "mm_posemb_size": 16,
            "output_proj_dims": 32,
        },
        audio_config={"audio_embed_dim": 8},
        image_token_id=IMAGE_TOKEN,
        video_token_id=101,
        audio_token_id=106,
        boi_token_id=102,
        eoi_token_id=103,
        boa_token_id=104,
        eoa_token_index=105,
    )


def _placed_patches(prompts: int, each: int) -> Tensors:
    """Patches [pictures, 6, 192] with their places; four are the picture's, two padding."""
    count = prompts * each
    places = torch.full((6, 2), -1)
    places[:4] = torch.cartesian_prod(torch.arange(2), torch.arange(2))
    return {
        "pixel_values": pixels(count, 6, 3 * 8 * 8),
        "image_position_ids": places.expand(count, -1, -1).contiguous(),
    }


def _git():
    text = {name: TEXT[name] for name in TEXT if name not in ("head_dim", "num_key_value_heads")}
    return make_config("GitConfig", **text, vision_config=VISION)


OTHERS = (
    Tiny("blip-2", lambda: _with_a_q_former("Blip2Config", "image_token_index"), 3),
    Tiny(
        "instructblip",
        lambda: _with_a_q_former("InstructBlipConfig", "image_token_index"),
        3,
        _asked_pictures,
    ),
    Tiny(
        "instructblipvideo",
        lambda: _with_a_q_former("InstructBlipVideoConfig", "video_token_index"),
        6,
        _asked_videos,
    ),
    Tiny("t5gemma2", _t5gemma2, 4, extra=_decoder_ids),
    Tiny("idefics", _idefics, 1, nested_pictures, extra=_seen_after),
    # It makes its masks in float32, where the lowest float64 overflows.
    Tiny("kosmos-2", _kosmos2, 3, extra=_here, in_float64=None),
    Tiny("kosmos-2.5", _kosmos2_5, 3, _placed_flat_patches, extra=_here),
    Tiny("fuyu", _fuyu, 4, _rows_of_patches),
    Tiny("gemma4_unified", _gemma4_unified, 4, _placed_patches, extra=token_kinds),
    Tiny("git", _git, 1, lambda prompts, each: flat_pictures(prompts, 1)),
)
