"""Gradient checkpointing computes a forward again during backward, perhaps after the request ended.

The request in force when the forward ran is kept with the graph and is in force again, on the
thread that recomputes, for as long as the recomputation lasts. Both kinds of checkpointing are
reached by what `torch.utils.checkpoint` looks up when it runs, so names imported early obey.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attnswitch import guard, intent
from attnswitch.types import Choice

_installed = False
_AS_IT_WAS = Choice("auto", "auto", "no request", "nothing was asked when the forward ran")


def install() -> None:
    """Stand at both kinds of checkpointing; once a process, inert where nothing is asked."""
    global _installed
    if _installed:
        return
    _installed = True
    from torch.utils import checkpoint

    _keep_with_frames(checkpoint._CheckpointFrame)
    _keep_with_function(checkpoint.CheckpointFunction)


def _keep_with_frames(frame_class: Any) -> None:
    """Without re-entry: each region is a frame that holds the function to run again."""
    original = frame_class.__init__

    @functools.wraps(original)
    def __init__(self: Any, recompute_fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, _remembering(recompute_fn), *args, **kwargs)

    frame_class.__init__ = __init__


def _keep_with_function(function_class: Any) -> None:
    """With re-entry: an autograd function whose backward runs the region again."""
    original = function_class.forward

    @functools.wraps(original)
    def forward(ctx: Any, run_function: Callable[..., Any], *args: Any) -> Any:
        outputs = original(ctx, run_function, *args)
        ctx.run_function = _remembering(run_function)
        return outputs

    function_class.forward = staticmethod(forward)


def _remembering(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, under the request that is in force now, whenever it is called."""
    choice = intent.of_call() or _AS_IT_WAS

    @functools.wraps(function)
    def again(*args: Any, **kwargs: Any) -> Any:
        if intent.of_call() is choice:
            return function(*args, **kwargs)
        with _in_force_again(choice):
            return function(*args, **kwargs)

    return again


@contextmanager
def _in_force_again(choice: Choice) -> Iterator[None]:
    holder = f"{choice.source} asking for {choice.requested!r}, which held when the forward ran"
    if choice.bars_flash:
        guard.prepare()
        guard.bar_thread(holder)
    intent.push_thread(choice)
    try:
        yield
    finally:
        intent.pop_thread()
        if choice.bars_flash:
            guard.unbar_thread()
            guard.retire()


__all__ = ["install"]
