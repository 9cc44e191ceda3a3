"""Peak memory of a call: PyTorch's own allocations, and a fresh process's resident set."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

# VmHWM belongs to the program itself; ru_maxrss, where it is missing, starts at the parent's size.
_RESIDENT = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    try:
        with open("/proc/self/status") as status:
            peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    except OSError:
        import resource
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = peak // 1024 if sys.platform == "darwin" else peak
    print("peak_resident_kib", peak, file=sys.stderr)
"""


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


def resident_peak_bytes(script: str, arguments: Sequence[str] = ()) -> int:
    """Run a script in a fresh process and return the peak of its resident set.

    The high-water mark of a running process says nothing once freed pages are reused: hence fresh.
    Raises RuntimeError with the script's own output where it fails or reports no peak.
    """
    command = [sys.executable, "-c", _RESIDENT, script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in reversed(done.stderr.splitlines()):
        name, _, value = line.partition(" ")
        if name == "peak_resident_kib" and done.returncode == 0:
            return int(value) * 1024
    raise RuntimeError(f"{script} failed ({done.returncode}): {done.stderr[-2000:]}")
