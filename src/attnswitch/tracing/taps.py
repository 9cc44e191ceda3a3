"""Where a trace listens beside hooks: compiled modules, the backward pass, FlashAttention itself.

One wrapper stands at each place while at least one trace is active, and none after that. Hooks do
not reach compiled code, and a backward pass is no module's.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

from attnswitch import guard

Run = Callable[[], Any]


class Listener(Protocol):
    """What a trace does when one of these things happens; it must call `run` and return that."""

    def around_whole(self, module: Any, args: Any, kwargs: Any, run: Run) -> Any:
        """`module` is called where hooks do not reach or may not stand."""

    def around_backward(self, run: Run) -> Any:
        """Autograd's engine runs a backward pass."""

    def while_compiling(self) -> AbstractContextManager[None]:
        """Code is compiled inside the block: what stands on modules would be compiled in."""

    def flash_ran(self, operator: str, args: tuple[Any, ...]) -> None:
        """A FlashAttention operator is about to run, on this thread."""


# Else the profiler writes a line to standard error at each start and stop.
_PROFILER_VARIABLE = "KINETO_LOG_LEVEL"
_listeners: list[Listener] = []
_undo: list[Callable[[], object]] = []


def listen(listener: Listener) -> None:
    """Start telling `listener`."""
    _listeners.append(listener)
    if len(_listeners) == 1:
        _stand()
    if guard.can_pass_through():
        guard.prepare()
        guard.on_pass.append(listener.flash_ran)


def leave(listener: Listener) -> None:
    """Stop telling `listener`; with the last one gone nothing stands anywhere."""
    _listeners[:] = [other for other in _listeners if other is not listener]
    if guard.can_pass_through():
        guard.on_pass[:] = [heard for heard in guard.on_pass if heard != listener.flash_ran]
        guard.retire()
    if not _listeners:
        while _undo:
            _undo.pop()()


def around_compiled_of(module: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    """`call`, which runs compiled code of `module`, so that every listener hears of it."""

    @functools.wraps(call)
    def heard(*args: Any, **kwargs: Any) -> Any:
        return _around(
            functools.partial(call, *args, **kwargs),
            lambda listener, run: listener.around_whole(module, args, kwargs, run),
        )

    return heard


def _around(run: Run, tell: Callable[[Listener, Run], Any]) -> Any:
    import torch

    if torch.compiler.is_compiling():
        return run()
    for listener in _listeners:
        run = functools.partial(tell, listener, run)
    return run()


def _stand() -> None:
    import torch

    if _PROFILER_VARIABLE not in os.environ:
        os.environ[_PROFILER_VARIABLE] = "99"
        _undo.append(lambda: os.environ.pop(_PROFILER_VARIABLE, None))
    _replace(torch.nn.TransformerEncoderLayer, "__call__", _hearing_encoder_layer)
    if hasattr(torch.autograd, "_engine_run_backward"):
        _replace(torch.autograd, "_engine_run_backward", _hearing_backward)
    if "torch._dynamo.eval_frame" in sys.modules:
        _stand_at_the_compiler()
    else:
        _replace(torch, "compile", _hearing_of_compile)
    transformers = sys.modules.get("transformers.modeling_utils")
    if transformers is not None and hasattr(transformers.PreTrainedModel, "get_compiled_call"):
        _replace(transformers.PreTrainedModel, "get_compiled_call", _hearing_compiled_call)


def _stand_at_the_compiler() -> None:
    """At compiled modules' calls, and where Dynamo compiles: that is all there is to see of a
    compiled function that runs a model. Older torch has no such place (before 2.4)."""
    handler = getattr(sys.modules["torch._dynamo"], "callback_handler", None)
    if hasattr(handler, "install_callbacks"):
        _replace(handler, "install_callbacks", _hearing_compiler)
    optimized_module = sys.modules["torch._dynamo.eval_frame"].OptimizedModule
    _replace(optimized_module, "__call__", _hearing_optimized_module)


def _hearing_of_compile(original: Any) -> Any:
    """Importing the compiler takes seconds: wait until somebody compiles."""
    waiting = True

    @functools.wraps(original)
    def compile(*args: Any, **kwargs: Any) -> Any:
        nonlocal waiting
        compiled = original(*args, **kwargs)
        if waiting and _listeners and "torch._dynamo.eval_frame" in sys.modules:
            waiting = False
            _stand_at_the_compiler()
        return compiled

    return compile


def _hearing_compiler(original: Any) -> Any:
    @contextmanager
    def install_callbacks(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with ExitStack() as stack:
            for listener in list(_listeners):
                stack.enter_context(listener.while_compiling())
            yield stack.enter_context(original(*args, **kwargs))

    return install_callbacks


def _hearing_backward(engine: Any) -> Any:
    @functools.wraps(engine)
    def run_backward(*args: Any, **kwargs: Any) -> Any:
        return _around(
            functools.partial(engine, *args, **kwargs),
            lambda listener, run: listener.around_backward(run),
        )

    return run_backward


def _hearing_optimized_module(original: Any) -> Any:
    @functools.wraps(original)
    def __call__(module: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
        return _around(
            functools.partial(original, module, *args, **kwargs),
            lambda listener, run: listener.around_whole(module._orig_mod, args, kwargs, run),
        )

    return __call__


def _hearing_encoder_layer(original: Any) -> Any:
    """Hooks would close its fast path, and so change what runs."""

    @functools.wraps(original)
    def __call__(module: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
        return _around(
            functools.partial(original, module, *args, **kwargs),
            lambda listener, run: listener.around_whole(module, args, kwargs, run),
        )

    return __call__


def bears_hooks(root: Any) -> set[Any]:
    """The modules of a model that run the same with a hook on them as without."""
    import torch

    layers = [m for m in root.modules() if isinstance(m, torch.nn.TransformerEncoderLayer)]
    return set(root.modules()) - {part for layer in layers for part in layer.modules()}


def _hearing_compiled_call(original: Any) -> Any:
    @functools.wraps(original)
    def get_compiled_call(model: Any, *args: Any, **kwargs: Any) -> Any:
        return around_compiled_of(model, original(model, *args, **kwargs))

    return get_compiled_call


def _replace(owner: Any, name: str, wrapping: Callable[[Any], Any]) -> None:
    own = name in vars(owner)
    original = getattr(owner, name)
    wrapper = wrapping(original)
    setattr(owner, name, wrapper)

    def back() -> None:
        if vars(owner).get(name) is not wrapper:
            return  # somebody stands on top of ours, which passes everything on
        if own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)

    _undo.append(back)
