"""The phases of a whole model, each as one call that can be run again and again.

A phase runs its part of the model alone, on what the whole model gave it: `prefill` does not
include the vision tower, so that phases add up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from attnswitch.bench.recorded import RecordedCall, parts_of, record_calls
from attnswitch.errors import ModelInputError

Inputs = Mapping[str, Any]
IGNORED_LABEL = -100


def phase_call(model: Any, inputs: Inputs, phase: str) -> Callable[[], object]:
    """One pass of `phase` over `model`.

    `inputs` are those of the model's forward: `input_ids` and `attention_mask` [B, T], and what
    pictures became.

    Raises:
        ModelInputError: the model has no such phase, or no such part is called.
    """
    return _PHASES[phase](model, inputs)


def _vision(model: Any, inputs: Inputs) -> Callable[[], object]:
    parts = parts_of(model)
    towers = [*parts.get("vision_tower", ()), *parts.get("projector", ())]
    if "vision_tower" not in parts or not _has_pictures(inputs):
        raise ModelInputError(
            f"{type(model).__name__} has no vision phase here: it has no vision tower, or no "
            "pictures were given"
        )
    calls = record_calls(towers, lambda: _whole(model, inputs))

    def call() -> None:
        with torch.no_grad():
            for one in calls:
                one.again()

    return call


def _prefill(model: Any, inputs: Inputs) -> Callable[[], object]:
    decoder = _decoder_call(model, inputs)
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None

    def call() -> Any:
        with torch.no_grad():
            hidden = decoder.again()[0]
            return head(hidden[:, -1:]) if head is not None else hidden

    return call


def _decode(model: Any, inputs: Inputs) -> Callable[[], object]:
    """One token on top of the prompt, as `generate` runs it after the first."""
    cache = _whole(model, inputs).past_key_values
    mask = inputs["attention_mask"]
    longer = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
    token = inputs["input_ids"][:, -1:]

    def call() -> None:
        with torch.no_grad():
            model(input_ids=token, attention_mask=longer, past_key_values=cache, use_cache=True)
        cache.crop(-1)

    return call


def _training(model: Any, inputs: Inputs) -> Callable[[], object]:
    """Forward and backward on all weights, with the prompt as its own labels.

    The weights do not change, and their gradients are dropped: a step begins without any.
    """
    ids = inputs["input_ids"]
    image = getattr(model.config, "image_token_index", getattr(model.config, "image_token_id", -1))
    video = getattr(model.config, "video_token_index", getattr(model.config, "video_token_id", -1))
    labels = ids.masked_fill((ids == (image or -1)) | (ids == (video or -1)), IGNORED_LABEL)

    def call() -> None:
        try:
            model(**inputs, labels=labels, use_cache=False).loss.backward()
        finally:
            model.zero_grad(set_to_none=True)

    return call


_PHASES = {"vision": _vision, "prefill": _prefill, "decode": _decode, "training_step": _training}


def _has_pictures(inputs: Inputs) -> bool:
    return any(name.startswith("pixel_values") for name in inputs)


def _decoder_call(model: Any, inputs: Inputs) -> RecordedCall:
    parts = parts_of(model).get("language_model", ())
    calls = record_calls(list(parts), lambda: _whole(model, inputs))
    return max(calls, key=lambda one: sum(p.numel() for p in one.part.parameters()))


def _whole(model: Any, inputs: Inputs) -> Any:
    with torch.no_grad():
        return model(**inputs, use_cache=True)
