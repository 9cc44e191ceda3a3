"""What this machine and process have: packages, versions, devices, and what is broken."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

from attnswitch.errors import UnavailableError

MINIMUM_TORCH = (2, 1)
REPORTED_PACKAGES = (
    "torch", "transformers", "tokenizers", "accelerate", "flash-attn", "xformers", "triton",
    "kernels", "timm", "torchvision", "numpy",
)  # fmt: skip
# CPU flags that decide how fast half-precision arithmetic is, as /proc/cpuinfo names them.
TELLING_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16")


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, or None; imports nothing."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


_NEEDED = ("flash_attn",)  # by backends


@cache
def missing_packages() -> frozenset[str]:
    """Packages that backends need and that do not import here, as "name: cause"."""
    return frozenset(f"{name}: {cause}" for name in _NEEDED if (cause := _import_failure(name)))


@cache
def absent_packages() -> frozenset[str]:
    """Packages that backends need and that are not installed; nothing is imported to find out."""
    return frozenset(f"{name}: {cause}" for name in _NEEDED if (cause := _absence(name)))


def _absence(name: str) -> str | None:
    spec = importlib.util.find_spec(name)
    return f"the package {name} is not installed" if spec is None else None


def _import_failure(name: str) -> str | None:
    """None where `name` imports, else why not. A broken package is imported only once."""
    absence = _absence(name)
    if absence is not None:
        return absence
    try:
        importlib.import_module(name)
    except Exception as error:
        return f"the package {name} is installed but does not import: {error}"
    return None


def require_torch() -> Any:
    """Import torch and check that it is new enough to be switched.

    Raises:
        UnavailableError: torch is missing or older than 2.1.
    """
    try:
        import torch
    except ImportError as error:
        raise UnavailableError(
            "PyTorch does not import",
            reasons=[str(error)],
            remedy='Install it, for example with: pip install "attnswitch[models]"',
        ) from error
    check_torch_version(torch.__version__)
    return torch


def check_torch_version(version: str) -> None:
    """Raise UnavailableError where `version` is older than the switch can work with."""
    if _numbers(version) < MINIMUM_TORCH:
        raise UnavailableError(
            f"PyTorch {version} is too old for attnswitch",
            reasons=["the operator and its FlashAttention kernels are switchable from 2.1 on"],
            remedy="Upgrade torch to 2.1 or newer",
        )


def _numbers(version: str) -> tuple[int, int]:
    """The first two numbers of a version; what cannot be read counts as new."""
    parts = version.split("+")[0].split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (IndexError, ValueError):
        return (9999, 0)


def describe() -> dict[str, Any]:
    """This machine and process as plain data, for records and reports."""
    packages = {name: version_of(name) for name in REPORTED_PACKAGES}
    return {
        "attnswitch": version_of("attnswitch"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor_name(),
        "cpu_flags": cpu_flags(),
        "cores": os.cpu_count(),
        "packages": {name: version for name, version in packages.items() if version},
        "devices": _devices(),
        "threads": _torch_threads(),
    }


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(errors="replace") if path.exists() else ""


def processor_name() -> str:
    """The processor's name as the system gives it."""
    for line in _cpuinfo().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cpu_flags() -> list[str]:
    """Those of `TELLING_CPU_FLAGS` that this processor has; empty where they cannot be read."""
    for line in _cpuinfo().splitlines():
        if line.startswith("flags"):
            present = set(line.split())
            return [flag for flag in TELLING_CPU_FLAGS if flag in present]
    return []


def _devices() -> list[dict[str, Any]]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(
            {
                "name": properties.name,
                "capability": f"{properties.major}.{properties.minor}",
                "memory_bytes": properties.total_memory,
            }
        )
    return found


def _torch_threads() -> int | None:
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch else None
