"""transformers from 4.54: every model resolves its name in one method, which is wrapped.

`get_correct_attn_implementation` is the part of it that `set_attn_implementation` calls for the
models inside another.
"""

from __future__ import annotations

import functools
from typing import Any

from attnswitch.seams.names import flash_path
from attnswitch.seams.names.resolution import choice_in_force, names_flash, wanted_name

METHODS = ("_check_and_adjust_attn_implementation", "get_correct_attn_implementation")


def install(model_class: Any) -> None:
    """Wrap the methods on `PreTrainedModel`, where this transformers has them."""
    for method in METHODS:
        if hasattr(model_class, method):
            setattr(model_class, method, _rewriting(getattr(model_class, method)))


def _rewriting(original: Any) -> Any:
    @functools.wraps(original)
    def resolve(self: Any, attn_implementation: Any = None, *args: Any, **kwargs: Any) -> Any:
        choice = choice_in_force()
        if choice is None:
            return original(self, attn_implementation, *args, **kwargs)
        name = wanted_name(choice, type(self), self.config, attn_implementation)
        if names_flash(name):
            # What is checked and loaded now would be the package, or a kernel from the hub.
            flash_path.provide()
            return name
        # None means "what you can": sdpa, or eager for a model of models without it.
        return original(self, None if name == "sdpa" else name, *args, **kwargs)

    return resolve
