# ruff: noqa: E501  (what a user reads, on one line)
"""Cause and remedy word for word, of every form of finding."""

from __future__ import annotations

import dataclasses

import pytest

from attnswitch.doctor.availability import availability
from attnswitch.doctor.diagnosis import diagnose
from attnswitch.doctor.loader_errors import LOADER_ERRORS, explain_loader
from attnswitch.doctor.state import MachineState, TorchState, Wanted

from .machines import A100, ARCHS, CXX11, RTX4090, RTX5090, SO, V100, broken, sound, torch

REBUILD = (
    "rebuild it against this torch: pip uninstall -y flash-attn && pip install flash-attn "
    "--no-build-isolation --no-cache-dir; or install the release wheel whose name says torch2.7, "
    "cu12 and cxx11abiTRUE or FALSE as torch is"
)
BUILD = (
    "build it on this machine: pip uninstall -y flash-attn && FLASH_ATTENTION_FORCE_BUILD=TRUE pip "
    "install flash-attn --no-build-isolation --no-binary flash-attn"
)
NO_FLASH = "ask for no-flash (or standard): attnswitch run --attn no-flash script.py"
NEW = torch("2.7.0", "12.6")


@pytest.mark.parametrize(
    ("said", "state", "cause", "remedy"),
    [
        (
            f"{SO}: undefined symbol: {CXX11}",
            sound(torch("2.7.0", "12.6", cxx11_abi=False), A100),
            "its wheel was built with the C++11 ABI, this torch (2.7.0) without: ABI mismatch",
            "install the release wheel whose name says torch2.7, cu12 and cxx11abiFALSE, or "
            + REBUILD.replace("cxx11abiTRUE or FALSE as torch is", "cxx11abiFALSE"),
        ),
        (
            f"{SO}: undefined symbol: _ZN3c10",
            sound(NEW, A100),
            "it was built against another torch than this one (2.7.0): undefined symbol _ZN3c10",
            REBUILD,
        ),
        (
            "libcudart.so.12: cannot open shared object file",
            sound(NEW, A100),
            "it wants the CUDA 12 runtime, which torch brings along and the loader does not find",
            "show the loader where it is: export LD_LIBRARY_PATH=$CONDA_PREFIX/lib:$LD_LIBRARY_PATH "
            "(or torch's nvidia/cuda_runtime/lib)",
        ),
        (
            "libcudart.so.11.0: cannot open shared object file",
            sound(NEW, A100),
            "it was built for CUDA 11.0, this torch for CUDA 12.6: wrong CUDA",
            "use the same CUDA for both: " + REBUILD,
        ),
        (
            "version `GLIBC_2.32' not found",
            sound(NEW, A100, glibc="glibc 2.31"),
            "its wheel needs the system's C library to have GLIBC_2.32, which is newer than this one (glibc 2.31)",
            "install an older wheel: pip install flash-attn==2.7.4.post1 --no-build-isolation; or "
            + BUILD,
        ),
        (
            "version `CXXABI_1.3.15' not found",
            sound(NEW, A100),
            "it was built with a newer C++ library than the one that is loaded here (CXXABI_1.3.15 is missing)",
            "load a newer libstdc++, for example: conda install -c conda-forge libstdcxx-ng; or "
            + BUILD,
        ),
        (
            "DLL load failed while importing flash_attn_2_cuda",
            sound(NEW, A100, system="Windows"),
            "its compiled part flash_attn_2_cuda does not fit this torch (2.7.0) or its CUDA",
            "rebuild it after each update of torch: " + BUILD,
        ),
        (
            "No module named 'flash_attn_2_cuda'",
            MachineState(TorchState("2.7.0", hip="6.3")),
            "it was installed without its CUDA part, and this torch is for ROCm (2.7.0)",
            "use its Triton kernels: export FLASH_ATTENTION_TRITON_AMD_ENABLE=TRUE, when it is installed and when it runs",
        ),
        (
            "No module named 'flash_attn_2_cuda'",
            sound(NEW, A100),
            "its compiled part flash_attn_2_cuda is missing: it was copied, installed for another Python, or built without CUDA",
            BUILD,
        ),
        (
            "Requires Flash-Attention version >=2.7.1,<=2.8.0 but got 2.8.3",
            sound(NEW, A100),
            "it takes flash-attn >=2.7.1,<=2.8.0 only",
            "install a version in that range, for example: pip install 'flash-attn>=2.7.1,<=2.8.0' --no-build-isolation",
        ),
        (
            "cannot import name 'flash_attn_func'",
            sound(NEW, A100),
            "this is FlashAttention 1 (an old version), which has no flash_attn_func",
            "install FlashAttention 2: pip install 'flash-attn>=2.1' --no-build-isolation",
        ),
        ("something new", sound(NEW, A100), "it does not import: something new", REBUILD),
        ("", sound(NEW, A100), "it does not import", REBUILD),
    ],
)
def test_what_the_loader_says(said, state, cause, remedy):
    assert explain_loader("flash-attn", said, state) == (cause, remedy)


def test_every_row_of_the_table_has_its_case():
    """One for each row, and one for what no row matches."""
    cases = test_what_the_loader_says.pytestmark[0].args[1]
    assert len(cases) == len(LOADER_ERRORS) + 1


def of(state, wanted=None):
    """(cause, remedy) of each finding."""
    return [(f.cause, f.remedy) for f in diagnose(state, wanted)]


OLD_XFORMERS = {"xformers": "xFormers was built for: PyTorch 2.1.0+cu121 (you have 2.9.0)"}


