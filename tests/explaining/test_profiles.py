# ruff: noqa: E501  (a table is easier to compare with its sources on long lines)
"""What the hardware profiles say, line by line; each was compared with the source that it names."""

from __future__ import annotations

import pytest

from attnswitch.hardware.profiles import PROFILES, SOURCES

FLASH_2 = "FlashAttention 2 supports compute capability 8.0 and newer (Ampere, Ada, Hopper)"
VOLTA, TURING = (
    f"{name} has compute capability {cc}" for name, cc in (("Volta", "7.0"), ("Turing", "7.5"))
)
FLASH_3 = "no: FlashAttention 3 is for Hopper"
FLASH_4 = "no: FlashAttention 4 is for Hopper and Blackwell"
WIDE = "yes: head width over 192 in backward needs 2.5.5 and no dropout, or an A100 or H100"
NO_MASK = "yes: takes no attention mask; head width at most 256"
FOR_GPUS = "no: the flash-attn package is for GPUs"
ON_ASCEND = "no: the flash-attn package cannot be installed on Ascend; torch_npu has its own kernel"
NO_AMX = "slow: there are no AMX instructions; oneDNN emulates it with slower ones"
NO_AVX512 = "slow: there are no AVX-512 or AMX instructions; half precision is converted to float32"

# float16, bfloat16, flash-attn 2, 3, 4, SDPA flash, SDPA efficient, SDPA math
ROWS = {
    "NVIDIA V100 (Volta)": (
        "yes",
        f"slow: {VOLTA}; bfloat16 has hardware from 8.0 on",
        f"no: {FLASH_2}; {VOLTA}",
        FLASH_3,
        FLASH_4,
        f"no: PyTorch's kernel needs 8.0; {VOLTA}",
        "yes",
        "yes",
    ),
    "NVIDIA T4 (Turing)": (
        "yes",
        f"slow: {TURING}; bfloat16 has hardware from 8.0 on",
        f"no: {FLASH_2}; {TURING}",
        FLASH_3,
        FLASH_4,
        f"no: PyTorch's kernel needs 8.0; {TURING}",
        "yes",
        "yes",
    ),
    "NVIDIA GeForce RTX 30 (Ampere)": ("yes", "yes", WIDE, FLASH_3, FLASH_4, NO_MASK, "yes", "yes"),
    "NVIDIA GeForce RTX 40 (Ada)": ("yes", "yes", WIDE, FLASH_3, FLASH_4, NO_MASK, "yes", "yes"),
    "NVIDIA A100 (Ampere)": ("yes", "yes", "yes", FLASH_3, FLASH_4, NO_MASK, "yes", "yes"),
    "NVIDIA H100 (Hopper)": ("yes", "yes", "yes", "yes", "yes", NO_MASK, "yes", "yes"),
    "Huawei Ascend 910B": (
        "yes",
        "yes",
        ON_ASCEND,
        ON_ASCEND,
        ON_ASCEND,
        "yes: torch_npu's own fused kernel, inside its SDPA",
        "no: is a CUDA kernel",
        "yes",
    ),
    "a CPU with AMX and AVX-512": (
        "yes: AMX computes float16 from Granite Rapids on",
        "yes",
        FOR_GPUS,
        FOR_GPUS,
        FOR_GPUS,
        "yes: takes no dropout",
        "no: is a CUDA kernel",
        "yes",
    ),
    "a CPU with AVX-512, without AMX": (
        NO_AMX,
        NO_AMX,
        FOR_GPUS,
        FOR_GPUS,
        FOR_GPUS,
        "yes: takes no dropout",
        "no: is a CUDA kernel",
        "yes",
    ),
    "a CPU without AVX-512 and AMX": (
        NO_AVX512,
        NO_AVX512,
        FOR_GPUS,
        FOR_GPUS,
        FOR_GPUS,
        "yes: takes no dropout",
        "no: is a CUDA kernel",
        "yes",
    ),
}
COLUMNS = (
    "float16",
    "bfloat16",
    "flash-attn 2",
    "flash-attn 3",
    "flash-attn 4",
    "SDPA flash",
    "SDPA efficient",
    "SDPA math",
)


def said(support) -> str:
    word = "no" if not support.runs else "yes" if support.native else "slow"
    return f"{word}: {support.why}" if support.why else word


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_every_word_of_a_profile(profile):
    assert tuple(said(profile.support[name]) for name in COLUMNS) == ROWS[profile.title]


def test_there_is_a_row_for_each_profile():
    assert {profile.title for profile in PROFILES.values()} == set(ROWS)


def test_what_programs_stop_with_has_its_source():
    errors = {
        (s.error, s.error_source) for p in PROFILES.values() for s in p.support.values() if s.error
    }
    assert errors == {
        (
            "ValueError: Your setup doesn't support bf16/gpu. (transformers' Trainer, where torch does not emulate it)",
            "fastchat-399",
        ),
        ("RuntimeError: FlashAttention only supports Ampere GPUs or newer.", "llava-next-224"),
    }
    assert {source for _, source in errors} <= set(SOURCES)
