"""Make a geometry's transformers configuration, and a model of it with random weights."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from attnswitch.geometries.geometry import Geometry, LanguageModel, VisionTower


def configuration(geometry: Geometry) -> Any:
    """The transformers configuration of a geometry.

    What changes no cost (rotary bases, epsilons, activation functions) is transformers' default.

    Raises:
        MissingExtraError: transformers is not installed.
    """
    if geometry.config is not None:
        return geometry.config
    AutoConfig = _transformers().AutoConfig
    if geometry.family == "qwen2_5_vl":
        return AutoConfig.for_model(geometry.family, **_qwen(geometry))
    numbers: dict[str, Any] = {
        "vision_config": _vision(geometry.vision),
        "text_config": _text(geometry.language),
        "tie_word_embeddings": geometry.language.tied,
        "dtype": geometry.dtype,
    }
    if geometry.image.grids:
        numbers["image_grid_pinpoints"] = [list(grid) for grid in geometry.image.grids]
    if geometry.image.most_tiles is not None:
        numbers["vision_aspect_ratio"] = f"anyres_max_{geometry.image.most_tiles}"
    if geometry.family == "llava_next_video":
        numbers["spatial_pool_stride"] = geometry.image.frame_stride
    numbers |= _token_numbers(geometry)
    return AutoConfig.for_model(geometry.family, **numbers)


def build_model(geometry: Geometry, *, device: str = "cpu", dtype: str | None = None) -> Any:
    """A model in eval mode with random weights of a geometry, attention through SDPA.

    Args:
        device: "meta" gives shapes without memory.
        dtype: PyTorch's name of it; None is the geometry's own.

    Weights are drawn by transformers' own initialisation on the device, in `dtype` from the start.
    """
    import torch

    transformers = _transformers()
    config = configuration(geometry)
    wanted = getattr(torch, dtype or geometry.dtype)
    before = torch.get_default_dtype()
    torch.set_default_dtype(wanted)
    try:
        with torch.device(device):
            model = transformers.AutoModelForImageTextToText.from_config(
                config, attn_implementation="sdpa", dtype=wanted
            )
    finally:
        torch.set_default_dtype(before)
    return model.to(wanted).eval()


def smaller(geometry: Geometry, layers: int) -> Geometry:
    """The same geometry with at most so many layers in the tower and the language model."""
    vision = replace(
        geometry.vision,
        layers=min(layers, geometry.vision.layers),
        full_layers=tuple(i for i in geometry.vision.full_layers if i < layers),
    )
    language = replace(geometry.language, layers=min(layers, geometry.language.layers))
    config = geometry.config
    if config is not None:
        config = type(config).from_dict(config.to_dict())
        config.vision_config.num_hidden_layers = vision.layers
        config.get_text_config().num_hidden_layers = language.layers
    return replace(geometry, vision=vision, language=language, config=config)


def plain(geometry: Geometry) -> dict[str, Any]:
    """The geometry as plain JSON data."""
    record = asdict(replace(geometry, config=None))
    del record["config"]
    return record


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        from attnswitch.errors import MissingExtraError

        raise MissingExtraError("transformers", "models", "building a model") from error
    return transformers


def _vision(tower: VisionTower) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "model_type": tower.family, "hidden_size": tower.width,
        "intermediate_size": tower.mlp_width, "num_hidden_layers": tower.layers,
        "num_attention_heads": tower.heads, "image_size": tower.image_size,
        "patch_size": tower.patch_size,
    }  # fmt: skip
    if tower.family == "siglip_vision_model":
        numbers["vision_use_head"] = False
    return numbers


def _text(language: LanguageModel) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "model_type": language.family, "hidden_size": language.width,
        "intermediate_size": language.mlp_width, "num_hidden_layers": language.layers,
        "num_attention_heads": language.heads, "num_key_value_heads": language.kv_heads,
        "vocab_size": language.vocabulary, "max_position_embeddings": language.context,
        "tie_word_embeddings": language.tied,
    }  # fmt: skip
    if language.family in ("llama", "mistral"):
        numbers["head_dim"] = language.head_dim
    if language.family == "mistral":
        numbers["sliding_window"] = None
    return numbers


def _token_numbers(geometry: Geometry) -> dict[str, int]:
    """Numbers of the image and video tokens: the last of the vocabulary, where no text stands."""
    last = geometry.language.vocabulary - 1
    numbers = {"image_token_index": last}
    if geometry.image.frames:
        numbers["video_token_index"] = last - 1
    return numbers


def _qwen(geometry: Geometry) -> dict[str, Any]:
    tower, language = geometry.vision, geometry.language
    side = int((tower.window_tokens or 0) ** 0.5)
    sections = [language.head_dim // 8, language.head_dim * 3 // 16, language.head_dim * 3 // 16]
    return {
        "vision_config": {
            "depth": tower.layers, "hidden_size": tower.width, "num_heads": tower.heads,
            "intermediate_size": tower.mlp_width, "patch_size": tower.patch_size,
            "window_size": side * tower.patch_size, "out_hidden_size": geometry.projector.width_out,
            "fullatt_block_indexes": list(tower.full_layers),
            "spatial_merge_size": int(geometry.projector.merge**0.5),
        },
        "text_config": {
            **_text(language),
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 1e6, "mrope_section": sections
            },
        },
        "tie_word_embeddings": language.tied,
        "dtype": geometry.dtype,
    }  # fmt: skip
