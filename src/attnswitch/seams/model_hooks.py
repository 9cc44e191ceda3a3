"""What `apply` leaves on a model: names in its configs, marks and hooks on its modules.

Every function does one thing and returns the way back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attnswitch import guard, intent
from attnswitch.errors import UnavailableError
from attnswitch.seams import fastpath
from attnswitch.types import Choice

Undo = Callable[[], None]


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
    attribute = (
        "_attn_implementation_internal"
        if hasattr(config, "_attn_implementation_internal")
        else "_attn_implementation"
    )
    before = getattr(config, attribute)
    setattr(config, attribute, name)
    return lambda: setattr(config, attribute, before)


def mark(module: Any, choice: Choice) -> Undo:
    """Write the choice on the module, where the site seam and the trace read it."""
    before = module.__dict__.get(intent.MODULE_ATTRIBUTE)
    module.__dict__[intent.MODULE_ATTRIBUTE] = choice

    def undo() -> None:
        if before is None:
            module.__dict__.pop(intent.MODULE_ATTRIBUTE, None)
        else:
            module.__dict__[intent.MODULE_ATTRIBUTE] = before

    return undo


def push_while_running(module: Any, choice: Choice) -> Undo:
    """Put the choice in force on the thread while the module's forward runs."""
    return _around_forward(module, lambda: intent.push_thread(choice, module), intent.pop_thread)


def close_fast_path(module: Any) -> Undo:
    """Let an nn.MultiheadAttention take its ordinary path, which calls SDPA, while it runs."""
    return _around_forward(module, fastpath.hold, fastpath.release)


def refuse_weights(module: Any, choice: Choice) -> Undo:
    """Make nn.MultiheadAttention raise where it would compute attention by hand.

    Asked for its weights (need_weights=True, the default), it multiplies and takes the softmax
    itself and calls no kernel: that is standard attention, so only a request for another family
    is betrayed by it.
    """
    import inspect

    import torch

    signature = inspect.signature(torch.nn.MultiheadAttention.forward)

    def check(_: Any, args: Any, kwargs: dict[str, Any]) -> None:
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


def bar_while_running(model: Any, holder: str) -> Undo:
    """Bar FlashAttention on the thread while the model's forward runs.

    Not inside a graph that torch.compile traces: there each site's own operator is compiled in.
    """
    guard.prepare()
    undo = _around_forward(model, lambda: guard.bar_thread(holder), guard.unbar_thread)

    def back() -> None:
        undo()
        guard.retire()

    return back


def permit_while_running(model: Any, holder: str) -> Undo:
    """Let this model run FlashAttention although the process bars it: `holder` overrides that.

    Raises:
        UnavailableError: this torch cannot let one model pass and stop the others.
    """
    if not guard.can_pass_through():
        raise UnavailableError(
            f"{holder} overrides the process's request for one model, which needs torch 2.9",
            remedy="Override it for the process, with attnswitch.use(..., override=True)",
        )
    return _around_forward(model, guard.permit_thread, guard.end_permit)


def _around_forward(module: Any, before: Callable[[], None], after: Callable[[], None]) -> Undo:
    import torch

    def enter(*_: Any) -> None:
        if not torch.compiler.is_compiling():
            before()

    def leave(*_: Any) -> None:
        if not torch.compiler.is_compiling():
            after()

    handles = [
        module.register_forward_pre_hook(enter, prepend=True),
        module.register_forward_hook(leave, always_call=True),
    ]

    def back() -> None:
        for handle in handles:
            handle.remove()

    return back
