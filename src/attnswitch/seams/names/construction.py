"""The moment a model is built, in every transformers: what was not switched by then is now."""

from __future__ import annotations

import functools
from typing import Any

from attnswitch.seams.names import copies, eager_only, fallbacks, flash_classes, flash_path
from attnswitch.seams.names.resolution import choice_in_force

# From 4.45 to 4.53 a configuration that was resolved once says so, and is not resolved again.
_RESOLVED_BEFORE = "_attn_implementation_autoset"


def install(model_class: Any) -> None:
    """Wrap the constructor of `PreTrainedModel`, which runs before any layer is built."""
    original = model_class.__init__

    @functools.wraps(original)
    def construct(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        if choice_in_force() is not None:
            eager_only.redirect(type(self))
            copies.redirect(type(self))
            flash_classes.redirect(type(self))
            flash_path.provide()
            fallbacks.watch(type(self))
            if getattr(config, _RESOLVED_BEFORE, False):
                setattr(config, _RESOLVED_BEFORE, False)
        original(self, config, *args, **kwargs)

    model_class.__init__ = construct
