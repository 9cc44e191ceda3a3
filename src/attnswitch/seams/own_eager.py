"""A model's own eager code at one site, where its other sites run something else.

Its function lies beside the attention class. The mask that comes was made for SDPA, which takes
booleans, and none at all where its own triangle will do; eager code adds whatever it gets and knows
no triangle of its own, so it would attend to the future. It gets the mask it needs, made here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from attnswitch.backends import eager
from attnswitch.errors import UnavailableError
from attnswitch.seams import overlay

# Written on a module whose project asked for eager code, where the name was rewritten for others.
_MARK = "_attnswitch_projects_own"


def remember(module: Any) -> Callable[[], None]:
    """Note that the project's own choice at this site is its eager code; returns the way back."""
    return overlay.put(module, _MARK, True)


def is_projects_own(module: Any) -> bool:
    """Whether leaving the project's own choice alone means its eager code here."""
    return _MARK in module.__dict__


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float,
    scaling: float | None,
    causal: bool,
    **kwargs: Any,
) -> tuple[torch.Tensor, Any]:
    """Attention by the model's own code, in the form transformers expects.

    Raises:
        UnavailableError: the model's source has no such function.
    """
    function = eager.function_of(module)
    if function is None:
        raise UnavailableError(
            f"{type(module).__name__} has no eager code that can be called for one site",
            remedy="Ask for 'math' or 'standard' there",
        )
    if causal:
        rows, keys = query.shape[-2], key.shape[-2]
        mask = torch.ones(rows, keys, dtype=torch.bool, device=query.device).tril()[None, None]
    if mask is not None and mask.dtype == torch.bool:
        mask = eager.as_added(mask, query.dtype)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return function(module, query, key, value, mask, scaling=scaling, dropout=dropout, **kwargs)
