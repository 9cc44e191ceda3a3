"""Writes of `config._attn_implementation` that come after the name was resolved.

Constructors and LoRA code write it themselves ("flash_attention_2", after the caller's choice),
and attention classes read it when they are built or run. While a request is in force, a name that
was resolved stays; before that, what is written is resolved like any other request. A name for
FlashAttention is followed where the function is looked up at each call (from 4.48), and where
transformers itself writes it, to load a model with a configuration that was used before: its code
then runs, and what that calls is switched.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from attnswitch.seams.names.resolution import (
    FLASH,
    attention_table,
    choice_in_force,
    is_projects_own,
    names_flash,
)

_PROPERTY = "_attn_implementation"
_INTERNAL = "_attn_implementation_internal"
_RESOLVED = ("sdpa", "eager")
_logger = logging.getLogger("attnswitch")


def install(config_class: Any) -> None:
    """Wrap the property's setter, where this transformers has the property (from 4.36)."""
    plain = config_class.__dict__.get(_PROPERTY)
    if not isinstance(plain, property) or plain.fset is None:
        return
    write_plainly = plain.fset

    def write(self: Any, value: Any) -> None:
        before = self.__dict__.get(_INTERNAL)
        write_plainly(self, value)  # also passes the value on to the configurations inside
        choice = choice_in_force()
        resolved = before in _RESOLVED or names_flash(before) or is_projects_own(before)
        if choice is None or not resolved or value == before:
            return
        loads = sys._getframe(1).f_globals.get("__name__") == "transformers.modeling_utils"
        after = _followed(value) if choice.backend != "eager" else None
        if after is not None and (loads or attention_table()):
            self.__dict__[_INTERNAL] = after
            return
        self.__dict__[_INTERNAL] = before
        if value is not None:
            _logger.info("%s: a write of %r is not followed, %s keeps it %r",
                         type(self).__name__, value, choice.source, before)  # fmt: skip

    setattr(config_class, _PROPERTY, property(plain.fget, write, plain.fdel, plain.__doc__))


def _followed(value: Any) -> str | None:
    """The name that leads to the code which was asked for, or None where that is not followed."""
    if is_projects_own(value) or (names_flash(value) and value in attention_table()):
        return value
    return FLASH if names_flash(value) else None
