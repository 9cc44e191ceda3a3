"""What a record says of a model and its inputs, and what is asked when the user names nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attnswitch.models.inputs import Picture, open_picture
from attnswitch.models.load import BUILTIN, LoadedModel

BUILTIN_PICTURE = BUILTIN / "sample.png"
BUILTIN_PROMPT = "Describe the picture."
# Pictures in a record are for looking at: at most so many pixels a side.
SHOWN_SIDE = 512


def describe_model(loaded: LoadedModel) -> dict[str, Any]:
    """Name, class, size, dtype and device, as plain data."""
    model = loaded.model
    return {
        "name": loaded.name,
        "class": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(model.device),
        "builtin": loaded.builtin,
        "notes": list(loaded.notes),
    }


def tokenizer_of(loaded: LoadedModel) -> Any:
    """The tokenizer inside a processor, or the processor where it is one itself."""
    return getattr(loaded.processor, "tokenizer", loaded.processor)


def question(
    loaded: LoadedModel, images: Sequence[Picture] | None, prompt: str | None
) -> tuple[list[Picture], str]:
    """The pictures and the prompt; the built-in picture where none is given."""
    pictures: list[Picture] = list(images) if images else [BUILTIN_PICTURE]
    return pictures, prompt if prompt is not None else BUILTIN_PROMPT


def as_data_uris(images: Sequence[Picture]) -> list[dict[str, str]]:
    """The pictures as PNG data URIs with their names, made small, for a report."""
    found = []
    for number, picture in enumerate(images, start=1):
        image = open_picture(picture)
        image.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        text = base64.b64encode(buffer.getvalue()).decode("ascii")
        name = Path(picture).name if isinstance(picture, (str, Path)) else f"picture {number}"
        found.append({"name": name, "data_uri": f"data:image/png;base64,{text}"})
    return found
