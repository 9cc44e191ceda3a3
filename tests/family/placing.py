"""Where every class of AutoModelForImageTextToText stands: in the matrix, or outside it, and why.

Outside are classes of another shape, and classes of LLaVA's shape that transformers makes from the
code of a class in the matrix. The latter use the same seams; they were not run.
"""

from __future__ import annotations

import re
from pathlib import Path

from .roster import ALL_TYPES, NAMED_TYPES

CROSSED = "its decoder sees the picture by cross-attention; there are no picture tokens"
ENCODED = "an encoder-decoder; the picture is the encoder's input"
QUERIES = "a Q-Former stands between the tower and the language model"
NO_TOWER = "no vision tower: pictures become tokens of the vocabulary, or patches are projected"

NOT_LLAVA_LIKE = {
    "blip": CROSSED,
    "idefics": CROSSED,
    "pix2struct": ENCODED,
    "pp_formulanet": ENCODED,
    "t5gemma2": ENCODED,
    "udop": ENCODED,
    "vision-encoder-decoder": ENCODED,
    "blip-2": QUERIES,
    "instructblip": QUERIES,
    "instructblipvideo": QUERIES,
    "chameleon": NO_TOWER,
    "emu3": NO_TOWER,
    "fuyu": NO_TOWER,
    "gemma4_unified": NO_TOWER,
    "git": "picture features stand before the text; there are no picture tokens",
    "kosmos-2": "a mask beside the prompt says where the picture goes",
    "kosmos-2.5": "a mask beside the prompt says where the picture goes",
    "evolla": "reads proteins, not pictures",
    "mistral4": "text only",
    "pi0": "answers with a robot's actions, not with text",
    "diffusion_gemma": "denoises blocks of text instead of decoding it token by token",
}

# {model type: the class it is made from, in the matrix or itself in this table}
MADE_FROM = {
    "cohere_compass": "qwen3_vl",
    "cosmos3_edge": "qwen3_vl",
    "cosmos3_omni": "qwen3_vl",
    "deepseek_vl_hybrid": "deepseek_vl",
    "dots3_note": "qwen2_vl",
    "ernie4_5_vl_moe": "qwen2_5_vl",
    "exaone4_5": "qwen2_5_vl",
    "gemma3n": "gemma3",
    "gemma4": "gemma3",
    "glm46v": "glm4v",
    "glm4v": "qwen2_5_vl",
    "glm4v_moe": "glm4v",
    "glm5_next": "glm46v",
    "glm_ocr": "glm4v",
    "granite_docling": "idefics3",
    "hunyuan_vl": "qwen2_vl",
    "hyperclovax_vision_v2": "exaone4_5",
    "inkling_mm_model": "gemma3",
    "lfm3_vl": "lfm2_vl",
    "lighton_ocr": "mistral3",
    "minicpm_ocr": "minicpmv4_6",
    "minicpmv4_6": "idefics3",
    "minicpmv4_7": "minicpmv4_6",
    "mistral_large4": "mistral3",
    "muse_glimmer": "kimi_k25",
    "muse_spark": "muse_glimmer",
    "nemotron_h_omni": "internvl",
    "paddleocr_vl": "qwen2_vl",
    "qianfan_ocr": "internvl",
    "qwen2_5_omni_thinker": "qwen2_5_vl",
    "qwen3_5": "qwen3_vl",
    "qwen3_5_moe": "qwen3_5",
    "qwen3_omni_moe_thinker": "qwen3_vl_moe",
    "qwen3_vl_moe": "qwen3_vl",
    "qwen4_exp": "qwen3_5",
    "step3p7": "kimi_k25",
    "unlimited_ocr": "deepseek_ocr2",
    "video_llama_3": "qwen2_vl",
}
# LLaVA's shape (a tower, `multi_modal_projector`, `language_model`), in code of its own.
OWN_CODE = frozenset({"llama4"})
# Another model type of the very same class.
SAME_CLASS = {"glmga": "glm46v", "pp_chart2table": "got_ocr2", "shieldgemma2": "gemma3"}

PLACES = (ALL_TYPES, NOT_LLAVA_LIKE.keys(), MADE_FROM.keys(), OWN_CODE, SAME_CLASS.keys())


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
