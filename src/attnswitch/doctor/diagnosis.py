"""From what a machine reports to what is broken there, why, and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attnswitch.doctor.loader_errors import explain_loader
from attnswitch.doctor.state import Finding, Gpu, MachineState, TorchState, Wanted
from attnswitch.environment import MINIMUM_TORCH
from attnswitch.policy.versions import release

FLASH = ("flash", "flash_attn")
_STANDARD = "ask for no-flash (or standard): attnswitch run --attn no-flash script.py"
_EXTENSIONS = ("flash_attn", "xformers", "triton", "kernels", "transformers", "torch_npu")
_HALF = ("float16", "bfloat16")


def diagnose(state: MachineState, wanted: Wanted | None = None) -> list[Finding]:
    """Everything that is broken or cannot be, in the order in which to see to it."""
    wanted = wanted or Wanted()
    return [
        *_torch(state),
        *_gpus(state),
        *_packages(state),
        *_xformers(state),
        *_flash_attn_version(state),
        *_not_for(state),
        *_wanted(state, wanted),
    ]


def _torch(state: MachineState) -> Iterator[Finding]:
    torch = state.torch
    if torch is None:
        said = state.import_errors.get("torch", "it is not installed")
        yield Finding(
            "torch", f"does not import: {said}", "install it: https://pytorch.org/get-started"
        )
        return
    if release(torch.version)[0][:2] < MINIMUM_TORCH:
        need = ".".join(map(str, MINIMUM_TORCH))
        yield Finding(
            "torch", f"{torch.version} is older than {need}", f"upgrade torch to {need} or newer"
        )
    found = re.search(r"driver on your system is too old \(found version (\d+)\)", torch.cuda_error)
    if found:
        have = f"{int(found[1]) // 1000}.{int(found[1]) % 1000 // 10}"
        yield Finding(
            "driver",
            f"it supports CUDA {have}, and torch {torch.version} was built for CUDA {torch.cuda}",
            f"update the NVIDIA driver, or install a torch that was built for CUDA {have}",
            ("efficient", *FLASH),
        )
    elif torch.cuda_error:
        yield Finding(
            "CUDA",
            f"does not start: {torch.cuda_error}",
            "run nvidia-smi and mend that first",
            ("efficient", *FLASH),
        )
    elif state.seen_gpus and torch.cuda is None and torch.hip is None:
        yield Finding(
            "torch",
            f"{torch.version} was built without CUDA, and there is {state.seen_gpus[0]}",
            "install a torch with CUDA: https://pytorch.org/get-started/locally/",
            ("efficient", "flash_attn"),
        )


def _gpus(state: MachineState) -> Iterator[Finding]:
    torch = state.torch
    for gpu in {gpu.name: gpu for gpu in state.gpus}.values():
        if gpu.capability is None or torch is None:
            continue
        shown = ".".join(map(str, gpu.capability))
        if torch.archs and not _has_code_for(torch, gpu):
            yield Finding(
                gpu.name,
                f"torch {torch.version} has no code for its architecture "
                f"sm_{shown.replace('.', '')} (it has {', '.join(torch.archs)}): architecture not "
                "supported",
                _newer_build(gpu),
                ("blockwise", "math", "eager", "reference", "efficient", *FLASH),
            )
        if gpu.capability < (8, 0):
            yield Finding(
                gpu.name,
                f"FlashAttention needs compute capability 8.0 (Ampere) or newer, this has {shown}",
                _STANDARD,
                FLASH,
            )


def _has_code_for(torch: TorchState, gpu: Gpu) -> bool:
    """Code for sm_80 runs on 8.0 to 8.9; PTX (compute_80) on anything from 8.0 on."""
    assert gpu.capability is not None
    for arch in torch.archs:
        kind, _, number = arch.partition("_")
        digits = re.sub(r"\D", "", number)
        if not digits:
            continue
        major, minor = int(digits[:-1]), int(digits[-1])
        if kind == "compute" and (major, minor) <= gpu.capability:
            return True
        if kind == "sm" and major == gpu.capability[0] and minor <= gpu.capability[1]:
            return True
    return False


def _newer_build(gpu: Gpu) -> str:
    if gpu.capability and gpu.capability >= (10, 0):
        return (
            "install a torch for CUDA 12.8 or newer: pip install --upgrade torch torchvision "
            "--index-url https://download.pytorch.org/whl/cu128"
        )
    return "install a torch that was built for this GPU: https://pytorch.org/get-started/locally/"


def _packages(state: MachineState) -> Iterator[Finding]:
    for module in _EXTENSIONS:
        said = state.import_errors.get(module)
        if said and state.version(module):
            dist = module.replace("_", "-")
            cause, remedy = explain_loader(dist, said, state)
            stops = ("flash_attn",) if module == "flash_attn" else ()
            yield Finding(f"{dist} {state.version(module)}", cause, remedy, stops)


def _xformers(state: MachineState) -> Iterator[Finding]:
    said = " ".join(state.warnings.get("xformers", "").split())
    found = re.search(r"built for:? PyTorch (\S+)(?: with CUDA \S+)? \(you have (\S+)\)", said)
    if not found:
        return
    built, have = found.groups()
    cause = f"its extensions were built for torch {built} and do not load with torch {have}"
    if have.endswith("+cpu") or (state.torch and state.torch.cuda is None):
        remedy = "install a torch with CUDA: https://pytorch.org/get-started/locally/"
    else:
        here, there = have.partition("+")[0], built.partition("+")[0]
        remedy = f"install the xformers for torch {here}, or torch=={there}"
    yield Finding(f"xformers {state.version('xformers') or ''}".strip(), cause, remedy)


def _flash_attn_version(state: MachineState) -> Iterator[Finding]:
    version = state.version("flash_attn")
    if version is None or "flash_attn" in state.import_errors:
        return
    if release(version)[0] < (2, 1):
        yield Finding(
            f"flash-attn {version}",
            "transformers takes FlashAttention 2 from 2.1.0 on",
            "upgrade it: pip install -U 'flash-attn>=2.1' --no-build-isolation",
            ("flash_attn",),
        )


def _not_for(state: MachineState) -> Iterator[Finding]:
    """What cannot be installed there at all."""
    if state.npu:
        yield Finding(
            state.npu,
            "the flash-attn package cannot be installed on Ascend",
            "use attn_implementation='sdpa', under which torch_npu runs its own fused kernel; "
            "attnswitch does not route Ascend devices",
            ("flash_attn",),
        )
    elif state.gpus and not state.version("flash_attn"):
        yield Finding(
            "flash-attn",
            "the package is not installed",
            "nothing to do: PyTorch's SDPA has FlashAttention of its own (attn: flash); else pip "
            "install flash-attn --no-build-isolation",
            ("flash_attn",),
        )


def _wanted(state: MachineState, wanted: Wanted) -> Iterator[Finding]:
    """What the dtype and the head width that were named rule out."""
    cuda = [gpu for gpu in state.gpus if gpu.capability]
    for gpu in {gpu.name: gpu for gpu in cuda}.values():
        assert gpu.capability is not None
        if wanted.dtype == "bfloat16" and gpu.capability < (8, 0):
            shown = ".".join(map(str, gpu.capability))
            yield Finding(
                f"bfloat16 on {gpu.name}",
                f"bfloat16 has hardware from compute capability 8.0 on, this has {shown}",
                "use float16: --bf16 False --fp16 True --tf32 False",
                ("efficient",),
            )
        yield from _head_width(state, gpu, wanted)
    if cuda and wanted.dtype in ("float32", "float64"):
        yield Finding(
            wanted.dtype,
            f"FlashAttention takes float16 and bfloat16, not {wanted.dtype}",
            "load the model in half precision (torch_dtype='auto' or torch.bfloat16; in a trainer "
            "bf16=True or fp16=True), or use standard attention for it (attn: standard)",
            FLASH,
        )


def _head_width(state: MachineState, gpu: Gpu, wanted: Wanted) -> Iterator[Finding]:
    width, version = wanted.head_dim, state.version("flash_attn")
    if width is None or gpu.capability is None:
        return
    numbers = release(version)[0] if version else (2,)
    big = gpu.capability in ((8, 0), (9, 0))
    first = numbers < (2,)
    limit = 128 if first else 256
    if width > limit:
        remedy = (
            "upgrade it to 2 or newer, which takes 256" if first and width <= 256 else _STANDARD
        )
        yield Finding(
            f"head width {width}",
            f"FlashAttention {numbers[0]} takes at most {limit}",
            remedy,
            FLASH,
        )
    elif wanted.training and not big and width > (64 if first else 192):
        bound = 64 if first else 192
        better = "upgrade it to 2 or newer, which takes 192" if width <= 192 else (
            "use flash-attn 2.5.5 or newer without dropout; or " + _STANDARD
        )  # fmt: skip
        if first or numbers < (2, 5, 5):
            yield Finding(
                f"head width {width} in training",
                f"FlashAttention {numbers[0]}'s backward pass for head width over {bound} needs an "
                f"A100 or H100, for its shared memory; this is {gpu.name}",
                better if not first or gpu.capability >= (8, 0) else _STANDARD,
                ("flash_attn",),
            )
