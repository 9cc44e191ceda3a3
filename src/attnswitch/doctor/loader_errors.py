"""What the loader says when a compiled package does not import, and what that means.

One table: a pattern in the loader's words, the cause, and the remedy. The first that matches holds;
`{…}` are filled with what the machine reports. Causes and remedies are those that the threads named
in tests/doctor/machines.py confirm.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from attnswitch.doctor.state import MachineState

REBUILD = (
    "rebuild it against this torch: pip uninstall -y {dist} && pip install {dist} "
    "--no-build-isolation --no-cache-dir; or install the release wheel whose name says "
    "torch{torch_minor}, {cuda_tag} and {abi_tag}"
)
FROM_SOURCE = (
    "build it on this machine: pip uninstall -y {dist} && {force}pip install {dist} "
    "--no-build-isolation --no-binary {dist}"
)


@dataclass(frozen=True)
class LoaderError:
    """A form of error. `also` must hold of the machine, where it is given."""

    pattern: str
    cause: str
    remedy: str
    also: Callable[[MachineState, re.Match[str]], bool] | None = None


def _torch_is_cuda(state: MachineState, found: re.Match[str]) -> bool:
    """Whether the CUDA that the library wants is the one torch was built for."""
    cuda = state.torch.cuda if state.torch else None
    return cuda is not None and cuda.partition(".")[0] == found[1].partition(".")[0]


def _old_abi(state: MachineState, _: re.Match[str]) -> bool:
    return state.torch is not None and state.torch.cxx11_abi is False


def _rocm(state: MachineState, _: re.Match[str]) -> bool:
    return state.torch is not None and state.torch.hip is not None


def _windows(state: MachineState, _: re.Match[str]) -> bool:
    return state.system == "Windows"


LOADER_ERRORS: tuple[LoaderError, ...] = (
    LoaderError(
        r"undefined symbol: (\w*__cxx11\w*)",
        "its wheel was built with the C++11 ABI, this torch ({torch}) without: ABI mismatch",
        "install the release wheel whose name says torch{torch_minor}, {cuda_tag} and "
        "cxx11abiFALSE, or " + REBUILD,
        _old_abi,
    ),
    LoaderError(
        r"undefined symbol: (\w+)",
        "it was built against another torch than this one ({torch}): undefined symbol {0}",
        REBUILD,
    ),
    LoaderError(
        r"libcudart\.so\.(\d+(?:\.\d+)?)",
        "it wants the CUDA {0} runtime, which torch brings along and the loader does not find",
        "show the loader where it is: export LD_LIBRARY_PATH=$CONDA_PREFIX/lib:$LD_LIBRARY_PATH "
        "(or torch's nvidia/cuda_runtime/lib)",
        _torch_is_cuda,
    ),
    LoaderError(
        r"libcudart\.so\.(\d+(?:\.\d+)?)",
        "it was built for CUDA {0}, this torch for CUDA {cuda}: wrong CUDA",
        "use the same CUDA for both: " + REBUILD,
    ),
    LoaderError(
        r"version `(GLIBC_[\d.]+)' not found",
        "its wheel needs the system's C library to have {0}, which is newer than this one{glibc}",
        "install an older wheel: pip install flash-attn==2.7.4.post1 --no-build-isolation; or "
        + FROM_SOURCE,
    ),
    LoaderError(
        r"version `(GLIBCXX_[\d.]+|CXXABI_[\d.]+)' not found",
        "it was built with a newer C++ library than the one that is loaded here ({0} is missing)",
        "load a newer libstdc++, for example: conda install -c conda-forge libstdcxx-ng; or "
        + FROM_SOURCE,
    ),
    LoaderError(
        r"DLL load failed while importing (\w+)",
        "its compiled part {0} does not fit this torch ({torch}) or its CUDA",
        "rebuild it after each update of torch: " + FROM_SOURCE,
        _windows,
    ),
    LoaderError(
        r"No module named '(flash_attn_2_cuda)'",
        "it was installed without its CUDA part, and this torch is for ROCm ({torch})",
        "use its Triton kernels: export FLASH_ATTENTION_TRITON_AMD_ENABLE=TRUE, when it is "
        "installed and when it runs",
        _rocm,
    ),
    LoaderError(
        r"No module named '(flash_attn_\w*cuda|flash_attn_cuda)'",
        "its compiled part {0} is missing: it was copied, installed for another Python, or built "
        "without CUDA",
        FROM_SOURCE,
    ),
    LoaderError(
        r"Requires Flash-Attention version (>=[\w.]+,<=[\w.]+)",
        "it takes flash-attn {0} only",
        "install a version in that range, for example: pip install 'flash-attn{0}' "
        "--no-build-isolation",
    ),
    LoaderError(
        r"cannot import name '(flash_attn_func)'",
        "this is FlashAttention 1 ({version}), which has no {0}",
        "install FlashAttention 2: pip install 'flash-attn>=2.1' --no-build-isolation",
    ),
    LoaderError(
        r"(.+)",
        "it does not import: {0}",
        REBUILD,
    ),
)


def explain_loader(dist: str, text: str, state: MachineState) -> tuple[str, str]:
    """The cause and the remedy for what the loader said of a distribution."""
    flat = " ".join(text.split())
    for error in LOADER_ERRORS:
        found = re.search(error.pattern, flat)
        if found and (error.also is None or error.also(state, found)):
            words = _words(dist, state)
            return (
                error.cause.format(*found.groups(), **words),
                error.remedy.format(*found.groups(), **words),
            )
    return "it does not import", REBUILD.format(**_words(dist, state))


def _words(dist: str, state: MachineState) -> dict[str, str]:
    torch = state.torch
    version = torch.version if torch else "none"
    cuda = torch.cuda if torch else None
    abi = torch.cxx11_abi if torch else None
    return {
        "dist": dist,
        "torch": version,
        "torch_minor": ".".join(version.partition("+")[0].split(".")[:2]),
        "cuda": cuda or "none",
        "cuda_tag": f"cu{cuda.partition('.')[0]}" if cuda else "your CUDA",
        "abi_tag": "cxx11abi"
        + {True: "TRUE", False: "FALSE", None: "TRUE or FALSE as torch is"}[abi],
        "glibc": f" ({state.glibc})" if state.glibc else "",
        "version": state.version(dist) or "an old version",
        "force": "FLASH_ATTENTION_FORCE_BUILD=TRUE " if dist == "flash-attn" else "",
    }
