"""Threads that each run whole tasks on one core, instead of sharing every small product.

A block's scores then stay in one core's cache from the first product to the last, and nobody waits
at a barrier after each operation: with 2 threads on 2 busy cores that barrier alone cost 8 ms a
time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_lock = threading.Lock()
_pools: dict[int, ThreadPoolExecutor] = {}


def run_everywhere(work: Callable[[int], None], workers: int) -> None:
    """Call ``work(0)`` … ``work(workers − 1)``, at the same time; raise the first exception.

    The calls run in inference mode: they write into tensors that the caller has made, and record
    no gradient. With one worker the call runs here, with PyTorch's own parallelism.
    """
    if workers == 1:
        with torch.inference_mode():
            work(0)
        return

    def task(index: int) -> None:
        with torch.inference_mode():
            work(index)

    futures = [_workers(workers).submit(task, index) for index in range(workers)]
    errors = [error for error in (future.exception() for future in futures) if error]
    if errors:
        raise errors[0]


def _workers(count: int) -> ThreadPoolExecutor:
    """Return a pool of ``count`` threads, started once and kept."""
    with _lock:
        if count not in _pools:
            _pools[count] = _start(count)
        return _pools[count]


def _start(count: int) -> ThreadPoolExecutor:
    ready = threading.Barrier(count + 1)
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, thread_name_prefix="attnswitch", initializer=_be_single)
    for _ in range(count):
        pool.submit(ready.wait)
    ready.wait()
    torch.set_num_threads(threads)  # also the default for threads that start later
    return pool


def _be_single() -> None:
    # The first query initialises this thread; set_num_threads before it would be overwritten.
    torch.get_num_threads()
    torch.set_num_threads(1)


def _forget_in_child() -> None:
    """A forked child has none of its parent's threads."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
