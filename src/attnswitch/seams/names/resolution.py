"""Which name the request in force wants for a model class, whatever the project asked for."""

from __future__ import annotations

import logging
import sys
from typing import Any

from attnswitch import intent
from attnswitch.backends.catalogue import CATALOGUE
from attnswitch.errors import UnavailableError
from attnswitch.types import Choice, RuledChoice

FLASH = "flash_attention_2"
_logger = logging.getLogger("attnswitch")


def choice_in_force() -> Choice | None:
    """The request for this process, or None where the project's own choice stands."""
    choice = intent.of_process()
    return None if choice is None or choice.backend == "auto" else choice


def wanted_name(choice: Choice, model_class: Any, config: Any, asked: Any) -> str:
    """What `model_class` is to use instead of `asked`: "sdpa", "eager", or a name that leads to
    code whose own calls are switched.

    Such names are that of a function which the project registered itself, and FlashAttention's
    where the class has code for it (`flash_path`). A model made of other models gets "sdpa"
    otherwise, which its parts resolve again, each for itself. A class with only arithmetic of its
    own keeps it ("eager") where that meets the request: it is standard attention, and no
    FlashAttention.

    Raises:
        UnavailableError: the request cannot be met by the class's own arithmetic.
    """
    from attnswitch.seams.names import eager_only

    _refuse_own_names(choice, model_class, asked)
    if choice.backend == "eager":
        wanted = "eager"
    elif is_projects_own(asked):
        wanted = asked
    elif names_flash(asked) and has_flash_path(model_class):
        wanted = asked if asked in attention_table() else FLASH
    elif supports_sdpa(model_class) or is_composite(config):
        wanted = "sdpa"
    elif eager_only.reaches(model_class) or own_code_meets(choice):
        wanted = "eager"
    elif has_flash_path(model_class):
        wanted = FLASH
    else:
        raise UnavailableError(
            f"{choice.source} asks for {choice.requested!r}, but {model_class.__name__} "
            "cannot use it",
            reasons=["it has attention code of its own only: none for SDPA or FlashAttention"],
            remedy="Ask for 'standard' or 'auto'",
        )
    if asked not in (None, wanted):
        _logger.info("%s: the project asked for %r, %s makes it %r",
                     model_class.__name__, asked, choice.source, wanted)  # fmt: skip
    return wanted


def names_flash(asked: Any) -> bool:
    """Whether a name means FlashAttention, as transformers reads it; a hub kernel's too."""
    return isinstance(asked, str) and "flash" in asked


def has_flash_path(model_class: Any) -> bool:
    """Whether a model class has code for FlashAttention; transformers renamed the mark in 4.54."""
    return any(getattr(model_class, f"_supports_flash_attn{n}", False) for n in ("", "_2"))


def is_projects_own(asked: Any) -> bool:
    """Whether a name is that of an attention function which the project itself registered."""
    function = attention_table().get(asked) if isinstance(asked, str) else None
    home = getattr(function, "__module__", None) or ""
    return function is not None and not home.startswith(("transformers.", "attnswitch."))


def attention_table() -> Any:
    """transformers' table of attention functions (from 4.48), else nothing."""
    return getattr(sys.modules["transformers.modeling_utils"], "ALL_ATTENTION_FUNCTIONS", {})


def supports_sdpa(model_class: Any) -> bool:
    """Whether transformers says that this model class can use SDPA."""
    return bool(getattr(model_class, "_supports_sdpa", False))


def is_composite(config: Any) -> bool:
    """Whether a configuration holds those of other models, as LLaVA's does."""
    base = _config_class()
    return any(isinstance(part, base) for part in vars(config).values())


def _config_class() -> type:
    from transformers.configuration_utils import PretrainedConfig

    return PretrainedConfig


def own_code_meets(choice: Choice) -> bool:
    """Eager code is standard attention; it is not the one backend that was asked for by name."""
    return choice.bars_flash and all(c.requested not in CATALOGUE for c in choice.possible)


def _refuse_own_names(choice: Choice, model_class: Any, asked: Any) -> None:
    """Rules that leave some calls as they are cannot keep the name that those calls would need."""
    leaves = isinstance(choice, RuledChoice) and any(c.backend == "auto" for c in choice.possible)
    if leaves and asked not in (None, "sdpa") and not is_projects_own(asked):
        raise UnavailableError(
            f"{choice.source} leaves attention as it is where no rule says otherwise, and "
            f"{model_class.__name__} is asked for with {asked!r}",
            reasons=["one name serves all its calls, and only 'sdpa' can be decided call by call"],
            remedy="Write a request instead of auto, such as `attn: standard`",
        )


def refuse_rules(choice: Choice, module: Any) -> None:
    """Raise where rules ask for a class's own code at some calls, and for another at others.

    Raises:
        UnavailableError: the class is one whose code is exchanged as a whole.
    """
    own = [c for c in choice.possible if c.backend in ("auto", "eager")]
    if isinstance(choice, RuledChoice) and own:
        raise UnavailableError(
            f"{own[0].source} asks for {own[0].requested!r} at some calls of "
            f"{type(module).__name__}, whose code is exchanged as a whole in this transformers",
            remedy="Use no rules that mean 'auto' or 'eager' there, or transformers from 4.48",
        )
