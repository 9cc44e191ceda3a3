"""Made-up events of a profiler on a GPU: what kineto would give, without the GPU."""

from __future__ import annotations

import itertools
from enum import Enum

_numbers = itertools.count(1)


class Device(Enum):
    CPU = 0
    CUDA = 1


class Raw:
    """One raw event; times in nanoseconds."""

    def __init__(self, name, start, end, device=Device.CPU, thread=1, number=None, linked=0,
                 shapes=(), sequence=-1, forward_thread=0):  # fmt: skip
        self._name, self._start, self._end = name, start, end
        self._device, self._thread, self._linked = device, thread, linked
        self._number = next(_numbers) if number is None else number
        self._shapes, self._sequence, self._forward_thread = shapes, sequence, forward_thread

    def name(self):
        return self._name

    def start_ns(self):
        return self._start

    def duration_ns(self):
        return self._end - self._start

    def device_type(self):
        return self._device

    def start_thread_id(self):
        return self._thread

    def fwd_thread_id(self):
        return self._forward_thread

    def sequence_nr(self):
        return self._sequence

    def correlation_id(self):
        return self._number

    def linked_correlation_id(self):
        return self._linked

    def shapes(self):
        return self._shapes

    def dtypes(self):
        return ["c10::BFloat16"] * len(self._shapes)

    def concrete_inputs(self):
        return []


def kernel(name, launched_at, by=None, *, late=10_000, thread=0):
    """A kernel and its launch at a time on the CPU, by an operator's event or outside of all.

    The device runs it `late`: no time of its own says what launched it.
    """
    number, linked = next(_numbers), by.correlation_id() if by else 0
    launch = Raw("cudaLaunchKernel", launched_at, launched_at + 1, number=number, linked=linked,
                 thread=thread)  # fmt: skip
    ran = Raw(name, launched_at + late, launched_at + late + 5, Device.CUDA, thread=0,
              number=number, linked=linked)  # fmt: skip
    return [launch, ran]