@pytest.mark.parametrize(
    ("state", "wanted", "cause", "remedy"),
    [
        (
            MachineState(None),
            None,
            "does not import: it is not installed",
            "install it: https://pytorch.org/get-started",
        ),
        (
            MachineState(TorchState("2.0.1")),
            None,
            "2.0.1 is older than 2.1",
            "upgrade torch to 2.1 or newer",
        ),
        (
            MachineState(TorchState("2.9.0", "12.8", cuda_error="CUDA unknown error")),
            None,
            "does not start: CUDA unknown error",
            "run nvidia-smi and mend that first",
        ),
        (
            MachineState(TorchState("2.9.0+cpu"), seen_gpus=("NVIDIA L4",)),
            None,
            "2.9.0+cpu was built without CUDA, and there is NVIDIA L4",
            "install a torch with CUDA: https://pytorch.org/get-started/locally/",
        ),
        (
            sound(torch("2.5.1", archs=ARCHS), RTX5090, "2.8.0"),
            None,
            "torch 2.5.1 has no code for its architecture sm_120 (it has sm_50, sm_60, sm_70, sm_75, "
            "sm_80, sm_86, sm_90): architecture not supported",
            "install a torch for CUDA 12.8 or newer: pip install --upgrade torch torchvision --index-url https://download.pytorch.org/whl/cu128",
        ),
        (
            sound(torch("2.9.0", archs=("sm_80",)), V100, "2.8.0"),
            None,
            "torch 2.9.0 has no code for its architecture sm_70 (it has sm_80): architecture not supported",
            "install a torch that was built for this GPU: https://pytorch.org/get-started/locally/",
        ),
        (
            sound(torch("2.9.0"), V100, "2.8.0"),
            None,
            "FlashAttention needs compute capability 8.0 (Ampere) or newer, this has 7.0",
            NO_FLASH,
        ),
        (
            sound(torch("2.9.0"), RTX4090, "2.8.0", warnings=OLD_XFORMERS),
            None,
            "its extensions were built for torch 2.1.0+cu121 and do not load with torch 2.9.0",
            "install the xformers for torch 2.9.0, or torch==2.1.0",
        ),
        (
            sound(torch("2.9.0"), A100, "2.0.9"),
            None,
            "transformers takes FlashAttention 2 from 2.1.0 on",
            "upgrade it: pip install -U 'flash-attn>=2.1' --no-build-isolation",
        ),
        (
            sound(torch("2.9.0"), A100),
            None,
            "the package is not installed",
            "nothing to do: PyTorch's SDPA has FlashAttention of its own (attn: flash); else pip install flash-attn --no-build-isolation",
        ),
        (
            MachineState(TorchState("2.4.0"), npu="Ascend910B2"),
            None,
            "the flash-attn package cannot be installed on Ascend",
            "use attn_implementation='sdpa', under which torch_npu runs its own fused kernel; attnswitch does not route Ascend devices",
        ),
        (
            sound(torch("2.9.0"), V100, "2.8.0"),
            Wanted("bfloat16"),
            "bfloat16 has hardware from compute capability 8.0 on, this has 7.0",
            "use float16: --bf16 False --fp16 True --tf32 False",
        ),
        (
            sound(torch("2.9.0"), A100, "2.8.0"),
            Wanted("float32"),
            "FlashAttention takes float16 and bfloat16, not float32",
            "load the model in half precision (torch_dtype='auto' or torch.bfloat16; in a trainer bf16=True or fp16=True), or use standard attention for it (attn: standard)",
        ),
        (
            sound(torch("2.9.0"), A100, "1.0.9"),
            Wanted("float16", 256),
            "FlashAttention 1 takes at most 128",
            "upgrade it to 2 or newer, which takes 256",
        ),
        (
            sound(torch("2.9.0"), A100, "2.8.0"),
            Wanted("float16", 320),
            "FlashAttention 2 takes at most 256",
            NO_FLASH,
        ),
        (
            sound(torch("2.9.0"), RTX4090, "2.3.0"),
            Wanted("float16", 256, training=True),
            "FlashAttention 2's backward pass for head width over 192 needs an A100 or H100, for its "
            "shared memory; this is NVIDIA GeForce RTX 4090",
            f"use flash-attn 2.5.5 or newer without dropout; or {NO_FLASH}",
        ),
        (
            sound(torch("2.9.0"), RTX4090, "1.0.9"),
            Wanted("float16", 128, training=True),
            "FlashAttention 1's backward pass for head width over 64 needs an A100 or H100, for its "
            "shared memory; this is NVIDIA GeForce RTX 4090",
            "upgrade it to 2 or newer, which takes 192",
        ),
        (
            MachineState(
                torch(
                    "2.2.1",
                    cuda_error="The NVIDIA driver on your system is too old (found version 11040)",
                )
            ),
            None,
            "it supports CUDA 11.4, and torch 2.2.1 was built for CUDA 12.1",
            "update the NVIDIA driver, or install a torch that was built for CUDA 11.4",
        ),
    ],
)
def test_what_a_machine_says(state, wanted, cause, remedy):
    assert (cause, remedy) in of(state, wanted)


def test_an_xformers_beside_a_torch_without_cuda():
    state = dataclasses.replace(
        sound(TorchState("2.9.0+cpu"), A100, "2.8.0"), gpus=(),
        warnings={"xformers": "xFormers was built for: PyTorch 2.1.0+cu121 (you have 2.9.0+cpu)"},
    )  # fmt: skip
    remedy = "install a torch with CUDA: https://pytorch.org/get-started/locally/"
    assert of(state)[-1][1] == remedy


def test_a_backend_says_why_its_package_is_missing():
    def reasons(state):
        backends = availability(state, [], Wanted())
        return next(b["reasons"] for b in backends if b["name"] == "flash_attn")

    assert reasons(sound(NEW, A100)) == ["the package flash_attn is not installed"]
    assert reasons(broken("gone", "2.8.0", NEW)) == ["does not import: ImportError: gone"]
