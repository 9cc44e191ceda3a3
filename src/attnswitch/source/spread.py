"""Spreads work over processes that share what is read already."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Fewer items than this do not repay a process: it begins with copies of the pages it touches.
LEAST = 4
#: What the processes of `spread` inherit: the work, and the items.
_inherited: list[Any] = []


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def spread(work: Callable[[Item], Result], items: Sequence[Item], processes: int) -> list[Result]:
    """`[work(item) for item in items]`, in up to that many processes.

    The processes are forks, so that nothing is copied but the results. Where there are none to be
    had, as outside Linux or in a container without semaphores, the work is done in this one.
    """
    processes = min(processes, len(items) // LEAST)
    if processes < 2 or sys.platform != "linux":
        return [work(item) for item in items]
    try:
        from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
        from multiprocessing import get_context

        pool = ProcessPoolExecutor(processes, get_context("fork"), _inherit, (work, items))
    except (ImportError, OSError):
        return [work(item) for item in items]
    try:
        with pool:
            return list(pool.map(_done, range(len(items))))
    except (BrokenProcessPool, OSError):  # one was killed, or could not be started
        return [work(item) for item in items]


def _inherit(work: Callable[[Item], Result], items: Sequence[Item]) -> None:
    _inherited[:] = [work, items]


def _done(index: int) -> Any:
    work, items = _inherited
    return work(items[index])
