"""LLaVA configurations by name, with their published numbers and where those stand.

The numbers are those of the checkpoints' config.json on the model hub, put together from the
conversion scripts in transformers (which set the vision tower, the grid and the added tokens) and
from the configurations of the language models; vocabularies are as stored, padded to 64.
"""

from __future__ import annotations

from attnswitch.geometries.geometry import (
    Geometry,
    ImageRule,
    LanguageModel,
    Projector,
    VisionTower,
)

_HUB = "https://huggingface.co/{}/blob/main/config.json"
_SCRIPT = (
    "https://github.com/huggingface/transformers/blob/main/src/transformers/models/{0}/"
    "convert_{0}_weights_to_hf.py"
)

CLIP_L_336 = VisionTower("clip_vision_model", 24, 16, 64, 1024, 4096, 336, 14, class_tokens=1)
CLIP_L_224 = VisionTower("clip_vision_model", 24, 16, 64, 1024, 4096, 224, 14, class_tokens=1)
# SigLIP-so400m has 27 layers; the conversion drops the last, whose output LLaVA does not use.
SIGLIP_384 = VisionTower("siglip_vision_model", 26, 16, 72, 1152, 4304, 384, 14)
QWEN_VIT = VisionTower(
    "qwen2_5_vl_vision", 32, 16, 80, 1280, 3420, 0, 14,
    mlp_matrices=3, window_tokens=64, full_layers=(7, 15, 23, 31),
)  # fmt: skip

VICUNA_7B = LanguageModel("llama", 32, 32, 32, 128, 4096, 11008, 32064, 4096)
VICUNA_13B = LanguageModel("llama", 40, 40, 40, 128, 5120, 13824, 32064, 4096)
# Linear scaling of positions by 2.
VICUNA_7B_8K = LanguageModel("llama", 32, 32, 32, 128, 4096, 11008, 32064, 8192)
MISTRAL_7B = LanguageModel("mistral", 32, 32, 8, 128, 4096, 14336, 32064, 32768)
YI_34B = LanguageModel("llama", 60, 56, 8, 128, 7168, 20480, 64064, 4096)
QWEN2_05B = LanguageModel("qwen2", 24, 14, 2, 64, 896, 4864, 152000, 32768, tied=True)
QWEN2_7B = LanguageModel("qwen2", 28, 28, 4, 128, 3584, 18944, 152128, 32768)
QWEN2_72B = LanguageModel("qwen2", 80, 64, 8, 128, 8192, 29568, 152128, 32768)
QWEN25_VL_7B = LanguageModel("qwen2_5_vl_text", 28, 28, 4, 128, 3584, 18944, 152064, 128000)

ONE_TILE = ImageRule("single")
NEXT_GRIDS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
ANYRES = ImageRule("anyres", grids=NEXT_GRIDS)
ANYRES_VIDEO = ImageRule("anyres", grids=NEXT_GRIDS, frames=True, frame_stride=2)
ANYRES_MAX_9 = ImageRule(
    "anyres", grids=tuple((384 * h, 384 * w) for h in range(1, 7) for w in range(1, 7)),
    most_tiles=9, frames=True, frame_stride=2, frame_rounds_up=True, video_newline=1,
)  # fmt: skip
EVERY_FRAME = ImageRule("single", frames=True, frame_class_token=True)
# The bounds of the checkpoint's preprocessor_config.json: 4 to 16,384 tokens.
NATIVE = ImageRule("native", frames=True, pixels=(28 * 28 * 4, 28 * 28 * 16384))


def _llava(
    name: str, family: str, vision: VisionTower, language: LanguageModel, image: ImageRule,
    hub: str, dtype: str = "float16", frames: int | None = None, towers: int = 1, note: str = "",
) -> Geometry:  # fmt: skip
    script = "llava" if family == "llava" else family
    return Geometry(
        name, family, dtype, vision, Projector(vision.width, language.width, language.width),
        language, image, (_HUB.format(hub), _SCRIPT.format(script)), frames, towers, note,
    )  # fmt: skip


_ALL = (
    _llava("llava-1.5-7b", "llava", CLIP_L_336, VICUNA_7B, ONE_TILE, "llava-hf/llava-1.5-7b-hf"),
    _llava("llava-1.5-13b", "llava", CLIP_L_336, VICUNA_13B, ONE_TILE, "llava-hf/llava-1.5-13b-hf"),
    _llava("llava-v1.6-vicuna-7b", "llava_next", CLIP_L_336, VICUNA_7B, ANYRES,
           "llava-hf/llava-v1.6-vicuna-7b-hf"),
    _llava("llava-v1.6-vicuna-13b", "llava_next", CLIP_L_336, VICUNA_13B, ANYRES,
           "llava-hf/llava-v1.6-vicuna-13b-hf"),
    _llava("llava-v1.6-mistral-7b", "llava_next", CLIP_L_336, MISTRAL_7B, ANYRES,
           "llava-hf/llava-v1.6-mistral-7b-hf"),
    _llava("llava-v1.6-34b", "llava_next", CLIP_L_336, YI_34B, ANYRES,
           "llava-hf/llava-v1.6-34b-hf"),
    _llava("llava-onevision-0.5b", "llava_onevision", SIGLIP_384, QWEN2_05B, ANYRES_MAX_9,
           "llava-hf/llava-onevision-qwen2-0.5b-ov-hf"),
    _llava("llava-onevision-7b", "llava_onevision", SIGLIP_384, QWEN2_7B, ANYRES_MAX_9,
           "llava-hf/llava-onevision-qwen2-7b-ov-hf"),
    _llava("llava-onevision-72b", "llava_onevision", SIGLIP_384, QWEN2_72B, ANYRES_MAX_9,
           "llava-hf/llava-onevision-qwen2-72b-ov-hf"),
    _llava("llava-onevision-0.5b-video", "llava_onevision", SIGLIP_384, QWEN2_05B, ANYRES_MAX_9,
           "llava-hf/llava-onevision-qwen2-0.5b-ov-hf", frames=32),
    _llava("llava-onevision-7b-video", "llava_onevision", SIGLIP_384, QWEN2_7B, ANYRES_MAX_9,
           "llava-hf/llava-onevision-qwen2-7b-ov-hf", frames=32),
    _llava("llava-next-video-7b", "llava_next_video", CLIP_L_336, VICUNA_7B_8K, ANYRES_VIDEO,
           "llava-hf/LLaVA-NeXT-Video-7B-hf", "bfloat16", frames=32,
           note="positions are scaled by 2: 8,192 of them"),
    _llava("llava-next-video-34b", "llava_next_video", CLIP_L_336, YI_34B, ANYRES_VIDEO,
           "llava-hf/LLaVA-NeXT-Video-34B-hf", "bfloat16", frames=16),
    _llava("video-llava-7b", "video_llava", CLIP_L_224, VICUNA_7B, EVERY_FRAME,
           "LanguageBind/Video-LLaVA-7B-hf", frames=8, towers=2),
    Geometry(
        "qwen2.5-vl-7b", "qwen2_5_vl", "bfloat16", QWEN_VIT, Projector(5120, 5120, 3584, merge=4),
        QWEN25_VL_7B, NATIVE, (_HUB.format("Qwen/Qwen2.5-VL-7B-Instruct"),),
        note="no LLaVA, but what its users compare with",
    ),
)  # fmt: skip

CATALOGUE: dict[str, Geometry] = {geometry.name: geometry for geometry in _ALL}
BUILTIN_NAMES = ("demo", "built-in", "builtin")
