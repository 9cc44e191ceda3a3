"""Read a geometry's numbers out of a transformers configuration."""

from __future__ import annotations

from typing import Any

from attnswitch.errors import ModelInputError
from attnswitch.geometries.geometry import (
    Geometry,
    ImageRule,
    LanguageModel,
    Projector,
    VisionTower,
)

_CLASS_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0}
# Decoders whose MLP is two matrices; the others that LLaVAs stand on have three (gated).
_PLAIN_MLP = ("opt", "phi", "gpt2", "gpt_neox", "gpt_neo", "gptj", "bloom", "falcon", "mpt")


def read_config(config: Any, name: str) -> Geometry:
    """The geometry of a transformers configuration; `name` is shown.

    Raises:
        ModelInputError: a family or a vision tower whose image tokens are not known here.
    """
    family = str(config.model_type)
    read = _FAMILIES.get(family)
    if read is None:
        raise ModelInputError(
            f"{name} is of the family {family!r}, whose tiles and image tokens are not known; "
            f"known are {', '.join(_FAMILIES)}"
        )
    vision = _qwen_tower(config) if family == "qwen2_5_vl" else _tower(config, name)
    language = _language(config)
    return Geometry(
        name, family, _dtype(config), vision, _projector(config, vision, language), language,
        read(config), (f"config.json of {name}",), towers=2 if family == "video_llava" else 1,
        config=config,
    )  # fmt: skip


def _tower(config: Any, name: str) -> VisionTower:
    tower = config.vision_config
    family = str(tower.model_type)
    if family not in _CLASS_TOKENS:
        raise ModelInputError(
            f"{name} has a vision tower of the kind {family!r}, whose tokens are not known; known "
            f"are {', '.join(_CLASS_TOKENS)}"
        )
    heads, width = tower.num_attention_heads, tower.hidden_size
    return VisionTower(
        family, tower.num_hidden_layers, heads, width // heads, width, tower.intermediate_size,
        tower.image_size, tower.patch_size, class_tokens=_CLASS_TOKENS[family],
    )  # fmt: skip


def _qwen_tower(config: Any) -> VisionTower:
    tower = config.vision_config
    side = tower.window_size // tower.patch_size
    return VisionTower(
        str(tower.model_type), tower.depth, tower.num_heads, tower.hidden_size // tower.num_heads,
        tower.hidden_size, tower.intermediate_size, 0, tower.patch_size, mlp_matrices=3,
        window_tokens=side**2, full_layers=tuple(tower.fullatt_block_indexes),
    )  # fmt: skip


def _language(config: Any) -> LanguageModel:
    text = config.get_text_config()
    heads = text.num_attention_heads
    tied = bool(getattr(config, "tie_word_embeddings", False))
    return LanguageModel(
        str(text.model_type), text.num_hidden_layers, heads,
        getattr(text, "num_key_value_heads", None) or heads,
        getattr(text, "head_dim", None) or text.hidden_size // heads,
        text.hidden_size, text.intermediate_size, text.vocab_size, text.max_position_embeddings,
        mlp_matrices=2 if text.model_type in _PLAIN_MLP else 3, tied=tied,
    )  # fmt: skip


def _projector(config: Any, vision: VisionTower, language: LanguageModel) -> Projector:
    if config.model_type == "qwen2_5_vl":
        merge = config.vision_config.spatial_merge_size**2
        wide = vision.width * merge
        return Projector(wide, wide, config.vision_config.out_hidden_size, merge)
    layers = config.vision_feature_layer
    count = 1 if isinstance(layers, int) else len(layers)
    return Projector(vision.width * count, language.width, language.width)


def _dtype(config: Any) -> str:
    """The dtype the weights are meant for; a configuration that names none means float32."""
    found = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
    return str(found).removeprefix("torch.") if found is not None else "float32"


def _grids(config: Any) -> tuple[tuple[int, int], ...]:
    return tuple((int(high), int(wide)) for high, wide in config.image_grid_pinpoints)


def _onevision(config: Any) -> ImageRule:
    most = int(config.vision_aspect_ratio.removeprefix("anyres_max_"))
    return ImageRule(
        "anyres", _grids(config), most, frames=True, frame_stride=2, frame_rounds_up=True,
        video_newline=1,
    )  # fmt: skip


def _next_video(config: Any) -> ImageRule:
    return ImageRule("anyres", _grids(config), frames=True, frame_stride=config.spatial_pool_stride)


def _qwen(config: Any) -> ImageRule:
    # The bounds stand in preprocessor_config.json; these are the published checkpoints'.
    return ImageRule("native", frames=True, pixels=(28 * 28 * 4, 28 * 28 * 16384))


_FAMILIES = {
    "llava": lambda config: ImageRule("single"),
    "llava_next": lambda config: ImageRule("anyres", _grids(config)),
    "llava_next_video": _next_video,
    "llava_onevision": _onevision,
    "video_llava": lambda config: ImageRule("single", frames=True, frame_class_token=True),
    "qwen2_5_vl": _qwen,
}
