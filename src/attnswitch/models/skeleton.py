"""A model without its weights: from a configuration alone, on the meta device."""

from __future__ import annotations

from typing import Any

from attnswitch.errors import ModelInputError
from attnswitch.models import faults
from attnswitch.models.load import BUILTIN, BUILTIN_NAME, config_of, folder_or_hub_id, raw_config


def skeleton(model_or_config: Any) -> tuple[Any, str | None]:
    """A module whose parameters have shapes and no memory, and the dtype it is meant for.

    Args:
        model_or_config: a torch module (returned as it is), a transformers configuration, a
            folder or hub id, or None for the built-in model.

    Raises:
        ModelInputError: it is none of these, or no model that transformers can build.
    """
    import torch

    if isinstance(model_or_config, torch.nn.Module):
        return model_or_config, _dtype_of(model_or_config)
    if model_or_config is None or isinstance(model_or_config, str):
        config, shown = configuration(model_or_config)
        with faults.as_one_line(shown):
            return _build(config), _dtype_name(getattr(config, "dtype", None))
    if hasattr(model_or_config, "model_type"):
        name = _dtype_name(getattr(model_or_config, "dtype", None))
        return _build(model_or_config), name
    raise ModelInputError(
        "explain takes a model, a transformers configuration, a folder or a hub id, not "
        f"{type(model_or_config).__name__}"
    )


def configuration(where: str | None) -> tuple[Any, str]:
    """The configuration of a checkpoint, from its config.json alone, and the name to show for it.

    `where` is a folder, a hub id, or None for the built-in model. Raises as `skeleton` does.
    """
    name = BUILTIN if where is None else folder_or_hub_id(where)
    shown = BUILTIN_NAME if where is None else where
    with faults.as_one_line(shown):
        raw = raw_config(str(name), shown)
        return config_of(str(name), shown, raw, False), shown


def _build(config: Any) -> Any:
    """The model, with the names in its configurations that need no package to build."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    pictures = type(config) in AutoModelForImageTextToText._model_mapping
    kind = AutoModelForImageTextToText if pictures else AutoModelForCausalLM
    with torch.device("meta"):
        return kind.from_config(config, attn_implementation=_buildable_name(config))


def _buildable_name(config: Any) -> str | None:
    named = getattr(config, "_attn_implementation", None)
    return "sdpa" if isinstance(named, str) and "flash" in named else None


def _dtype_of(model: Any) -> str | None:
    for parameter in model.parameters():
        if parameter.is_floating_point():
            return _dtype_name(parameter.dtype)
    return None


def _dtype_name(dtype: Any) -> str | None:
    return str(dtype).removeprefix("torch.") if dtype is not None else None
