"""The vocabulary of attention switches: names of settings, values, packages and kernels.

Everything the scanner recognises by name is in these tables, and nowhere else.
"""

from __future__ import annotations

import re
from functools import cache

#: Distributions and modules that bring FlashAttention or xformers kernels.
FLASH_PACKAGES = frozenset(
    {"flash_attn", "flash_attn_interface", "flash_attn_2_cuda", "flash_attn_cuda", "flashattn"}
    | {"flash_attn_3", "flash_attn_3_cuda", "flash_attention", "ring_flash_attn", "flashinfer"}
    | {"flash_attn_hopper", "npu_flash_attention"}
)
XFORMERS_PACKAGES = frozenset({"xformers"})
DISTRIBUTION = re.compile(
    r"(?<![\w./-])((?:vllm[-_])?flash[-_]attn(?:[-_]\w+)?|flash[-_]attention|xformers|ring[-_]flash[-_]attn"
    r"|flashinfer(?:[-_]python)?|transformer[-_]engine)(?![\w])",
    re.IGNORECASE,
)

#: Names whose value is the name of an implementation: "flash_attention_2", "sdpa", "eager" ...
SETTING = re.compile(
    r"^_?(?:\w+_)?(?:attn|attention)_(?:impl(?:e|em|ementation)?|backend|class_name)"
    r"(?:_internal|_\w*)?$",
    re.IGNORECASE,
)
#: Names whose value is a boolean (or stands for one) about FlashAttention, xformers or SDPA.
SWITCH = re.compile(
    r"(?:flash_?attn|flash_?attention|flash_?att\b|attn_?flash\b|use_fa\d?_flash"
    r"|use_flash|with_flash|enable_flash|disable_flash|no_flash|flash_sdp|mem_efficient_sdp|xformers|^(?:use_|enable_)?xattn$"
    r"|use_sdpa|use_(?:\w+_)?scaled_dot_product"
    r"|use_memory_efficient_att|memory_efficient_attention|use_mem_eff|(?<![a-z])fused_attn)",
    re.IGNORECASE,
)
#: Looks like a switch, and is none: internals, statistics, capability tests, file names.
NOT_A_SWITCH = re.compile(
    r"(?:top_left|uses_top|supports_window|window_size|deterministic|_version|available|greater"
    r"|installed|^has_|_has_|^have_|output|forward|_func$|_fn$|_fwd|_bwd|varlen|kwargs|_mask$"
    r"|_path|_file|_dir|_err|_import|peft_integration|_cls$|_class(es)?$|_op$|dropout|_drop$|_buffers?$"
    r"|_avail$|_printed$|_msg$|_config$|_module$|_loss|_seqlens?|_inputs?$|_kv)",
    re.IGNORECASE,
)
#: `"flash_attention_2": Class`: the value of a setting, used as a key.
_VALUE_AS_KEY = re.compile(
    r"(?!(?:use|enable|disable|with|no|allow|is)_)(?:\w+_)?flash_att\w*_\d(?:_\w+)?",
    re.IGNORECASE,
)
LEGACY = frozenset({"use_flash_attention_2", "_flash_attn_2_enabled", "use_flash_attn_2"})
NEGATED = re.compile(r"(?:^|_)(?:disable|no|without|not|skip|norm|normal|naive)_?", re.IGNORECASE)
CAPABILITY = frozenset(
    {"_supports_flash_attn_2", "_supports_flash_attn", "_supports_flash_attn_3", "_supports_sdpa"}
    | {"_supports_flex_attn", "_supports_attention_backend"}
)
AVAILABILITY = frozenset(
    {"is_flash_attn_2_available", "is_flash_attn_available", "is_flash_attn_3_available"}
    | {"is_flash_attn_greater_or_equal", "is_flash_attn_greater_or_equal_2_10"}
    | {"is_xformers_available", "is_flash_attn_v2_available"}
)

#: Functions of torch that choose or run SDPA kernels.
SDPA_CALL = re.compile(r"(?:^|\.)scaled_dot_product_attention$")
TOGGLES = frozenset(
    {"enable_flash_sdp", "enable_mem_efficient_sdp", "enable_math_sdp", "enable_cudnn_sdp"}
    | {"sdp_kernel", "sdpa_kernel"}
)
XFORMERS_CALL = re.compile(r"(?:^|\.)_?(?:memory_efficient_attention(?:_\w+)?)$")
FLASH_CALL = re.compile(
    r"(?:^|_)(?:flash_attn|flash_attention)(?:_\w*)?_?(?:func|forward|unpadded_\w+)$"
    r"|^flash_(?:\w+_)?attn_\w*func$|^_?flash_attention_forward$|^\w*flash_attn_\w*backward$"
    r"|^npu_fusion_attention$",
    re.IGNORECASE,
)
VARLEN = re.compile(r"varlen|unpadded", re.IGNORECASE)

#: Environment variables that steer attention in some project or library.
VARIABLE = re.compile(
    r"FLASH(?:_\w+)?_?ATT|NVTE_(?:FLASH|FUSED|UNFUSED)|NORM_ATTN|XFORMERS|ATTN_IMPL|ATTENTION_IMPL"
    r"|ATTN_BACKEND|ATTENTION_BACKEND|USE_FLASH|USE_SDPA|^ATTN_",
    re.IGNORECASE,
)
NOT_A_VARIABLE = re.compile(r"DETERMINISTIC|_BUILD|SKIP_CUDA|FORCE_BUILD|FORCE_CXX", re.IGNORECASE)

