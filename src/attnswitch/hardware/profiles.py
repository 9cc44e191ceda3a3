"""Hardware profiles: what FlashAttention's versions, SDPA's kernels and the dtypes do there.

Compiled from the documents named under `SOURCES`, not measured: nobody here has run these GPUs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from attnswitch.errors import InputError, did_you_mean

SOURCES = {
    "fa-readme": "https://github.com/Dao-AILab/flash-attention#installation-and-features",
    "fa3": "https://github.com/Dao-AILab/flash-attention#flashattention-3-beta-release",
    "fa4": "https://github.com/Dao-AILab/flash-attention#flashattention-4-cutedsl",
    "fa-579": "https://github.com/Dao-AILab/flash-attention/issues/579",
    "sdp": "https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/transformers/cuda/"
    "sdp_utils.cpp",
    "cuda": "https://docs.nvidia.com/cuda/cuda-c-programming-guide/#compute-capabilities",
    "bf16": "https://docs.nvidia.com/cuda/ampere-tuning-guide/",
    "vllm-946": "https://github.com/vllm-project/vllm/issues/946",
    "fastchat-399": "https://github.com/lm-sys/FastChat/issues/399",
    "llava-next-224": "https://github.com/LLaVA-VL/LLaVA-NeXT/issues/224",
    "hf-36618": "https://github.com/huggingface/transformers/issues/36618",
    "hf-36383": "https://github.com/huggingface/transformers/pull/36383",
    "onednn": "https://uxlfoundation.github.io/oneDNN/dev_guide_data_types.html",
    "sdpa-cpu": "https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/transformers/"
    "sdp_utils_cpp.cpp",
}


@dataclass(frozen=True)
class Support:
    """Whether something runs on a machine, why not, and where that is written.

    `native` is False for a dtype that runs without hardware for it: slow, or refused by projects.
    `error` is what a program that asks for it all the same stops with, as `error_source` shows.
    """

    runs: bool
    why: str = ""
    source: str = ""
    native: bool = True
    error: str = ""
    error_source: str = ""


@dataclass(frozen=True)
class Profile:
    """One kind of machine. `capability` is CUDA's; `support` holds what is asked of it by name."""

    name: str
    title: str
    device: str
    capability: tuple[int, int] | None
    support: dict[str, Support]
    note: str = ""

    def dtype(self, name: str) -> Support:
        """What the machine does with a dtype."""
        return self.support.get(name, Support(True))


_YES = Support(True)
_NO_FA2 = "FlashAttention 2 supports compute capability 8.0 and newer (Ampere, Ada, Hopper)"


def _older_gpu(capability: str, generation: str) -> dict[str, Support]:
    """Volta and Turing."""
    this = f"{generation} has compute capability {capability}"
    return {
        "float16": Support(True, source="cuda"),
        "bfloat16": Support(
            True,
            f"{this}; bfloat16 has hardware from 8.0 on",
            "vllm-946",
            native=False,
            error="ValueError: Your setup doesn't support bf16/gpu. (transformers' Trainer, where "
            "torch does not emulate it)",
            error_source="fastchat-399",
        ),
        "flash-attn 2": Support(
            False,
            f"{_NO_FA2}; {this}",
            "fa-readme",
            error="RuntimeError: FlashAttention only supports Ampere GPUs or newer.",
            error_source="llava-next-224",
        ),
        "flash-attn 3": Support(False, "FlashAttention 3 is for Hopper", "fa3"),
        "flash-attn 4": Support(False, "FlashAttention 4 is for Hopper and Blackwell", "fa4"),
        "SDPA flash": Support(False, f"PyTorch's kernel needs 8.0; {this}", "sdp"),
        "SDPA efficient": Support(True, source="sdp"),
        "SDPA math": Support(True, source="sdp"),
    }


def _newer_gpu(*, big: bool, hopper: bool) -> dict[str, Support]:
    """Ampere, Ada, Hopper; `big` ones have the shared memory that wide heads need in backward."""
    wide = (
        ""
        if big
        else "head width over 192 in backward needs 2.5.5 and no dropout, or an A100 or H100"
    )
    return {
        "float16": Support(True, source="cuda"),
        "bfloat16": Support(True, source="bf16"),
        "flash-attn 2": Support(True, wide, "fa-579"),
        "flash-attn 3": Support(hopper, "" if hopper else "FlashAttention 3 is for Hopper", "fa3"),
        "flash-attn 4": Support(
            hopper, "" if hopper else "FlashAttention 4 is for Hopper and Blackwell", "fa4"
        ),
        "SDPA flash": Support(True, "takes no attention mask; head width at most 256", "sdp"),
        "SDPA efficient": Support(True, source="sdp"),
        "SDPA math": Support(True, source="sdp"),
    }


