"""Code that falls back from SDPA to its own eager arithmetic, with a warning at most.

transformers does so when it is asked for attention weights (`output_attentions=True`), up to 4.47
in the SDPA classes, later in the attention modules. That is standard attention; a request for
FlashAttention, or for one backend by name, is betrayed by it, and gets an error instead.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from attnswitch import intent
from attnswitch.backends import eager
from attnswitch.errors import UnavailableError
from attnswitch.seams.names.resolution import own_code_meets

_SDPA, _PLAIN = "SdpaAttention", "Attention"
_seen: set[str] = set()


def watch(model_class: Any) -> None:
    """Stand at the eager code in the modules of a model class that is about to be built."""
    for klass in model_class.__mro__:
        module = sys.modules.get(klass.__module__)
        if module is None or klass.__module__ in _seen or klass.__module__.startswith("torch."):
            continue
        _seen.add(klass.__module__)
        for name in [n for n in vars(module) if n.endswith(_SDPA)]:
            plain = getattr(module, name.removesuffix(_SDPA) + _PLAIN, None)
            if plain is not None:
                plain.forward = _of_class(plain.forward, getattr(module, name))
        function = getattr(module, eager.FUNCTION, None)
        if callable(function) and not hasattr(function, eager.STANDS_BEFORE):
            setattr(module, eager.FUNCTION, _of_function(function))


def _of_class(own: Any, sdpa_class: type) -> Any:
    """The plain class's forward, which its SDPA sibling calls where it falls back."""

    @functools.wraps(own)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self, sdpa_class):
            _refuse(self)
        return own(self, *args, **kwargs)

    return forward


def _of_function(own: Any) -> Any:
    import torch

    @functools.wraps(own)
    def attend(module: Any, *args: Any, **kwargs: Any) -> Any:
        asked = getattr(getattr(module, "config", None), "_attn_implementation", None)
        if asked not in (None, "eager") and not torch.compiler.is_compiling():
            _refuse(module)
        return own(module, *args, **kwargs)

    setattr(attend, eager.STANDS_BEFORE, own)
    return attend


def _refuse(module: Any) -> None:
    choice = intent.of_module(module) or intent.of_call()
    possible = choice.possible if choice is not None else ()
    refused = [c for c in possible if c.backend not in ("auto", "eager") and not own_code_meets(c)]
    if refused:
        raise UnavailableError(
            f"{refused[0].source} asks for {refused[0].requested!r}, but {type(module).__name__} "
            "falls back to its own eager code",
            reasons=["it is asked for its attention weights (output_attentions=True), which "
                     "no kernel gives"],
            remedy="Leave output_attentions out, or ask for 'standard' or 'auto'",
        )  # fmt: skip
