"""Load a model's processor, without its video half where that half cannot load here."""

from __future__ import annotations

import importlib.util
from typing import Any

from attnswitch.errors import ModelInputError

VIDEO_NOTE = (
    "the video half of the processor was left out, because torchvision is not installed; "
    "pictures work; for videos: pip install torchvision"
)


def load_processor(
    where: str, shown: str, config: Any, trust_remote_code: bool
) -> tuple[Any, tuple[str, ...]]:
    """The processor of a checkpoint, and notes on what was left out.

    Raises:
        ModelInputError: the checkpoint has none that takes pictures.
    """
    from transformers import AutoProcessor

    kind = _processor_class(config)
    try:
        if kind is not None and _wants_videos(kind) and not _has_torchvision():
            return _without_videos(kind, where), (VIDEO_NOTE,)
        processor = AutoProcessor.from_pretrained(where, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelInputError(_no_processor(shown, str(error))) from error
    if getattr(processor, "image_processor", None) is None:
        raise ModelInputError(_no_processor(shown, "only a tokenizer was found"))
    return processor, ()


def _processor_class(config: Any) -> Any:
    """The processor class that transformers has for this configuration, or None."""
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    return PROCESSOR_MAPPING.get(type(config), None)


def _wants_videos(kind: Any) -> bool:
    return "video_processor" in kind.get_attributes()


def _has_torchvision() -> bool:
    from transformers.utils import is_torchvision_available

    return importlib.util.find_spec("torchvision") is not None and is_torchvision_available()


def _without_videos(kind: Any, where: str) -> Any:
    """A processor of class `kind` whose `video_processor` is None.

    transformers builds the video half for every such processor, pictures or not, and that half
    exists for torchvision only.
    """
    from transformers import AutoImageProcessor, AutoTokenizer

    class WithoutVideos(kind):  # type: ignore[misc, valid-type]
        """The same processor for pictures and text alone."""

        def check_argument_for_proper_class(self, name: str, argument: Any) -> Any:
            if name == "video_processor" and argument is None:
                return None
            return super().check_argument_for_proper_class(name, argument)

    WithoutVideos.__name__ = kind.__name__
    halves = {
        "image_processor": AutoImageProcessor.from_pretrained(where),
        "tokenizer": AutoTokenizer.from_pretrained(where),
        "video_processor": None,
    }
    settings, _ = kind.get_processor_dict(where)
    settings = {name: value for name, value in settings.items() if name not in halves}
    ordered = [halves[name] for name in kind.get_attributes()]
    return WithoutVideos.from_args_and_dict(ordered, settings)


def _no_processor(shown: str, cause: str) -> str:
    first_line = cause.strip().splitlines()[0] if cause.strip() else "nothing was found"
    return (
        f"{shown} has no processor that takes pictures ({first_line}). Save one beside the "
        "weights: AutoProcessor.from_pretrained(<the model it was made from>)"
        ".save_pretrained(<folder>)"
    )
