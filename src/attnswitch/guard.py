"""The guard: FlashAttention's own operators made to raise, which proves absence.

While it is up, a call of any FlashAttention operator in the table (`operators`) raises
`ForbiddenError`, from eager code, inference mode, compiled code, vmap, or direct calls alike:
`barrier` stands in the dispatcher in front of every kernel that they have or will have. When the
last holder lets go, nothing of it remains.

`raise_up` bars the whole process, other threads too; `bar_thread` the calling thread only (for one
model among others). `tripped` keeps what was stopped, so that a program that swallows the exception
still leaves a mark.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from attnswitch import barrier
from attnswitch.errors import ForbiddenError
from attnswitch.whereabouts import current_path, user_line


@dataclass(frozen=True)
class Trip:
    """One stopped call: the operator, who forbade it, and the line of user code that made it."""

    operator: str
    forbidden_by: str
    where: str
    site: str | None = None
    happened: str = "FlashAttention was about to run"

    def __str__(self) -> str:
        at = f" at {self.site}" if self.site else ""
        return (
            f"{self.happened}{at}: {self.operator}, forbidden by {self.forbidden_by}, "
            f"called from {self.where}"
        )


tripped: list[Trip] = []
# Called with each new Trip; a process that was armed tells the `attnswitch run` above it.
on_trip: list[Callable[[Trip], None]] = []
# How often each operator ran while something stood here and did not bar it.
passed: Counter[str] = Counter()
on_pass: list[Callable[[str, tuple[Any, ...]], None]] = []


class _PerThread(threading.local):
    """Who bars FlashAttention on this thread only, and whether its calls are left uncounted."""

    def __init__(self) -> None:
        self.holders: list[str | None] = []  # the newest holds; None: lifted
        self.uncounted = 0
        self.permits = 0
        self.inside = False  # an operator that is counted already


_lock = threading.RLock()
_process: list[str] = []
_thread = _PerThread()
_users = 0


# Names the site that is running, for messages; a trace, which knows better, sets it.
describe_site: Callable[[], str | None] = current_path


def is_up() -> bool:
    """Whether a call made now on this thread would be stopped."""
    return bool(_holders()) and barrier.stands()


def _holders() -> list[str]:
    """Who bars FlashAttention for a call made now on this thread."""
    newest = _thread.holders[-1] if _thread.holders else None
    return [newest] if newest is not None else ([] if _thread.permits else _process)


def is_up_everywhere() -> bool:
    """Whether a call made now on any thread of this process would be stopped."""
    return bool(_process) and not _thread.permits and barrier.stands()


def raise_up(holder: str) -> None:
    """Bar FlashAttention's operators in this process; `holder` says who asked, for the message."""
    with _lock:
        prepare()
        _process.append(holder)


def let_down(holder: str) -> None:
    """Undo one `raise_up` of the same holder."""
    with _lock:
        _process.remove(holder)
        retire()


def bar_thread(holder: str) -> None:
    """Bar FlashAttention's operators on this thread until `unbar_thread`."""
    if not can_pass_through():
        raise_up(holder)
    _thread.holders.append(holder)


def lift_thread() -> None:
    """Let what bars this thread rest until `unbar_thread`; what bars the process does not."""
    _thread.holders.append(None)


def unbar_thread() -> None:
    """Undo the newest `bar_thread` or `lift_thread` of this thread."""
    holder = _thread.holders.pop()
    if holder is not None and not can_pass_through():
        let_down(holder)


def permit_thread() -> None:
    """Let this thread run FlashAttention although the process bars it, until `end_permit`."""
    _thread.permits += 1


def end_permit() -> None:
    """Undo one `permit_thread`."""
    _thread.permits -= 1


def suspend() -> Callable[[], None]:
    """Let all of the process's holders go; returns the way back."""
    with _lock:
        holders = list(_process)
        for holder in holders:
            let_down(holder)

    def restore() -> None:
        for holder in holders:
            raise_up(holder)

    return restore


@contextmanager
def uncounted() -> Iterator[None]:
    """Kernels that this thread runs inside the block are nobody's attention: a comparison's."""
    _thread.uncounted += 1
    try:
        yield
    finally:
        _thread.uncounted -= 1


@contextmanager
def guarding(holder: str) -> Iterator[None]:
    """Bar FlashAttention's operators in this process inside the block."""
    raise_up(holder)
    try:
        yield
    finally:
        let_down(holder)


def prepare() -> None:
    """Stand in front of the operators and ask at each call whether it is barred (each call needs a
    `retire`)."""
    global _users
    with _lock:
        if _users == 0:
            barrier.put_up(_at_operator)
        _users += 1


def retire() -> None:
    """Undo one `prepare`; the last one leaves nothing in front of the operators."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            barrier.take_down()


def can_pass_through() -> bool:
    """Whether this torch can call a kernel that we stand in front of (2.13 does)."""
    return barrier.can_pass_through()


def _at_operator(
    operator: str, args: tuple[Any, ...], go_on: Callable[[], Any] | None, runs: bool
) -> Any:
    """A FlashAttention operator is called: raise, or count it and `go_on`.

    One that another one calls is part of it, and is not counted by itself; nor is one that is
    traced and does not run.
    """
    holders = _holders()
    if holders or go_on is None:
        raise trip(operator, holders[-1] if holders else "a guard that just ended")
    if _thread.uncounted or _thread.inside or not runs:
        return go_on()
    passed[operator] += 1
    for listener in on_pass:
        listener(operator, args)
    _thread.inside = True
    try:
        return go_on()
    finally:
        _thread.inside = False


def trip(operator: str, forbidden_by: str, happened: str = Trip.happened) -> ForbiddenError:
    """Mark the process and return the error to raise: `operator` was about to run."""
    site = describe_site() or current_path()
    one = Trip(operator, forbidden_by, user_line(), site, happened)
    tripped.append(one)
    for listener in on_trip:
        listener(one)
    return ForbiddenError(str(one))
