"""The name seam: what `attn_implementation` resolves to while a request is in force.

transformers turns the name a project asked for ("flash_attention_2", a hub kernel, "eager", or
nothing) into the one a model uses, and checks first that the package is there. The name is decided
before that check, so that a request in code obeys the switch whether flash_attn is installed,
missing or broken: "sdpa", whose operator is switched, or, where FlashAttention was asked for, its
own path with the package's functions switched (names/flash_path.py). Package metadata is never
faked.

Each generation of transformers resolves names in another place; `names/` holds one file a place:

    before 4.36    no names: attention is the class's own arithmetic       names/eager_only.py
    4.36 to 4.53   `_autoset_attn_implementation`, tables of classes       names/autoset.py
    from 4.54      `_check_and_adjust_attn_implementation`                 names/checking.py

Besides, a project may write `config._attn_implementation` after the name was resolved
(names/config_writes.py), build the FlashAttention class itself (names/flash_classes.py), or load
a model class that has only arithmetic of its own (names/eager_only.py); names/construction.py
sees to the last two when a model is built. SDPA code may fall back to eager code
(names/fallbacks.py).
"""

from __future__ import annotations

from typing import Any

from attnswitch import intent
from attnswitch.seams.completed_import import when_complete

_installed = False


def install() -> None:
    """Stand where this transformers resolves names, now or once it is imported."""
    global _installed
    if _installed:
        return
    _installed = True
    from attnswitch.seams.names import eager_only

    when_complete("transformers.modeling_utils", _switch)
    eager_only.install()


def rest() -> None:
    """Put back what a program could ask for, if no request is in force any more."""
    if intent.of_process() is None:
        from attnswitch.seams.names import flash_path

        flash_path.take_back()


def _switch(modeling_utils: Any) -> None:
    from transformers.configuration_utils import PretrainedConfig

    from attnswitch.seams.names import (
        autoset,
        checking,
        config_writes,
        construction,
        flash_path,
    )

    model_class = modeling_utils.PreTrainedModel
    checking.install(model_class)
    autoset.install(model_class)
    flash_path.install(model_class)
    construction.install(model_class)
    config_writes.install(PretrainedConfig)
