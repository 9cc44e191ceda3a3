"""What a machine reports of itself, as plain data: torch, package metadata, the loader, the driver.

Collected in one place (`collect`), so that everything else can be tried on made-up machines.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Gpu:
    """One accelerator; `capability` is CUDA's, such as (8, 0)."""

    name: str
    capability: tuple[int, int] | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class TorchState:
    """What torch says. `cuda` and `hip` are what it was built for; `archs` the GPUs it has code
    for, as "sm_80"; `cxx11_abi` which C++ library interface it uses; `cuda_error` why CUDA does not
    start, in the driver's or torch's words."""

    version: str
    cuda: str | None = None
    hip: str | None = None
    archs: tuple[str, ...] = ()
    cxx11_abi: bool | None = None
    cuda_error: str = ""


@dataclass(frozen=True)
class MachineState:
    """A machine and an environment.

    `torch` is None where it does not import (then `import_errors["torch"]` says why). `packages`
    are installed distributions; `import_errors` what the loader said of a module that is installed
    and does not import; `warnings` what a module says when it is imported. `seen_gpus` are names
    that the system knows (nvidia-smi, lspci), whether or not torch can use them.
    """

    torch: TorchState | None
    python: str = "3.10"
    system: str = "Linux"
    architecture: str = "x86_64"
    glibc: str | None = None
    gpus: tuple[Gpu, ...] = ()
    seen_gpus: tuple[str, ...] = ()
    driver: str | None = None
    npu: str | None = None
    packages: dict[str, str] = field(default_factory=dict)
    import_errors: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)

    def version(self, package: str) -> str | None:
        """The installed version of a distribution; "_" and "-" are the same."""
        return self.packages.get(package) or self.packages.get(package.replace("_", "-"))


@dataclass(frozen=True)
class Wanted:
    """What attention is to be used for: dtype, head width, training or not; None is anything."""

    dtype: str | None = None
    head_dim: int | None = None
    training: bool = False


@dataclass(frozen=True)
class Finding:
    """One thing that is broken or cannot be: what, why, what to do, and which backends it stops."""

    subject: str
    cause: str
    remedy: str
    stops: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.subject}: {self.cause}"
