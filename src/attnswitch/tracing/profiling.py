"""The profiler that every look goes through, and what its raw events say across torch versions."""

from __future__ import annotations

from typing import Any


def profiler() -> Any:
    """A profiler of operators with their shapes, and of a GPU's kernels where there is one."""
    import torch

    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    return torch.profiler.profile(activities=activities, record_shapes=True)


def profiler_is_taken() -> bool:
    """Whether somebody profiles already: PyTorch has room for one profiler."""
    import torch

    return torch.autograd._profiler_enabled()


def raw_events(profiler: Any) -> Any:
    """What a profiler that has ended collected."""
    return profiler.profiler.kineto_results.events()


def span_of(raw: Any) -> tuple[int, int]:
    """Begin and end of a raw event in nanoseconds (torch < 2.4 counts microseconds)."""
    if hasattr(raw, "start_ns"):
        start = raw.start_ns()
        return start, start + raw.duration_ns()
    start = raw.start_us() * 1000
    return start, start + raw.duration_us() * 1000


__all__ = ["profiler", "profiler_is_taken", "raw_events", "span_of"]
