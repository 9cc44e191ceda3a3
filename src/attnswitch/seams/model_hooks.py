"""What `apply` leaves on a model: names in its configs, marks and hooks on its modules.

Every function does one thing and returns the way back. A plan's hooks act on a module while the
module carries that plan's number: a newer plan writes its own there, and the older one's rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attnswitch import guard, intent
from attnswitch.errors import UnavailableError
from attnswitch.seams import fastpath, overlay
from attnswitch.types import Choice

Undo = Callable[[], None]

# On every module that a plan hooks: the number of the newest plan.
_NUMBER = "_attnswitch_plan"


def rename(model: Any, names: dict[str, str]) -> Undo:
    """Write `names` ({site path: attention name}) into the configs that those sites read.

    A config above several sites (a decoder's, whose masks follow its name) is written where all
    its sites have the same name.
    """
    wanted: dict[int, tuple[Any, set[str]]] = {}
    for path, name in names.items():
        for module in _chain(model, path):
            config = getattr(module, "config", None)
            if config is not None and hasattr(config, "_attn_implementation"):
                wanted.setdefault(id(config), (config, set()))[1].add(name)
    undo: list[Undo] = []
    for config, found in wanted.values():
        if len(found) == 1:
            undo.append(_write_name(config, found.pop()))

    def back() -> None:
        for step in reversed(undo):
            step()

    return back


def _chain(model: Any, path: str) -> list[Any]:
    """The model and every module on the way to `path`."""
    chain = [model]
    for name in path.split(".") if path else []:
        chain.append(getattr(chain[-1], name))
    return chain


def _write_name(config: Any, name: str) -> Undo:
    return overlay.put(config, _name_attribute(config), name)


def projects_own_name(config: Any) -> str | None:
    """The attention name in a config as it was before any plan wrote there."""
    return overlay.beneath(config, _name_attribute(config)) or getattr(
        config, "_attn_implementation", None
    )


def _name_attribute(config: Any) -> str:
    internal = "_attn_implementation_internal"
    return internal if hasattr(config, internal) else "_attn_implementation"


def number(modules: Iterable[Any], plan: int) -> Undo:
    """Write a plan's number on the modules that it hooks; older plans' hooks there rest."""
    undo = [overlay.put(module, _NUMBER, plan) for module in modules]

    def back() -> None:
        for step in undo:
            step()

    return back


def is_planned(module: Any) -> bool:
    """Whether a plan is in force on this module."""
    return _NUMBER in module.__dict__


def mark(module: Any, choice: Choice) -> Undo:
    """Write the choice on the module, where the site seam and the trace read it."""
    return overlay.put(module, intent.MODULE_ATTRIBUTE, choice)


def push_while_running(module: Any, choice: Choice, plan: int) -> Undo:
    """Put the choice in force on the thread while the module's forward runs."""
    return _around_forward(
        module, lambda: intent.push_thread(choice, module), intent.pop_thread, plan
    )


def close_fast_path(module: Any, plan: int) -> Undo:
    """Let an nn.MultiheadAttention take its ordinary path, which calls SDPA, while it runs."""
    return _around_forward(module, fastpath.hold, fastpath.release, plan)


def refuse_weights(module: Any, choice: Choice, plan: int) -> Undo:
    """Make nn.MultiheadAttention raise where it would compute attention by hand.

    Asked for its weights (need_weights=True, the default), it multiplies and takes the softmax
    itself and calls no kernel: that is standard attention, so only a request for another family
    is betrayed by it.
    """
    import inspect

    import torch

    signature = inspect.signature(torch.nn.MultiheadAttention.forward)

    def check(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if module.__dict__.get(_NUMBER) != plan:
            return
        given = signature.bind(None, *args, **kwargs)
        given.apply_defaults()
        if given.arguments["need_weights"]:
            raise UnavailableError(
                f"{choice.source} asks for {choice.requested!r} at "
                f"{choice.site.path if choice.site else 'a module'}, which cannot be met there",
                reasons=["it is asked for its attention weights and computes them by hand"],
                remedy="Call it with need_weights=False, or ask for 'standard'",
            )

    return module.register_forward_pre_hook(check, with_kwargs=True).remove


def bar_while_running(model: Any, holder: str, plan: int) -> Undo:
    """Bar FlashAttention on the thread while the model's forward runs.

    Not inside a graph that torch.compile traces: there each site's own operator is compiled in.
    """
    guard.prepare()
    undo = _around_forward(model, lambda: guard.bar_thread(holder), guard.unbar_thread, plan)

    def back() -> None:
        undo()
        guard.retire()

    return back


def lift_while_running(model: Any, holder: str, plan: int) -> Undo:
    """Let this model run FlashAttention although an older plan, for it or what it is part of, bars
    it on the thread.

    Raises:
        UnavailableError: this torch cannot let one model pass and stop the others.
    """
    _require_passing(
        f"{holder} asks for FlashAttention where an older plan bars it",
        remedy="Call undo() of the older plan first",
    )
    return _around_forward(model, guard.lift_thread, guard.unbar_thread, plan)


def permit_while_running(model: Any, holder: str, plan: int) -> Undo:
    """Let this model run FlashAttention although the process bars it: `holder` overrides that.

    Raises:
        UnavailableError: this torch cannot let one model pass and stop the others.
    """
    _require_passing(
        f"{holder} overrides the process's request for one model",
        remedy="Override it for the process, with attnswitch.use(..., override=True)",
    )
    return _around_forward(model, guard.permit_thread, guard.end_permit, plan)


def _require_passing(what: str, remedy: str) -> None:
    if not guard.can_pass_through():
        raise UnavailableError(f"{what}, which needs torch 2.9", remedy=remedy)


def _around_forward(
    module: Any, before: Callable[[], None], after: Callable[[], None], plan: int
) -> Undo:
    import torch

    def enter(module: Any, *_: Any) -> None:
        if not torch.compiler.is_compiling() and module.__dict__.get(_NUMBER) == plan:
            before()

    def leave(module: Any, *_: Any) -> None:
        if not torch.compiler.is_compiling() and module.__dict__.get(_NUMBER) == plan:
            after()

    handles = [
        module.register_forward_pre_hook(enter, prepend=True),
        module.register_forward_hook(leave, always_call=True),
    ]

    def back() -> None:
        for handle in handles:
            handle.remove()

    return back