def _cpu(half: dict[str, Support]) -> dict[str, Support]:
    nothing = Support(False, "the flash-attn package is for GPUs", "fa-readme")
    return {
        **half,
        "flash-attn 2": nothing,
        "flash-attn 3": nothing,
        "flash-attn 4": nothing,
        "SDPA flash": Support(True, "takes no dropout", "sdpa-cpu"),
        "SDPA efficient": Support(False, "is a CUDA kernel", "sdp"),
        "SDPA math": Support(True, source="sdpa-cpu"),
    }


_NO_AMX = "there are no AMX instructions; oneDNN emulates it with slower ones"
_NO_AVX512 = "there are no AVX-512 or AMX instructions; half precision is converted to float32"
_NPU = Support(
    False, "the flash-attn package cannot be installed on Ascend; torch_npu has its own kernel",
    "hf-36618",
)  # fmt: skip

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("v100", "NVIDIA V100 (Volta)", "cuda", (7, 0), _older_gpu("7.0", "Volta")),
        Profile("t4", "NVIDIA T4 (Turing)", "cuda", (7, 5), _older_gpu("7.5", "Turing")),
        Profile("rtx30", "NVIDIA GeForce RTX 30 (Ampere)", "cuda", (8, 6),
                _newer_gpu(big=False, hopper=False)),
        Profile("rtx40", "NVIDIA GeForce RTX 40 (Ada)", "cuda", (8, 9),
                _newer_gpu(big=False, hopper=False)),
        Profile("a100", "NVIDIA A100 (Ampere)", "cuda", (8, 0),
                _newer_gpu(big=True, hopper=False)),
        Profile("h100", "NVIDIA H100 (Hopper)", "cuda", (9, 0), _newer_gpu(big=True, hopper=True)),
        Profile(
            "910b", "Huawei Ascend 910B", "npu", None,
            {
                "float16": _YES,
                "bfloat16": Support(True, source="hf-36618"),
                "flash-attn 2": _NPU, "flash-attn 3": _NPU, "flash-attn 4": _NPU,
                "SDPA flash": Support(
                    True, "torch_npu's own fused kernel, inside its SDPA", "hf-36383"
                ),
                "SDPA efficient": Support(False, "is a CUDA kernel", "sdp"),
                "SDPA math": _YES,
            },
            note="attnswitch does not route Ascend devices: a request is an error there. "
            "transformers' own attn_implementation='sdpa' runs torch_npu's fused kernel",
        ),
        Profile("cpu-amx", "a CPU with AMX and AVX-512", "cpu", None, _cpu({
            "bfloat16": Support(True, source="onednn"),
            "float16": Support(True, "AMX computes float16 from Granite Rapids on", "onednn"),
        })),
        Profile("cpu-avx512", "a CPU with AVX-512, without AMX", "cpu", None, _cpu({
            "bfloat16": Support(True, _NO_AMX, "onednn", native=False),
            "float16": Support(True, _NO_AMX, "onednn", native=False),
        })),
        Profile("cpu", "a CPU without AVX-512 and AMX", "cpu", None, _cpu({
            "bfloat16": Support(True, _NO_AVX512, "onednn", native=False),
            "float16": Support(True, _NO_AVX512, "onednn", native=False),
        })),
    )
}  # fmt: skip

_SAME = {
    "rtx3060": "rtx30", "rtx3080": "rtx30", "rtx3090": "rtx30", "a10": "rtx30", "a40": "rtx30",
    "a6000": "rtx30", "rtx4060": "rtx40", "rtx4080": "rtx40", "rtx4090": "rtx40", "l4": "rtx40",
    "l40": "rtx40", "l40s": "rtx40", "a800": "a100", "h800": "h100", "h200": "h100", "h20": "h100",
    "ascend910b": "910b", "ascend": "910b", "volta": "v100", "turing": "t4", "rtx20": "t4",
    "2080ti": "t4", "rtx2080ti": "t4", "hopper": "h100", "cpuamx": "cpu-amx",
    "cpuavx512": "cpu-avx512",
}  # fmt: skip


def profile_of(name: str) -> Profile:
    """The profile that a name means: `v100`, `Tesla V100`, `RTX 3090`, `cpu-amx`.

    Raises:
        InputError: there is none of that name.
    """
    word = re.sub(r"^(nvidia|tesla|geforce|huawei)+", "", re.sub(r"[\s_-]", "", name.lower()))
    found = PROFILES.get(word) or PROFILES.get(_SAME.get(word, ""))
    if found is None:
        hint = did_you_mean(word, [*PROFILES, *_SAME])
        raise InputError(f"no hardware profile {name!r}{hint}; there are {', '.join(PROFILES)}")
    return found


def profile_of_cpu(flags: list[str]) -> Profile:
    """The profile of a CPU with these feature flags."""
    if any(flag.startswith("amx") for flag in flags):
        return PROFILES["cpu-amx"]
    return PROFILES["cpu-avx512" if "avx512f" in flags else "cpu"]
