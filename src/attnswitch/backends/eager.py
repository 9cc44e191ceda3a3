"""`eager`: a model's own code, and how it is called for one site.

transformers keeps it as a function beside the attention class. It adds whatever mask it gets.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch

FUNCTION = "eager_attention_forward"
# On a function that stands before the model's own, to refuse what falls back to it unasked.
STANDS_BEFORE = "_attnswitch_own"


def function_of(module: Any) -> Callable[..., Any] | None:
    """The eager function beside the module's class or one that it is made from, or None."""
    for klass in type(module).__mro__:
        function = getattr(sys.modules.get(klass.__module__), FUNCTION, None)
        if function is not None:
            return getattr(function, STANDS_BEFORE, function)  # not a fallback: asked for
    return None


def as_added(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A boolean mask in the form that eager code adds to scores of `dtype`: 0, or the lowest."""
    zeros = torch.zeros((), dtype=dtype, device=mask.device)
    return torch.where(mask, zeros, torch.full_like(zeros, torch.finfo(dtype).min))
