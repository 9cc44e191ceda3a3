"""Spreads work over processes that share what is read already."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Fewer items than this do not repay a process: it begins with copies of the pages it touches.
LEAST = 4
#: The bytes of a number in the queue.
_WIDTH = 4


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def spread(work: Callable[[Item], Result], items: Sequence[Item], processes: int) -> list[Result]:
    """`[work(item) for item in items]`, in up to that many processes.

    The processes are forks, so that nothing is copied but the results. What they do not hand back
    (one was killed, none could be started, this is not Linux) is done in this process. They end
    with this one. What the work raises is raised here.
    """
    done: dict[int, Result] = {}
    count = min(processes, len(items) // LEAST)
    if count > 1 and sys.platform == "linux":
        done = _in_processes(work, items, count)
    return [done[i] if i in done else work(item) for i, item in enumerate(items)]


def _in_processes(
    work: Callable[[Item], Result], items: Sequence[Item], count: int
) -> dict[int, Result]:
    import multiprocessing
    from multiprocessing.connection import wait

    if multiprocessing.current_process().daemon:
        return {}  # such a process may have no children
    context = multiprocessing.get_context("fork")
    queue, fill = os.pipe()
    os.set_blocking(fill, False)  # what the pipe does not hold is left to this process
    os.write(fill, b"".join(i.to_bytes(_WIDTH, "little") for i in range(len(items))))
    os.close(fill)
    started = []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe(duplex=False)
            worker = context.Process(
                target=_work, args=(work, items, queue, theirs, os.getpid()), daemon=True
            )
            worker.start()
            theirs.close()
            started.append((worker, ours))
    except OSError:
        pass  # no more processes to be had: those that there are do the work
    os.close(queue)
    done: dict[int, Result] = {}
    waiting = [ours for _, ours in started]
    try:
        while waiting:  # whichever is first: what one raises need not wait for the others
            ready = wait(waiting)
            for ours in [w for w in waiting if w in ready]:
                waiting.remove(ours)
                done.update(_received(ours))
    finally:
        for worker, _ in started:
            worker.kill()  # not SIGTERM: it may have begun with a handler of this process
            worker.join()
    return done


def _received(ours: Connection) -> dict[int, Any]:
    """What a process hands back; nothing if it was killed before."""
    try:
        results, error = ours.recv()
    except (EOFError, OSError):
        return {}
    if error is not None:
        raise error
    return results


def _work(
    work: Callable[[Any], Any], items: Sequence[Any], queue: int, theirs: Connection, parent: int
) -> None:
    """Take numbers from the queue until there are none, or nobody waits for the results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    results: dict[int, Any] = {}
    error: BaseException | None = None
    while error is None and os.getppid() == parent:
        number = os.read(queue, _WIDTH)
        if not number:
            break
        index = int.from_bytes(number, "little")
        try:
            results[index] = work(items[index])
        except BaseException as raised:  # handed on to the parent, whatever it is
            error = raised
    if os.getppid() == parent:
        theirs.send((results, error))
