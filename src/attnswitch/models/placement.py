"""Where and in what precision a model runs: the words for dtypes and devices."""

from __future__ import annotations

import re
from typing import Any

from attnswitch.errors import ModelInputError, UnavailableError, did_you_mean

# Long names are PyTorch's own; short ones are what people type.
DTYPES = {
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
    "half": "float16",
    "float32": "float32",
    "fp32": "float32",
    "float": "float32",
    "float64": "float64",
    "fp64": "float64",
    "double": "float64",
}
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu)(?::(\d+))?$")


def dtype_name(word: str) -> str:
    """PyTorch's name of a dtype given long or short ("bf16" is "bfloat16"); imports no torch.

    Raises:
        ModelInputError: no such dtype; says which there are.
    """
    name = DTYPES.get(word.strip().lower().removeprefix("torch."))
    if name is None:
        hint = did_you_mean(word, DTYPES)
        known = "bfloat16 (bf16), float16 (fp16), float32 (fp32), float64 (fp64)"
        raise ModelInputError(f"unknown dtype {word!r}{hint}; write one of {known}")
    return name


def torch_dtype(word: str | None) -> Any:
    """The torch dtype that `word` names; "auto" (the checkpoint's own) for None."""
    import torch

    return "auto" if word is None else getattr(torch, dtype_name(word))


def torch_device(word: str | None) -> Any:
    """The torch device that `word` names ("cpu", "cuda", "cuda:1" ...); the CPU for None.

    Raises:
        ModelInputError: no such kind of device.
        UnavailableError: this machine or this PyTorch has none of that kind or number.
    """
    import torch

    text = (word or "cpu").strip().lower()
    match = _DEVICE.match(text)
    if match is None:
        hint = did_you_mean(text, ("cpu", "cuda", "mps", "xpu"))
        raise ModelInputError(f"unknown device {word!r}{hint}; write cpu, cuda, or cuda:<number>")
    kind, number = match.group(1), int(match.group(2) or 0)
    reason = _why_not(torch, kind, number)
    if reason:
        raise UnavailableError(
            f"the device {text!r} cannot be used", reasons=[reason], remedy="'cpu' works everywhere"
        )
    return torch.device(text)


def _why_not(torch: Any, kind: str, number: int) -> str | None:
    """Why a device cannot be used here, or None."""
    if kind == "cpu":
        return None if number == 0 else "there is one CPU device, cpu"
    if kind == "cuda" and not torch.backends.cuda.is_built():
        return f"this PyTorch ({torch.__version__}) is built without CUDA"
    module = getattr(torch, kind, None)
    if module is None or not module.is_available():
        return f"PyTorch finds no {kind} device here"
    count = module.device_count()
    return None if number < count else f"there are {count} of them, numbered from 0"
