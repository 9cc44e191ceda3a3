"""Remember recognised masks, so that the layers of one forward pass read a mask once.

An entry is used only while the same tensor (or a view of the same tensor, at the same place) still
has the same version, which PyTorch raises on every in-place change. Where versions do not say the
truth nothing is remembered: inference tensors have none, and compiled code reuses buffers without
counting.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch

from attnswitch.backends.query_blocks.plan import Plan

_MOST = 8
_plans: OrderedDict[Hashable, tuple[weakref.ref[torch.Tensor], int, Plan]] = OrderedDict()


def may_be_remembered(mask: torch.Tensor) -> bool:
    """Whether this mask's version tells the truth: an eager tensor outside inference mode."""
    if _is_compiling() or torch.jit.is_tracing():
        return False
    return type(mask) in (torch.Tensor, torch.nn.Parameter) and not mask.is_inference()


def remembered(mask: torch.Tensor, question: Hashable, answer: Callable[[], Plan]) -> Plan:
    """Return the plan for ``mask`` and ``question`` (blocks, band), from memory if unchanged."""
    base = mask if mask._base is None else mask._base
    place = (mask.data_ptr(), mask.shape, mask.stride(), mask.dtype)
    key = (id(base), place, question)
    entry = _plans.get(key)
    if entry is not None and entry[0]() is base and entry[1] == mask._version:
        return entry[2]
    version = mask._version
    plan = answer()
    _plans[key] = (weakref.ref(base), version, plan)
    while len(_plans) > _MOST:
        try:
            _plans.popitem(last=False)
        except KeyError:  # another thread was faster
            break
    return plan


def _is_compiling() -> bool:
    compiler = getattr(torch, "compiler", None)
    check = getattr(compiler, "is_compiling", None) or torch._dynamo.is_compiling
    return bool(check())
