"""Runs a function on a stack that is deep enough for long chains of imports and calls."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")

#: Python calls that may be open at once. Following a program takes about ten for each call and
#: each import of it; trees with eighty modules in a row exist.
MOST_CALLS = 20_000
#: Reserved, not used: pages that are never touched cost nothing.
STACK_BYTES = 256 << 20


def deeply(function: Callable[[], Result]) -> Result:
    """Call `function` in a thread of its own, with a deep stack; what it raises is raised here.

    The limit of recursion is raised for the whole process until the function returns.
    """
    outcome: list[Any] = []
    failure: list[BaseException] = []

    def call() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # handed on below, whatever it is
            failure.append(error)

    limit, size = sys.getrecursionlimit(), threading.stack_size()
    thread = threading.Thread(target=call, name="attnswitch-scan", daemon=True)
    try:
        sys.setrecursionlimit(max(limit, MOST_CALLS))
        threading.stack_size(STACK_BYTES)
        thread.start()
        threading.stack_size(size)
        thread.join()
    finally:
        threading.stack_size(size)
        sys.setrecursionlimit(limit)
    if failure:
        raise failure[0]
    return outcome[0]
