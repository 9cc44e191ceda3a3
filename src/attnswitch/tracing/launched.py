"""Kernels of a GPU among a profiler's raw events, each at the place on the CPU that launched it.

A kernel is linked to the operator that launched it where one did, and shares its number with the
launch itself (`cudaLaunchKernel`), which also code outside every operator leaves: a package that
calls its kernel through a binding of its own, as FlashAttention 4 does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from attnswitch.operators import Ran
from attnswitch.tracing.kernels import what_kernel
from attnswitch.tracing.profiling import span_of


@dataclass(frozen=True)
class Launched:
    """An attention kernel that ran on a device.

    `thread` and `at` (nanoseconds) say where on the CPU it was launched, both None where that is
    unknown; `operator` is the raw event of the operator that launched it, or None outside all.
    """

    name: str
    ran: Ran
    thread: int | None
    at: int | None
    operator: Any


def is_on_device(raw: Any) -> bool:
    """Whether a raw event happened on a device: a kernel, a copy, or a range drawn there."""
    return getattr(raw.device_type(), "name", "CPU") != "CPU"


def kernels_among(raw: Iterable[Any]) -> list[Launched]:
    """The attention kernels among raw events, in order of launch."""
    events = list(raw)
    kernels = [(e, ran) for e in events if is_on_device(e) and (ran := what_kernel(e.name()))]
    if not kernels:
        return []
    operators: dict[int, Any] = {}
    launches: dict[int, Any] = {}
    for event in events:
        if not is_on_device(event):
            linked = event.linked_correlation_id() > 0
            (launches if linked or _is_launch(event) else operators)[event.correlation_id()] = event
    found = [
        _placed(event, ran, operators.get(event.linked_correlation_id()),
                launches.get(event.correlation_id()))
        for event, ran in kernels
    ]  # fmt: skip
    return sorted(found, key=lambda one: one.at or 0)


def _placed(event: Any, ran: Ran, operator: Any, launch: Any) -> Launched:
    told_by = launch or operator
    at = span_of(told_by)[0] if told_by is not None else None
    thread = operator.start_thread_id() if operator is not None else None
    return Launched(event.name(), ran, thread, at, operator)


def _is_launch(event: Any) -> bool:
    return event.name().startswith(("cudaLaunch", "cuLaunch", "hipLaunch", "hipExtLaunch",
                                    "hipExtModuleLaunch", "hipModuleLaunch"))  # fmt: skip


__all__ = ["Launched", "is_on_device", "kernels_among"]
