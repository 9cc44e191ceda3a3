"""Where each class of AutoModelForImageTextToText stands: in the matrix, or outside, and why."""

from __future__ import annotations

import re
from pathlib import Path

from .roster import ALL_TYPES, NAMED_TYPES

ENCODED = "an encoder-decoder; the picture is all that the encoder reads"
CODEBOOK = "pictures become words of the vocabulary, by the nearest entry of a codebook"

NOT_RUN = {
    "blip": "its decoder sees the picture by cross-attention; there are no picture tokens",
    "pix2struct": ENCODED,
    "pp_formulanet": ENCODED,
    "udop": ENCODED,
    "vision-encoder-decoder": ENCODED,
    "chameleon": CODEBOOK,
    "emu3": CODEBOOK,
    "evolla": "reads proteins, not pictures",
    "mistral4": "text only",
    "pi0": "answers with a robot's actions, not with text",
    "diffusion_gemma": "denoises blocks of text instead of decoding it token by token",
}
# Another model type of the very same class.
SAME_CLASS = {"glmga": "glm46v", "pp_chart2table": "got_ocr2", "shieldgemma2": "gemma3"}

PLACES = (ALL_TYPES, NOT_RUN.keys(), SAME_CLASS.keys())


def loadable() -> dict[str, str]:
    """{model type: class name} of everything that AutoModelForImageTextToText loads."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as LOADABLE,
    )

    return dict(LOADABLE)


def unplaced(model_types: set[str]) -> set[str]:
    """Those of `model_types` that stand in no table."""
    return model_types - set().union(*PLACES)


def made_from(model_type: str) -> set[str]:
    """Folders that the modular source of a class takes code from."""
    import transformers

    folder = folder_of(model_type)
    models = Path(transformers.__file__).parent / "models"
    modular = models / folder / f"modular_{folder}.py"
    if not modular.is_file():
        return set()
    return set(re.findall(r"^from \.\.(\w+)\.modeling_", modular.read_text(), re.MULTILINE))


def folder_of(model_type: str) -> str:
    """The folder of a model type in transformers."""
    from transformers.models.auto.configuration_auto import model_type_to_module_name

    return model_type_to_module_name(model_type)


def is_built_on_llava(model_type: str) -> bool:
    """Whether a class is LLaVA's by name, or takes code from one of the named classes."""
    return "llava" in folder_of(model_type) or bool(NAMED_TYPES & made_from(model_type))
