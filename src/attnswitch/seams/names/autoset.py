"""transformers 4.36 to 4.53: a class method decides, before weights are loaded, and is wrapped.

It writes the name into the configuration; attention classes are picked by it (up to 4.47 from
tables such as `LLAMA_ATTENTION_CLASSES`, then from `ALL_ATTENTION_FUNCTIONS`). The old keyword
`use_flash_attention_2=True` arrives here too.
"""

from __future__ import annotations

import functools
from typing import Any

from attnswitch.seams.names.resolution import choice_in_force, wanted_name

_METHOD = "_autoset_attn_implementation"


def install(model_class: Any) -> None:
    """Wrap the method on `PreTrainedModel`, where this transformers has it."""
    if not hasattr(model_class, _METHOD):
        return
    original = model_class.__dict__[_METHOD].__func__
    setattr(model_class, _METHOD, classmethod(_rewriting(original)))


def _rewriting(original: Any) -> Any:
    @functools.wraps(original)
    def resolve(
        cls: Any, config: Any, use_flash_attention_2: bool = False, *args: Any, **kwargs: Any
    ) -> Any:
        choice = choice_in_force()
        if choice is None:
            return original(cls, config, use_flash_attention_2, *args, **kwargs)
        asked = getattr(config, "_attn_implementation_internal", None)
        if use_flash_attention_2:
            asked = "flash_attention_2"
        if isinstance(asked, dict):  # one name a part, which each part resolves for itself
            return original(cls, config, False, *args, **kwargs)
        name = wanted_name(choice, cls, config, asked)
        # None means "SDPA where you can", so that a model of models without it does not fail.
        config._attn_implementation_internal = None if name == "sdpa" else name
        return original(cls, config, False, *args, **kwargs)

    return resolve
