"""What rules ask of an attention call, read from its tensors only where a rule asks."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

from attnswitch.errors import UnavailableError
from attnswitch.policy.conditions import Condition, Words
from attnswitch.policy.facts import capability_fact
from attnswitch.types import AttentionCall

Check = Callable[[AttentionCall], bool]
_TENSOR_FORMS = frozenset(("padding", "other"))


def check_of(condition: Condition) -> Check:
    """A function that tells whether a condition holds for a call; quick enough for every token.

    Of a site in the language model; elsewhere the phase is known before any call.
    """
    holds = condition.test.holds
    if condition.fact == "mask":
        assert isinstance(condition.test, Words)
        return _mask_check(condition.test.words)
    read = READERS[condition.fact]
    return lambda call: holds(read(call))


READERS: dict[str, Callable[[AttentionCall], Any]] = {
    "phase": lambda call: "decode" if call.query.shape[-2] == 1 else "prefill",
    "q_length": lambda call: call.query.shape[-2],
    "kv_length": lambda call: call.key.shape[-2],
    "batch": lambda call: call.query.shape[0] if call.query.ndim > 3 else 1,
    "head_dim": lambda call: call.query.shape[-1],
    "training": lambda call: call.module.training,
    "device": lambda call: call.query.device.type,
    "dtype": lambda call: dtype_of(call.query),
    "capability": lambda call: capability_of(call.query),
}


def dtype_of(query: Any) -> str:
    """The dtype that attention is computed in: autocast turns float32 into half precision."""
    torch: Any = sys.modules["torch"]
    if query.dtype is torch.float32:
        cast = _autocast_dtype(torch, query.device.type)
        if cast is not None:
            return _dtype_name(cast)
    return _dtype_name(query.dtype)


def _autocast_dtype(torch: Any, device: str) -> Any:
    """What autocast makes of float32 on a device, or None; before 2.4 devices had their own."""
    if hasattr(torch, "get_autocast_dtype"):
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    if device == "cpu":
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


_dtype_names: dict[Any, str] = {}


def _dtype_name(dtype: Any) -> str:
    name = _dtype_names.get(dtype)
    if name is None:
        name = _dtype_names[dtype] = str(dtype).removeprefix("torch.")
    return name


def capability_of(query: Any) -> int | None:
    """The compute capability of the call's GPU, as conditions count it; None elsewhere."""
    return _capability(query.device.index or 0) if query.device.type == "cuda" else None


@cache
def _capability(index: int) -> int:
    torch: Any = sys.modules["torch"]
    return capability_fact(torch.cuda.get_device_capability(index))


def mask_form(call: AttentionCall) -> str:
    """`none`, `causal`, or `tensor`, whatever stands in it."""
    if call.mask is not None:
        return "tensor"
    return "causal" if call.causal else "none"


def reads_masks(condition: Condition) -> bool:
    """Whether a condition has to read what stands in a mask."""
    if condition.fact != "mask":
        return False
    assert isinstance(condition.test, Words)
    return len(condition.test.words & _TENSOR_FORMS) == 1


def _mask_check(words: frozenset[str]) -> Check:
    """A mask's tensor is read only where its contents decide."""
    reads = len(words & _TENSOR_FORMS) == 1

    def holds(call: AttentionCall) -> bool:
        if call.mask is None:
            return ("causal" if call.causal else "none") in words
        if not reads:
            return "other" in words
        return ("padding" if is_padded(call.mask) else "other") in words

    return holds


# The mask that was read last, which all layers of a pass share: (weak reference, version, answer).
_last: tuple[Any, int, bool] | None = None


def is_padded(mask: Any) -> bool:
    """Whether a mask hides some key from every query row of some sequence.

    Reads the tensor (on a GPU it waits for it), once for all layers of a pass.

    Raises:
        UnavailableError: in compiled code, which must not depend on contents.
    """
    global _last
    torch: Any = sys.modules["torch"]
    if torch.compiler.is_compiling() or _is_stand_in(mask):
        raise UnavailableError(
            "a rule asks whether the mask is padding, which cannot be told in compiled code",
            remedy="Write `mask: [padding, other]` (any mask tensor), or do not compile here",
        )
    if _last is not None and _last[0]() is mask and _last[1] == mask._version:
        return _last[2]
    hidden = ~mask if mask.dtype == torch.bool else mask <= torch.finfo(mask.dtype).min / 2
    answer = bool(hidden.all(dim=-2).any())
    _last = (weakref.ref(mask), mask._version, answer)
    return answer


def _is_stand_in(mask: Any) -> bool:
    return type(mask).__name__ in ("FakeTensor", "FunctionalTensor") or mask.device.type == "meta"
