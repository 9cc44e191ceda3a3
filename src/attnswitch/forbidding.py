"""`forbid("flash")` and `require("flash")`: what must not run, and what must.

`forbid` raises `ForbiddenError` at the call of a FlashAttention kernel, before anything of it
runs, in eager and compiled code, inference mode, threads and worker processes; it changes nothing
else. `require` raises at the call where SDPA would take another kernel, and where the block ends
and no kernel of the family ran. Either way `attnswitch.guard.tripped` keeps the mark, also where
the program catches the exception.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ContextDecorator, contextmanager

from attnswitch import barrier, guard
from attnswitch.environment import require_torch
from attnswitch.errors import UnavailableError
from attnswitch.policy.families import check_family


class forbid(ContextDecorator):
    """No kernel of `family` ("flash") runs in this process inside the block.

        with attnswitch.forbid("flash"):
            model.generate(...)

    Also a decorator. Worker processes forked or spawned inside hold to it too: spawned ones by
    the environment variable `ATTNSWITCH_FORBID`, which is set for as long as the block lasts.

    Raises:
        RequestError: the family is not one that can be forbidden (at construction).
        ForbiddenError: at the call, naming site, operator, who forbade it and the line of code.
    """

    def __init__(self, family: str, *, source: str | None = None):
        self.family = check_family(family, "forbid()")
        self.source = source or f"forbid({self.family!r})"
        self._left: list[AbstractContextManager[None]] = []

    def _recreate_cm(self) -> forbid:
        return forbid(self.family, source=self.source)

    def __enter__(self) -> forbid:
        require_torch()
        if barrier.is_compiled_past_us():
            from attnswitch.seams import compiled

            compiled.forget_in_memory()  # traced anew, it meets the guard
        guard.raise_up(self.source)
        self._left.append(_inherited("ATTNSWITCH_FORBID", self.family))
        self._left[-1].__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._left.pop().__exit__(None, None, None)
        guard.let_down(self.source)


class require(ContextDecorator):
    """Only kernels of `family` ("flash") run inside the block, and at least one does.

    Raises:
        RequestError: the family is not one that can be required (at construction).
        UnavailableError: torch is older than 2.9 and cannot count its kernels (on entering).
        ForbiddenError: at an SDPA call that would take another kernel, naming site, kernel and
            line; or at the end of a block in which no kernel of the family ran.
    """

    def __init__(self, family: str, *, source: str | None = None):
        self.family = check_family(family, "require()")
        self.source = source or f"require({self.family!r})"
        self._counts: list[int] = []

    def _recreate_cm(self) -> require:
        return require(self.family, source=self.source)

    def __enter__(self) -> require:
        require_torch()
        from attnswitch.seams import compiled, operator

        if not guard.can_pass_through():
            raise UnavailableError(
                f"{self.source} needs to count FlashAttention's kernels as they run",
                remedy="Upgrade torch to 2.9 or newer",
            )
        guard.prepare()
        operator.install()
        operator.required.append(self.source)
        compiled.forget_in_memory()
        self._counts.append(guard.passed.total())
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        from attnswitch.seams import compiled, operator

        operator.required.remove(self.source)
        guard.retire()
        compiled.forget_in_memory()
        ran = guard.passed.total() - self._counts.pop()
        if kind is None and ran == 0:
            raise guard.trip(
                "none was seen", self.source, "no FlashAttention kernel ran in the block"
            )


@contextmanager
def _inherited(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for processes that are started inside."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
