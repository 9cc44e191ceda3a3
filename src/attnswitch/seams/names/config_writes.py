"""Writes of `config._attn_implementation` that come after the name was resolved.

Constructors and LoRA code write it themselves ("flash_attention_2", after the caller's choice),
and attention classes read it when they are built or run. While a request is in force, a name that
was resolved stays; before that, what is written is resolved like any other request.
"""

from __future__ import annotations

import logging
from typing import Any

from attnswitch.seams.names.resolution import choice_in_force

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
        if choice is None or before not in _RESOLVED or value == before:
            return
        self.__dict__[_INTERNAL] = before
        if value is not None:
            _logger.info("%s: a write of %r is not followed, %s keeps it %r",
                         type(self).__name__, value, choice.source, before)  # fmt: skip

    setattr(config_class, _PROPERTY, property(plain.fget, write, plain.fdel, plain.__doc__))