_FLASH_VALUES = re.compile(r"^(?:.*flash.*|fa[234]?)$", re.IGNORECASE)
_VISION = re.compile(
    r"vision|visual|image_tower|image_encoder|video_tower|video_encoder|intern_?video|videomae|vivit"
    r"|clip|siglip|eva|vit\b|_vit(?![a-z])|vit_|dino"
    r"|radio|sam_|convnext|imagebind|languagebind|img_",
    re.IGNORECASE,
)
_VIT = re.compile(r"V[iI]T(?=[A-Z0-9]|$)")
#: Language models that pack sequences as NaViT does bear its name too: `qwen2_navit.py`.
_PACKED = re.compile(r"_?navit", re.IGNORECASE)
_LANGUAGE = re.compile(
    r"llm|language|causal|llama|qwen|phi|mistral|mixtral|gemma|vicuna|mpt|internlm|text_model"
    r"|lm_|_lm|base_model",
    re.IGNORECASE,
)
#: Variables that hold the name or the path of a vision tower.
_TOWER = re.compile(r"^(?:mm_)?vision_tower(?:_name|_path|_name_or_path|_cfg)?$")
#: Classes with a from_pretrained that loads no model of language or vision, such as parts of a
#: generator of images; a language model may be trained by masked diffusion.
_NO_MODEL = re.compile(
    r"Tokenizer|Processor|Config|FeatureExtractor|Peft|Scheduler|Dataset|Image|Vae|VAE"
    r"|(?<!Masked)Diffusion|Pipeline|Autoencoder|UNet|Lora",
    re.IGNORECASE,
)


def family_of(value: object) -> str | None:
    """Map the value of a setting to flash, triton, sdpa, eager, xformers, default or None.

    "triton" is MPT's own FlashAttention, written in Triton; None is an unknown value.
    """
    if value is None:
        return "default"
    if not isinstance(value, str):
        return None
    low = value.strip().lower()
    if "sdpa" in low and "flash" not in low:
        return "sdpa"
    if "xformers" in low:
        return "xformers"
    if low in {"eager", "torch", "normal", "vanilla", "native", "math", "manual", "naive"}:
        return "eager"
    if low in {"none", "", "auto", "null"}:
        return "default"
    if low == "triton":
        return "triton"
    return "flash" if _FLASH_VALUES.match(low) else None


@cache
def is_setting(name: str) -> bool:
    """True if a keyword, field or attribute of this name holds an implementation's name."""
    return bool(SETTING.match(name)) and name not in CAPABILITY and not name.endswith("_autoset")


@cache
def is_switch(name: str) -> bool:
    """True if a keyword, field or attribute of this name turns a kernel on or off."""
    if name in CAPABILITY or name in AVAILABILITY:
        return False
    if name in LEGACY:
        return True
    plain = name.strip("_")
    if _VALUE_AS_KEY.fullmatch(plain):
        return False
    return bool(SWITCH.search(plain)) and not NOT_A_SWITCH.search(plain) and not is_setting(name)


@cache
def switch_target(name: str) -> str:
    """Which kernel a switch of this name speaks of: flash, xformers or sdpa."""
    low = name.lower()
    if "xformers" in low or "xattn" in low or "mem_eff" in low or "memory_efficient" in low:
        return "xformers"
    if ("sdp" in low or "scaled_dot" in low or "fused_attn" in low) and "flash" not in low:
        return "sdpa"
    return "flash"


def switch_family(name: str, value: object) -> str | None:
    """What a boolean switch of this name asks for when it holds `value`."""
    if isinstance(value, str):
        low = value.strip().lower()
        if low in {"true", "1", "yes", "on"}:
            value = True
        elif low in {"false", "0", "no", "off", "none", ""}:
            value = False
        else:
            return family_of(value)
    if value is None:
        return "default"
    if not isinstance(value, (bool, int)):
        return None
    asked = bool(value) != bool(NEGATED.search(name.strip("_")))
    return switch_target(name) if asked else "off"


@cache
def kernel_called(dotted: str) -> str | None:
    """The kernel that a call of this name runs: sdpa, xformers, flash or None."""
    if SDPA_CALL.search(dotted):
        return "sdpa"
    if XFORMERS_CALL.search(dotted):
        return "xformers"
    return "flash" if FLASH_CALL.search(dotted.split(".")[-1]) else None


def is_flash_module(dotted: str) -> bool:
    """True for flash_attn, flash_attn.bert_padding, ring_flash_attn ..."""
    return dotted.split(".")[0] in FLASH_PACKAGES


def package_target(dotted: str) -> str | None:
    """Return flash or xformers if importing `dotted` needs that package, else None."""
    head = dotted.split(".")[0]
    if head in FLASH_PACKAGES:
        return "flash"
    return "xformers" if head in XFORMERS_PACKAGES else None


@cache
def role_of(text: str) -> str | None:
    """Guess from names whether something belongs to the vision tower or the language model."""
    language = _LANGUAGE.search(text)
    if language:
        text = _PACKED.sub("", text)
    if _VISION.search(text) or _VIT.search(text):
        return "vision_tower"
    return "language_model" if language else None


@cache
def tower_option(name: str) -> str | None:
    """The option that gives the vision tower of this variable: `vision_tower_name` and its kin."""
    match = _TOWER.match(name)
    return "vision_tower" if match else None


@cache
def loads_a_model(name: str) -> bool:
    """True if `name.from_pretrained(…)` gives a model, by the name of the class."""
    return not _NO_MODEL.search(name) or ("Model" in name and not name.startswith("Peft"))
