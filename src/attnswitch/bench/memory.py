"""Peak memory of a call, by PyTorch's own allocations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def peak_bytes(call: Callable[[], object], device: str = "cpu") -> int:
    """Return the most bytes that ``call`` had allocated at once beyond what was there before it.

    On CUDA this is the allocator's own peak; on a CPU the peak of the allocator's events, as the
    profiler records them. Memory that the call's own threads allocate is not in the events:
    `blockwise` therefore allocates everything large in the caller's thread.
    """
    return _peak_cuda(call) if device.startswith("cuda") else _peak_of_events(call)


def _peak_cuda(call: Callable[[], object]) -> int:
    import torch

    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = call()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() - before
    del result
    return peak


def _peak_of_events(call: Callable[[], object]) -> int:
    import torch

    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        result = call()
    sizes = [event for event in _events(profile) if event.name() == "[memory]"]
    del result
    peak = current = 0
    for event in sorted(sizes, key=lambda event: event.start_ns()):
        current += event.nbytes()
        peak = max(peak, current)
    return peak


def _events(profile: Any) -> Sequence[Any]:
    return profile.profiler.kineto_results.events()
