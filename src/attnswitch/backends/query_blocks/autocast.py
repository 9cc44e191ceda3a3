"""What autocast asks for, in every supported PyTorch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

# From 2.4 on autocast is asked by device; before, CPU and CUDA had functions of their own.
_BY_DEVICE = hasattr(torch, "get_autocast_dtype")


def autocast_dtype(device: str) -> torch.dtype | None:
    """Return the dtype that autocast uses on a device type, None where it is off or unknown."""
    if device == "meta":
        return None
    if _BY_DEVICE:
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    if device == "cpu":
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Keep autocast out of a kernel: it would round the kernel's products to half precision."""
    if autocast_dtype(device) is None:
        return nullcontext()
    return torch.autocast(device, enabled=False)
