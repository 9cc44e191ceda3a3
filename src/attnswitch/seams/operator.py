"""The operator seam: PyTorch's scaled_dot_product_attention, rerouted in the dispatcher.

One registration serves the life of the process (nested registrations warn, older torch refuses
them); what a call does is looked up in `attnswitch.intent` each time. With nothing asked, the
call goes to PyTorch's own choice. Reached this way: names imported early, nn.MultiheadAttention
without its fast path, inference mode, and code compiled while a request is in force. Not reached:
vmap, nested tensors, and direct calls of leaf operators; those meet the guard.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch

from attnswitch import guard, intent
from attnswitch.backends import attend_with
from attnswitch.backends.catalogue import family_of
from attnswitch.errors import UnavailableError
from attnswitch.types import AttentionCall

DISPATCH_KEYS = ("CPU", "AutogradCPU", "CUDA", "AutogradCUDA")
# Devices on which nobody has run our backends: a request is an error there, and never ignored.
OTHER_DEVICES = ("MPS", "XPU", "HPU", "PrivateUse1")

_operator = torch.ops.aten.scaled_dot_product_attention.default
_library: Any = None
_lock = threading.Lock()

# Who requires FlashAttention just now; a call that would take another kernel raises.
required: list[str] = []
# PyTorch's numbers for what its dispatcher would pick (torch.nn.attention.SDPBackend).
_PICKS = {0: "math", 1: "flash", 2: "efficient", 3: "cudnn"}
# Called around each call made outside compiled code; the process's receipts stand here.
Call = Callable[[], torch.Tensor]
watch: Callable[[torch.Tensor, Call], torch.Tensor] | None = None


def install() -> None:
    """Stand at the operator; does nothing where it stands already."""
    global _library
    with _lock:
        if _library is not None:
            return
        library = torch.library.Library("aten", "IMPL")
        for key in DISPATCH_KEYS:
            library.impl("scaled_dot_product_attention", route, key)
        for device in OTHER_DEVICES:
            for key in (device, f"Autograd{device}"):
                # A vendor's own kernel stays: ours would hide it for good, asked or not.
                if not torch._C._dispatch_has_kernel_for_dispatch_key(_operator.name(), key):
                    library.impl("scaled_dot_product_attention", route_elsewhere, key)
        _library = library


def installed() -> bool:
    """Whether the operator is rerouted in this process."""
    return _library is not None


def route(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    elsewhere: bool = False,
) -> torch.Tensor:
    """Carry out one SDPA call by the choice in force; shapes as in PyTorch's function.

    `elsewhere`: on a device that we have no backend for.

    Raises:
        UnavailableError: what is asked for this call cannot run.
    """
    given = (query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, elsewhere)
    if watch is not None and not torch.compiler.is_compiling():
        return watch(query, lambda: _carry_out(*given))
    return _carry_out(*given)


def _carry_out(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
    elsewhere: bool,
) -> torch.Tensor:
    choice = intent.of_call()
    if choice is not None:
        call = AttentionCall(query, key, attn_mask, is_causal, intent.module_of_call())
        choice = intent.for_call(choice, call)
    if required:
        given = (query, key, value, attn_mask, dropout_p, is_causal)
        _refuse_others(choice, given, scale, enable_gqa)
    if choice is None or choice.backend == "auto":
        return unrouted(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    if elsewhere:
        raise UnavailableError(
            f"{choice.source} asks for {choice.requested!r}, but this attention call is on the "
            f"device {query.device.type!r}",
            reasons=["attnswitch routes attention on CPU and CUDA devices only"],
            remedy="Ask for 'auto' there: attention is left as it is, and what ran is recorded",
        )
    if choice.backend == "eager":
        raise UnavailableError(
            f"{choice.source} asks for 'eager', but this code calls PyTorch's "
            "scaled_dot_product_attention and has no attention code of its own",
            remedy="Ask for 'math' or 'standard' instead",
        )
    if choice.backend == "blockwise":
        _refuse_transforms(choice)
    return attend_with(choice.backend)(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )


def route_elsewhere(*args: Any, **kwargs: Any) -> torch.Tensor:
    """`route` on a device that we have no backend for: PyTorch's own choice, or an error."""
    return route(*args, **kwargs, elsewhere=True)


def unrouted(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> torch.Tensor:
    """PyTorch's own choice: the composite kernel that we stand in front of."""
    extra = {"enable_gqa": True} if enable_gqa else {}
    return _operator._op_dk(
        torch._C.DispatchKey.CompositeImplicitAutograd,
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, **extra,
    )  # fmt: skip


def _refuse_others(choice: Any, given: tuple[Any, ...], scale: float | None, gqa: bool) -> None:
    """Raise ForbiddenError where FlashAttention is required and something else would run."""
    backend = choice.backend if choice is not None else "auto"
    if backend == "auto":
        extra: dict[str, Any] = {"enable_gqa": True} if gqa else {}
        picked = torch._fused_sdp_choice(*given, scale=scale, **extra)
        backend = _PICKS.get(int(picked), f"kernel {int(picked)}")
    if family_of(backend) != "flash" and backend != "cudnn":
        raise guard.trip(
            backend, required[-1], "a kernel other than FlashAttention was about to run"
        )


def _refuse_transforms(choice: Any) -> None:
    """torch.func's grad and jvp need rules that our operator does not have: say so in our words."""
    functorch = getattr(torch._C, "_functorch", None)
    peek = getattr(functorch, "peek_interpreter_stack", None)
    interpreter = peek() if peek is not None else None
    if interpreter is not None and interpreter.key().name in ("Grad", "Jvp", "Vmap"):
        raise UnavailableError(
            f"{choice.source} asks for {choice.requested!r}, which means 'blockwise' here",
            reasons=[f"it cannot be used inside torch.func's {interpreter.key().name} transform"],
            remedy="Ask for 'math', which can",
        )
