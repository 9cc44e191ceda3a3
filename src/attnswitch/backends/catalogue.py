"""The backends as data: name, family, what each is, and what it needs. No torch here.

Requirements are facts about an attention call that are known before it runs; what only the call
itself can tell (a mask's form, a stride) is checked where the backend is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnswitch.types import Available, Circumstances, Decision, Family, Refused

HALF = ("bfloat16", "float16")
FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class BackendSpec:
    """One backend: what it is and what it needs.

    `min_capability` is the lowest CUDA compute capability, `bf16_capability` that for bfloat16;
    `max_head_dim` bounds the width of query and key. `needs_package` is an importable module.
    """

    name: str
    family: Family
    description: str
    devices: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] = FLOATS
    min_capability: tuple[int, int] | None = None
    bf16_capability: tuple[int, int] | None = None
    max_head_dim: dict[str, int] | None = None
    masks: bool = True
    masks_on_cuda: bool = True
    dropout: bool = True
    needs_package: str | None = None
    needs_eager_code: bool = False
    requestable: bool = True
    instead: str = "attn: standard works everywhere"


CATALOGUE: dict[str, BackendSpec] = {
    spec.name: spec
    for spec in (
        BackendSpec(
            "blockwise",
            "standard",
            "attnswitch's own: blocks of query rows, whole-row softmax, fp32 scores",
        ),
        BackendSpec("math", "standard", "PyTorch's SDPA math kernel"),
        BackendSpec(
            "eager",
            "standard",
            "the model's own matmul, softmax, matmul",
            needs_eager_code=True,
            instead="use blockwise or math, which need no code in the model",
        ),
        BackendSpec("reference", "standard", "attention in float64, for judging, slow"),
        BackendSpec(
            "yardstick",
            "standard",
            "standard attention with fp32 scores, written plainly: what others are judged by",
            requestable=False,
        ),
        BackendSpec(
            "efficient",
            "fused",
            "PyTorch's memory-efficient SDPA kernel",
            devices=("cuda",),
            dtypes=("float16", "bfloat16", "float32"),
            bf16_capability=(8, 0),
        ),
        BackendSpec(
            "flash",
            "flash",
            "PyTorch's SDPA FlashAttention kernel",
            devices=("cpu", "cuda"),
            min_capability=(8, 0),
            max_head_dim={"cuda": 256},
            masks_on_cuda=False,
        ),
        BackendSpec(
            "flash_attn",
            "flash",
            "the flash-attn package, versions 2 to 4",
            devices=("cuda",),
            dtypes=HALF,
            min_capability=(8, 0),
            max_head_dim={"cuda": 256},
            needs_package="flash_attn",
        ),
    )
}

FAMILIES: dict[Family, tuple[str, ...]] = {
    "standard": ("blockwise", "math", "eager", "reference"),
    "flash": ("flash", "flash_attn"),
    "fused": ("efficient",),
}

# Where the seams stand. On other devices (MPS, XPU, Ascend) a request would be followed by nobody.
ROUTED_DEVICES = ("cpu", "cuda", "meta")

# Fastest first: what `no-flash` tries, and what a receipt lists as refused when it was passed over.
FASTEST_FIRST = ("flash_attn", "flash", "efficient", "blockwise", "math", "eager", "reference")


def requestable() -> list[str]:
    """Names of the backends that a user can ask for."""
    return [name for name, spec in CATALOGUE.items() if spec.requestable]


def family_of(backend: str | None) -> Family | None:
    """The family of a backend's name; None for names that are no backend."""
    spec = CATALOGUE.get(backend or "")
    return spec.family if spec else None


def decide(name: str, call: Circumstances, missing_packages: frozenset[str]) -> Decision:
    """Say whether backend `name` can serve `call`, with every reason against it.

    `missing_packages` names the packages that do not import here, and may hold the cause after
    a colon ("flash_attn: undefined symbol ...").
    """
    spec = CATALOGUE[name]
    reasons = [
        *_device_reasons(spec, call),
        *_dtype_reasons(spec, call),
        *_call_reasons(spec, call),
        *_package_reasons(spec, missing_packages),
    ]
    return Refused(name, tuple(reasons), spec.instead) if reasons else Available(name)


def _device_reasons(spec: BackendSpec, call: Circumstances) -> list[str]:
    if call.device not in ROUTED_DEVICES:
        return [f"attnswitch does not route {call.device} devices"]
    if spec.devices is not None and call.device not in spec.devices:
        return [f"runs on {' and '.join(spec.devices)}, not on {call.device}"]
    return _capability_reasons(spec.min_capability, call, "needs")


def _capability_reasons(need: tuple[int, int] | None, call: Circumstances, verb: str) -> list[str]:
    have = call.capability
    if call.device == "cuda" and need and have and have < need:
        shown = [".".join(map(str, numbers)) for numbers in (need, have)]
        return [f"{verb} compute capability {shown[0]} or newer, this GPU has {shown[1]}"]
    return []


def _dtype_reasons(spec: BackendSpec, call: Circumstances) -> list[str]:
    allowed = spec.dtypes
    if spec.name == "flash" and call.device == "cuda":
        allowed = HALF
    if call.dtype is not None and call.dtype not in allowed:
        return [f"takes {', '.join(allowed)}, not {call.dtype}"]
    if call.dtype == "bfloat16":
        return _capability_reasons(spec.bf16_capability, call, "for bfloat16 needs")
    return []


def _call_reasons(spec: BackendSpec, call: Circumstances) -> list[str]:
    reasons = []
    limit = (spec.max_head_dim or {}).get(call.device)
    if limit and call.head_dim and call.head_dim > limit:
        reasons.append(f"head width at most {limit}, not {call.head_dim}")
    if call.masked and call.device == "cuda" and not spec.masks_on_cuda:
        reasons.append("takes no attention mask on CUDA")
    if spec.name == "flash" and call.device == "cpu" and call.dropout:
        reasons.append("has no dropout on a CPU")
    if spec.needs_eager_code and not call.has_eager:
        reasons.append("the model has no attention code of its own to run")
    if not spec.needs_eager_code and not call.has_sdpa:
        reasons.append("the model computes attention in its own code and takes no other")
    return reasons


def _package_reasons(spec: BackendSpec, missing_packages: frozenset[str]) -> list[str]:
    if spec.needs_package is None:
        return []
    for entry in missing_packages:
        package, _, cause = entry.partition(":")
        if package == spec.needs_package:
            return [cause.strip() or f"the package {package} is not installed"]
    return []
