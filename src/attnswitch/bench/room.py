"""Is there room for it? Told before anything is allocated: without room a system kills."""

from __future__ import annotations

from pathlib import Path

from attnswitch.bench.workload import Workload
from attnswitch.errors import UnavailableError
from attnswitch.geometries.find import geometry as find_geometry
from attnswitch.geometries.geometry import Geometry
from attnswitch.geometries.samples import sample
from attnswitch.geometries.workloads import AttentionWorkload, attention_workloads
from attnswitch.policy.requests import Request
from attnswitch.report.quantities import bytes_text

# Backends that keep every score at once: at the least the scores and their softmax, two copies.
_KEEP_SCORES = ("eager", "math", "reference")
_COPIES = 2
_ITEM_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
_MEMORY = Path("/proc/meminfo")


def free_bytes(device: str) -> int | None:
    """What can be allocated without taking it from others; None where it cannot be told."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    if device != "cpu" or not _MEMORY.exists():
        return None
    for line in _MEMORY.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def require_room(shape: Geometry, workload: Workload, *, weights_are_there: bool = False) -> None:
    """Return where the weights fit, unless they are there; in training their gradients too.

    Raises:
        UnavailableError: they do not.
    """
    kept = {"weights": not weights_are_there, "gradients": workload.phase == "training_step"}
    names = " and ".join(name for name, is_new in kept.items() if is_new)
    free = free_bytes(workload.device)
    if free is None or not names:
        return
    from attnswitch.geometries.building import build_model

    model = build_model(shape, device="meta", dtype=workload.dtype)
    needed = sum(kept.values()) * sum(p.numel() * p.element_size() for p in model.parameters())
    if needed > free:
        raise UnavailableError(
            f"{workload.subject} does not fit into memory on {workload.device}",
            reasons=[f"its {names} need {bytes_text(needed)}, {bytes_text(free)} are free"],
            remedy="Its attention does: --attention-only",
        )


def no_room(workload: Workload, request: Request) -> str:
    """Why a request cannot be tried at a workload for want of memory; empty where it can.

    A lower bound, for backends that keep every score: what is left out could not have run.
    """
    free = free_bytes(workload.device)
    if request.word not in _KEEP_SCORES or free is None or workload.is_question:
        return ""
    shape = find_geometry(workload.subject)
    size = sample(shape, **workload.size)
    calls = attention_workloads(shape, size, phase=workload.phase, batch=workload.batch)
    needed = max(_scores_bytes(one, workload, request.word) for one in calls)
    if needed <= free:
        return ""
    return f"its scores need at least {bytes_text(needed)}, {bytes_text(free)} are free"


def _scores_bytes(calls: AttentionWorkload, workload: Workload, backend: str) -> int:
    scores = calls.batch * calls.heads * calls.q_tokens * calls.kv_tokens
    item = 8 if backend == "reference" else _ITEM_BYTES[workload.dtype]
    layers = calls.calls if calls.backward and workload.part == "whole" else 1
    return scores * item * (_COPIES + layers - 1)
