"""What each stand-in module holds, as data: module, name, and where its implementation lives."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# The version whose signatures and returned shapes are followed. The label after + says whose it is.
FLASH_ATTN_VERSION = "2.8.3+attnswitch"
XFORMERS_VERSION = "0.0.29+attnswitch"

_FLASH = "attnswitch.seams.package.flash_attn_api"
_XFORMERS = "attnswitch.seams.package.xformers_api"

_FUNCTIONS = {
    "flash_attn_func": f"{_FLASH}.dense",
    "flash_attn_kvpacked_func": f"{_FLASH}.dense",
    "flash_attn_qkvpacked_func": f"{_FLASH}.dense",
    "flash_attn_varlen_func": f"{_FLASH}.varlen",
    "flash_attn_varlen_kvpacked_func": f"{_FLASH}.varlen",
    "flash_attn_varlen_qkvpacked_func": f"{_FLASH}.varlen",
    "flash_attn_with_kvcache": f"{_FLASH}.kvcache",
}
_VERSION_1_FUNCTIONS = {
    "flash_attn_unpadded_func": f"{_FLASH}.unpadded",
    "flash_attn_unpadded_kvpacked_func": f"{_FLASH}.unpadded",
    "flash_attn_unpadded_qkvpacked_func": f"{_FLASH}.unpadded",
}
_MASKS = dict.fromkeys(
    (
        "AttentionBias",
        "BlockDiagonalCausalFromBottomRightMask",
        "BlockDiagonalCausalLocalAttentionFromBottomRightMask",
        "BlockDiagonalCausalLocalAttentionMask",
        "BlockDiagonalCausalMask",
        "BlockDiagonalMask",
        "LocalAttentionFromBottomRightMask",
        "LowerTriangularFromBottomRightLocalAttentionMask",
        "LowerTriangularFromBottomRightMask",
        "LowerTriangularMask",
        "LowerTriangularMaskWithTensorBias",
    ),
    f"{_XFORMERS}.masks",
)
_XFORMERS_FUNCTIONS = {
    "memory_efficient_attention": f"{_XFORMERS}.attention",
    "memory_efficient_attention_forward": f"{_XFORMERS}.attention",
}

MODULES: dict[str, dict[str, str]] = {
    "flash_attn": _FUNCTIONS,
    "flash_attn.flash_attn_interface": {**_FUNCTIONS, **_VERSION_1_FUNCTIONS},
    "flash_attn.bert_padding": dict.fromkeys(
        (
            "index_first_axis",
            "index_first_axis_residual",
            "index_put_first_axis",
            "pad_input",
            "unpad_input",
            "unpad_input_for_concatenated_sequences",
        ),
        f"{_FLASH}.bert_padding",
    ),
    "flash_attn.layers": {},
    "flash_attn.layers.rotary": {
        "RotaryEmbedding": f"{_FLASH}.rotary_embedding",
        "apply_rotary_emb": f"{_FLASH}.rotary",
        "apply_rotary_emb_kv_": f"{_FLASH}.rotary",
        "apply_rotary_emb_qkv_": f"{_FLASH}.rotary",
        "apply_rotary_emb_torch": f"{_FLASH}.rotary",
    },
    "xformers": {},
    "xformers.ops": {
        **_XFORMERS_FUNCTIONS,
        "AttentionBias": f"{_XFORMERS}.masks",
        "LowerTriangularMask": f"{_XFORMERS}.masks",
        "unbind": f"{_XFORMERS}.attention",
    },
    "xformers.ops.fmha": {**_XFORMERS_FUNCTIONS, **_MASKS},
    "xformers.ops.fmha.attn_bias": _MASKS,
}

# Modules that hold submodules, and those they import with themselves.
PACKAGES: dict[str, tuple[str, ...]] = {
    "flash_attn": ("flash_attn.flash_attn_interface",),
    "flash_attn.layers": (),
    "xformers": (),
    "xformers.ops": ("xformers.ops.fmha",),
    "xformers.ops.fmha": ("xformers.ops.fmha.attn_bias",),
}
ROOTS = ("flash_attn", "xformers")
# Modules that are stood in for where they are there and fail to import.
BREAKABLE = ("flash_attn", "xformers", "xformers.ops")
VERSIONS = {"flash_attn": FLASH_ATTN_VERSION, "xformers": XFORMERS_VERSION}

# Other names for the same thing: {module: {name: the name it stands for}}.
ALIASES = {
    "flash_attn.layers.rotary": {"apply_rotary_emb_func": "apply_rotary_emb"},
    "xformers.ops": {"AttentionMask": "AttentionBias"},
}

# What is replaced in a package that works: its attention functions, no more.
REPLACED: dict[str, dict[str, str]] = {
    "flash_attn": _FUNCTIONS,
    "flash_attn.flash_attn_interface": {**_FUNCTIONS, **_VERSION_1_FUNCTIONS},
    "xformers.ops": _XFORMERS_FUNCTIONS,
    "xformers.ops.fmha": _XFORMERS_FUNCTIONS,
}


def implementation(home: str, name: str) -> Any:
    """Import what stands for `name`."""
    return getattr(import_module(home), name)
