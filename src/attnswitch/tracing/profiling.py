"""The profiler that every look goes through, and what its raw events say across torch versions.

PyTorch has room for one profiler. So looks that begin while one lasts, on the same thread, share it
(two traces of a model; a trace in a process that keeps receipts). The profile ends with the last of
them, and each is given its events and the time in which it looked.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

# From and to, in nanoseconds of the profile's clock.
Span = tuple[int, int]
# Told a profile's raw events, and when the look lasted.
Read = Callable[[Any, Span], None]

_LOOK = "attnswitch.look:"
_lock = threading.Lock()
_numbers = itertools.count()


class _Profile:
    """One run of PyTorch's profiler, and who looks."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.open = 0
        self.ended: list[tuple[str, Read]] = []
        self._profiler = profiler()
        self._profiler.__enter__()

    def stop(self) -> None:
        """Stop, and let everybody read."""
        global _running
        try:
            self._profiler.__exit__(None, None, None)
        finally:
            _running = None
            _lock.release()
        if not self.ended:
            return
        events = raw_events(self._profiler)
        spans = {e.name(): span_of(e) for e in events if e.name().startswith(_LOOK)}
        for name, read in self.ended:
            read(events, spans[name])


class Look:
    """A part of a profile, from its making to `end`."""

    def __init__(self, profile: _Profile):
        import torch

        self._profile, self._name = profile, f"{_LOOK}{next(_numbers)}"
        self._range = torch.profiler.record_function(self._name)
        self._range.__enter__()
        profile.open += 1

    def end(self, read: Read | None) -> None:
        """Stop looking. `read` is told what was seen, as soon as nobody looks any more."""
        self._range.__exit__(None, None, None)
        if read is not None:
            self._profile.ended.append((self._name, read))
        self._profile.open -= 1
        if not self._profile.open:
            self._profile.stop()


_running: _Profile | None = None


def begin_look() -> Look | None:
    """Profile from here on; None where somebody else profiles, or one of us on another thread."""
    global _running
    running = _running
    if running is not None:
        return Look(running) if running.thread == threading.get_ident() else None
    if profiler_is_taken() or not _lock.acquire(blocking=False):
        return None
    try:
        _running = _Profile()
    except BaseException:
        _lock.release()
        raise
    return Look(_running)


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


__all__ = ["Look", "begin_look", "profiler", "raw_events", "span_of"]
