"""Stand in PyTorch's dispatcher in front of FlashAttention's operators, whoever registers them.

At the dispatch key BackendSelect: every call passes it before any device's kernel, with autograd or
without. So a kernel that is registered later does not stand before us, as FlashAttention 3 and 4 do
by `torch.nn.attention.activate_flash_attention_impl`; and an operator that a package defines later
finds us waiting under its name. Operators of the kernel hub have names that nobody knows
beforehand: these are met where Python looks an operator up for the first time.
"""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from typing import Any

from attnswitch.operators import flash_forward_operators, is_flash_forward

# (operator, arguments, how to go on or None where this torch cannot, whether a kernel is to run)
# -> what the operator returns. Where none is to run, code is being compiled that will not come by.
Sentry = Callable[[str, tuple[Any, ...], Callable[[], Any] | None, bool], Any]

_KEY = "BackendSelect"
_standing: dict[str, Any] = {}  # libraries by the operator's full name
_undo: list[Callable[[], None]] = []


def put_up(sentry: Sentry) -> None:
    """Let `sentry` answer for every FlashAttention operator's forward from now on."""
    import torch

    for name in flash_forward_operators():
        for overload in _overloads(torch, name):
            _stand(torch, name, overload, sentry)
    for namespace in [
        n for n in vars(torch.ops).values() if isinstance(n, torch._ops._OpNamespace)
    ]:
        for short in list(vars(namespace)):
            _stand_if_from_hub(torch, f"{namespace.name}::{short}", sentry)
    _undo.append(_meet_new_ones(torch, sentry))


def take_down() -> None:
    """Nothing stands anywhere any more."""
    while _undo:
        _undo.pop()()
    while _standing:
        _standing.popitem()[1]._destroy()


def stands() -> bool:
    """Whether the operators are guarded or watched just now."""
    return bool(_standing)


def can_pass_through() -> bool:
    """Whether this torch lets us call what we stand in front of."""
    import torch

    return hasattr(torch._ops.OpOverload, "redispatch") and hasattr(
        torch._C, "_dispatch_keyset_full_after"
    )


def _overloads(torch: Any, name: str) -> list[str]:
    """An operator's overloads; the default one where it is not registered yet."""
    try:
        _, overloads = torch._C._jit_get_operation(name)
    except RuntimeError:
        overloads = None
    return [overload or "default" for overload in overloads or ("",)]


def _stand(torch: Any, name: str, overload: str, sentry: Sentry) -> None:
    namespace, _, short = name.partition("::")
    full = short if overload == "default" else f"{short}.{overload}"
    if f"{namespace}::{full}" in _standing:
        return
    library = torch.library.Library(namespace, "IMPL")
    accepted = inspect.signature(library.impl).parameters
    wanted = {"with_keyset": True, "allow_override": True}
    options = {word: value for word, value in wanted.items() if word in accepted}
    passes = can_pass_through() and "with_keyset" in options
    kernel = _passing(torch, name, overload, sentry) if passes else _stopping(name, sentry)
    if not passes:
        options.pop("with_keyset", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of overrides, and one is meant
        library.impl(full, kernel, _KEY, **options)
    _standing[f"{namespace}::{full}"] = library


def _passing(torch: Any, name: str, overload: str, sentry: Sentry) -> Callable[..., Any]:
    below = torch._C._dispatch_keyset_full_after(torch._C.DispatchKey.BackendSelect)
    namespace, _, short = name.partition("::")

    @functools.cache
    def operator() -> Any:
        return getattr(getattr(getattr(torch.ops, namespace), short), overload)

    def kernel(keyset: Any, *args: Any, **kwargs: Any) -> Any:
        go_on = functools.partial(operator().redispatch, keyset & below, *args, **kwargs)
        stand_ins = _on_stand_ins(args)
        if stand_ins and not is_compiled_past_us():
            return go_on()
        return sentry(name, args, go_on, not stand_ins)

    return kernel


def _stopping(name: str, sentry: Sentry) -> Callable[..., Any]:
    """For a torch that cannot pass through: there it stands only while the operator is barred."""
    return lambda *args, **_: sentry(name, args, None, True)


def _on_stand_ins(args: tuple[Any, ...]) -> bool:
    """Whether shapes alone are computed, as where code is traced."""
    device = getattr(args[0], "device", None) if args else None
    return device is not None and device.type == "meta"


def is_compiled_past_us() -> bool:
    """Whether Inductor writes C++ that calls kernels past the dispatcher (`cpp_wrapper`): tracing
    is the last that is seen of them."""
    config = sys.modules.get("torch._inductor.config")
    return bool(getattr(config, "cpp_wrapper", False))


def _stand_if_from_hub(torch: Any, name: str, sentry: Sentry) -> None:
    if name.startswith("_") and is_flash_forward(name):
        for overload in _overloads(torch, name):
            _stand(torch, name, overload, sentry)


def _meet_new_ones(torch: Any, sentry: Sentry) -> Callable[[], None]:
    """Python finds an operator through its namespace, once; returns the way back."""
    namespace_class = torch._ops._OpNamespace
    original = namespace_class.__getattr__

    @functools.wraps(original)
    def __getattr__(namespace: Any, short: str) -> Any:  # noqa: N807
        found = original(namespace, short)
        if _undo and namespace.name.startswith("_"):  # also where others keep us after the end
            _stand_if_from_hub(sys.modules["torch"], f"{namespace.name}::{short}", sentry)
        return found

    namespace_class.__getattr__ = __getattr__

    def back() -> None:
        if namespace_class.__getattr__ is __getattr__:
            namespace_class.__getattr__ = original

    return back
