"""Peak memory and work of one attention call, alone, under one backend."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from attnswitch.estimating.kernel_memory import inside_kernels
from attnswitch.estimating.ledger import CUDA_BLOCK, Ledger
from attnswitch.estimating.routing import attend_on_meta
from attnswitch.estimating.work import Work
from attnswitch.geometries.geometry import Geometry
from attnswitch.geometries.workloads import AttentionWorkload


@dataclass(frozen=True)
class CallMemory:
    """One call, its query, key and value not counted.

    `kept_bytes` is alive after the forward: the output, and what backward needs. `parts` are what
    was alive at the peak, by operator.
    """

    backend: str
    peak_bytes: int
    kept_bytes: int
    parts: dict[str, int]
    forward: Work
    backward: Work | None


def call_memory(
    geometry: Geometry, workload: AttentionWorkload, backend: str, dtype: str, device: str = "cpu"
) -> CallMemory:
    """Run one call of the workload on the meta device, with its gradients where it has them."""
    tensors = workload.tensors(getattr(torch, dtype), "meta")
    attend = attend_as(geometry, workload, backend, device)
    mask = mask_of(workload, backend, tensors[0])
    known = [*tensors, *([] if mask is None else [mask])]
    works = [Work(device), Work(device)]
    step = 0
    ledger = Ledger(
        inside=inside_kernels(device), block=1 if device == "cpu" else CUDA_BLOCK, known=known,
        watch=lambda *seen: works[step].note(*seen),
    )  # fmt: skip
    with ledger, torch.set_grad_enabled(workload.backward):
        out = attend(*tensors, mask)
        kept = ledger.alive()
        if workload.backward:
            step = 1
            upstream = torch.empty_like(out)
            ledger.forget(upstream)
            out.backward(upstream)
    peak = ledger.peak()
    parts: Counter[str] = Counter()
    for allocation in peak.alive:
        parts[_shown(allocation.operator, allocation.shape, allocation.dtype)] += allocation.bytes
    return CallMemory(
        backend, peak.bytes, kept, dict(parts.most_common()), works[0],
        works[1] if workload.backward else None,
    )  # fmt: skip


def _shown(operator: str, shape: tuple[int, ...], dtype: str) -> str:
    plain = operator.removeprefix("aten.")
    return f"{plain} [{', '.join(map(str, shape))}] {dtype}" if dtype else plain


def attend_as(
    geometry: Geometry, workload: AttentionWorkload, backend: str, device: str
) -> Callable[..., torch.Tensor]:
    """A function of query, key, value and a mask (or None) on the meta device."""
    if backend == "eager":
        return eager_function(geometry, workload)
    attend = attend_on_meta(backend, device)

    def call(query: Any, key: Any, value: Any, mask: Any) -> torch.Tensor:
        return attend(
            query, key, value, mask, 0.0, workload.is_causal,
            enable_gqa=workload.heads != workload.kv_heads,
        )  # fmt: skip

    return call


def mask_of(workload: AttentionWorkload, backend: str, like: torch.Tensor) -> Any:
    """The additive mask [1, 1, T, S] that eager code is given for a triangle; others need none."""
    if backend != "eager" or not workload.is_causal:
        return None
    shape = (workload.q_tokens, workload.kv_tokens)
    low = torch.finfo(like.dtype).min
    return torch.full(shape, low, dtype=like.dtype, device=like.device).triu(1)[None, None]


def eager_function(geometry: Geometry, workload: AttentionWorkload) -> Callable[..., torch.Tensor]:
    """The model's own eager code, from its source in transformers; on any device."""
    tower = workload.role == "vision_tower"
    family = geometry.vision.family if tower else geometry.language.family
    function = _eager_of(family)
    module = SimpleNamespace(
        num_key_value_groups=workload.heads // workload.kv_heads, training=False,
        is_causal=workload.is_causal,
    )  # fmt: skip
    scaling = 1.0 / math.sqrt(workload.head_dim)

    def call(query: Any, key: Any, value: Any, mask: Any) -> torch.Tensor:
        return function(module, query, key, value, mask, scaling=scaling)[0].transpose(1, 2)

    return call


def _eager_of(family: str) -> Callable[..., Any]:
    from transformers.models.auto.configuration_auto import model_type_to_module_name

    name = model_type_to_module_name(family)
    return importlib.import_module(f"transformers.models.{name}.modeling_{name}").__dict__[
        "eager_attention_forward"
    ]
