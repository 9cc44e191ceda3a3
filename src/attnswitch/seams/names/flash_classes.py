"""Attention classes for FlashAttention that a project builds itself, in 4.36 to 4.47.

`LLAMA_ATTENTION_CLASSES["flash_attention_2"](config)` and `LlamaFlashAttention2(config)` need no
name: the class was picked by hand, and the model around it makes masks for another name. Given
SDPA's mask, such a class runs the forward of its SDPA sibling, which takes the same weights; for
'eager', that of the plain class.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from attnswitch import intent
from attnswitch.seams.names.resolution import refuse_rules

_FLASH, _SDPA, _PLAIN = "FlashAttention2", "SdpaAttention", "Attention"
_MODELS = "transformers.models."
_seen: set[str] = set()


def redirect(model_class: Any) -> None:
    """Redirect the FlashAttention classes beside a model class that is about to be built."""
    for klass in model_class.__mro__:
        if klass.__module__.startswith(_MODELS) and klass.__module__ not in _seen:
            _seen.add(klass.__module__)
            _redirect(sys.modules[klass.__module__])


def _redirect(module: Any) -> None:
    for name in [n for n in vars(module) if n.endswith(_FLASH)]:
        family = name.removesuffix(_FLASH)
        sdpa = getattr(module, family + _SDPA, None)
        plain = getattr(module, family + _PLAIN, None)
        if plain is not None:
            flash = getattr(module, name)
            flash.forward = _switched(flash.forward, sdpa, plain)


def _switched(own: Any, sdpa: Any, plain: Any) -> Any:
    @functools.wraps(own)
    def forward(self: Any, hidden_states: Any, attention_mask: Any = None,
                *args: Any, **kwargs: Any) -> Any:  # fmt: skip
        choice = intent.of_call()
        if choice is None or choice.backend == "auto":
            return own(self, hidden_states, attention_mask, *args, **kwargs)
        refuse_rules(choice, self)
        if choice.backend == "eager":
            causal = getattr(self, "is_causal", False)
            mask = _additive(attention_mask, hidden_states, causal)
            return plain.forward(self, hidden_states, mask, *args, **kwargs)
        if sdpa is not None and getattr(attention_mask, "ndim", 2) == 4:
            return sdpa.forward(self, hidden_states, attention_mask, *args, **kwargs)
        return own(self, hidden_states, attention_mask, *args, **kwargs)

    return forward


def _additive(mask: Any, hidden_states: Any, causal: bool) -> Any:
    """FlashAttention's mask of kept keys [B, S] as SDPA's additive one [B, 1, T, S]."""
    import torch

    if mask is None or mask.ndim != 2:
        return mask
    rows, keys = hidden_states.shape[1], mask.shape[1]
    kept = mask.bool()[:, None, None, :].expand(-1, 1, rows, -1)
    if causal:
        square = torch.ones(rows, keys, dtype=torch.bool, device=mask.device)
        kept = kept & square.tril(keys - rows)
    lowest = torch.finfo(hidden_states.dtype).min
    return torch.zeros_like(kept, dtype=hidden_states.dtype).masked_fill(~kept, lowest)
