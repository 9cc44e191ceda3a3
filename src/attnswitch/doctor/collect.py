"""Collect what this machine reports; nothing is judged here."""

from __future__ import annotations

import importlib
import platform
import shutil
import subprocess
import warnings
from typing import Any

from attnswitch.doctor.state import Gpu, MachineState, TorchState
from attnswitch.environment import REPORTED_PACKAGES, version_of

_MODULES = ("flash_attn", "xformers", "triton", "kernels", "transformers", "torch_npu")


def collect() -> MachineState:
    """This machine and environment."""
    packages = {name: v for name in (*REPORTED_PACKAGES, "torch-npu") if (v := version_of(name))}
    errors: dict[str, str] = {}
    said: dict[str, str] = {}
    torch = _import("torch", errors, said) if "torch" in packages else None
    for name in _MODULES:
        if name.replace("_", "-") in packages:
            _import(name, errors, said)
    driver, seen = _nvidia_smi()
    return MachineState(
        torch=_torch_state(torch) if torch else None,
        python=platform.python_version(),
        system=platform.system(),
        architecture=platform.machine(),
        glibc=" ".join(platform.libc_ver()).strip() or None,
        gpus=_gpus(torch) if torch else (),
        seen_gpus=seen,
        driver=driver,
        npu=_npu(torch),
        packages=packages,
        import_errors=errors,
        warnings=said,
    )


def _import(name: str, errors: dict[str, str], said: dict[str, str]) -> Any:
    """The module, or None; what it says on the way is kept."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            module = importlib.import_module(name)
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"
            module = None
    if caught:
        said[name] = " ".join(str(one.message) for one in caught)
    return module


def _torch_state(torch: Any) -> TorchState:
    error = ""
    if torch.version.cuda and not torch.cuda.is_available():
        try:
            torch.cuda.init()
        except Exception as problem:
            error = str(problem)
    abi = getattr(torch._C, "_GLIBCXX_USE_CXX11_ABI", None)
    return TorchState(
        version=torch.__version__,
        cuda=torch.version.cuda,
        hip=getattr(torch.version, "hip", None),
        archs=tuple(torch.cuda.get_arch_list()) if torch.cuda.is_available() else (),
        cxx11_abi=None if abi is None else bool(abi),
        cuda_error=error,
    )


def _gpus(torch: Any) -> tuple[Gpu, ...]:
    if not torch.cuda.is_available():
        return ()
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        capability = None if torch.version.hip else (properties.major, properties.minor)
        found.append(Gpu(properties.name, capability, properties.total_memory))
    return tuple(found)


def _npu(torch: Any) -> str | None:
    npu = getattr(torch, "npu", None)
    if npu is None or not npu.is_available():
        return None
    return str(npu.get_device_name(0))


def _nvidia_smi() -> tuple[str | None, tuple[str, ...]]:
    """The driver's version and the names of its GPUs, whatever torch can do with them."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None, ()
    query = [command, "--query-gpu=driver_version,name", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None, ()
    rows = [line.split(", ", 1) for line in done.stdout.splitlines() if ", " in line]
    return (rows[0][0] if rows else None), tuple(row[1] for row in rows)
