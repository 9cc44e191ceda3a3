"""Gradient checkpointing computes a forward again during backward, perhaps after the request ended.

The request in force when the forward ran is kept with the graph and is in force again, on the
thread that recomputes, for as long as the recomputation lasts. A plan that `apply` made stands on
the model itself: if it does not stand there as it did in the forward, backward raises. Both kinds
of checkpointing are reached by what `torch.utils.checkpoint` looks up when it runs, so names
imported early obey.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attnswitch import guard, intent
from attnswitch.errors import UnavailableError
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
    modules = list(_modules_in(function))
    planned = _planned(modules)

    @functools.wraps(function)
    def again(*args: Any, **kwargs: Any) -> Any:
        _refuse_another_plan(planned, _planned(modules))
        barring = [c for c in (choice, *planned.values()) if c.bars_flash]
        if intent.of_call() is choice and (choice.bars_flash or not barring):
            return function(*args, **kwargs)
        with _in_force_again(choice, _holder(choice, planned)):
            return function(*args, **kwargs)

    return again


def _modules_in(function: Any) -> Iterator[Any]:
    """The torch modules that a checkpointed function runs: its own, and those in its closure."""
    import torch

    waiting, seen = [function], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, torch.nn.Module):
            yield from one.modules()
        elif isinstance(one, functools.partial):
            waiting += [one.func, *one.args, *one.keywords.values()]
        elif callable(one):
            waiting.append(getattr(one, "__self__", None))
            waiting += [cell.cell_contents for cell in getattr(one, "__closure__", None) or ()
                        if not _is_empty(cell)]  # fmt: skip


def _is_empty(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def _planned(modules: list[Any]) -> dict[int, Choice]:
    """What `apply` chose for these modules, by their identity."""
    chosen = ((id(module), intent.of_module(module)) for module in modules)
    return {module: choice for module, choice in chosen if choice is not None}


def _refuse_another_plan(then: dict[int, Choice], now: dict[int, Choice]) -> None:
    """A plan stands on the model; it cannot be put in force again as a request can."""
    if then == now:
        return
    raise UnavailableError(
        f"backward computes a forward pass again, which ran {_under(then)}, and the model now "
        f"stands {_under(now)}",
        remedy="Call backward() before the plan's undo(), and apply() before the forward pass",
    )


def _under(planned: dict[int, Choice]) -> str:
    asked = dict.fromkeys(f"{c.source} asking for {c.requested!r}" for c in planned.values())
    return f"under {' and '.join(asked)}" if asked else "under no plan"


def _holder(choice: Choice, planned: dict[int, Choice]) -> str | None:
    """Who bars FlashAttention in the recomputation: the request, or a plan that bars it all."""
    barring = choice if choice.bars_flash else None
    if barring is None and planned and all(c.bars_flash for c in planned.values()):
        barring = next(iter(planned.values()))
    if barring is None:
        return None
    return f"{barring.source} asking for {barring.requested!r}, which held when the forward ran"


@contextmanager
def _in_force_again(choice: Choice, holder: str | None) -> Iterator[None]:
    if holder is not None:
        guard.prepare()
        guard.bar_thread(holder)
    intent.push_thread(choice)
    try:
        yield
    finally:
        intent.pop_thread()
        if holder is not None:
            guard.unbar_thread()
            guard.retire()


__all__ = ["install"]
