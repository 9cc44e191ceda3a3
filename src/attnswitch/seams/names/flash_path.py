"""The FlashAttention path of a model that was asked for it: kept, with our functions at its end.

What a project does with FlashAttention is more than a kernel: rows are packed, and told apart by
`cu_seqlens`, by position ids that start again, or by a function of the project's own in the place
of transformers' `_get_unpad_data`; windows and softcaps are passed on; a function or a class of its
own is registered under the name "flash_attention_2". SDPA knows nothing of all that, and would
attend across the packed sequences. So a model that was asked for FlashAttention, and whose class
has such code, keeps it, the name included. The check whether the package works is passed over, and
where the package is missing its functions are those of the package seam, which carries the request
out.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from attnswitch.seams.completed_import import when_complete
from attnswitch.seams.names.resolution import FLASH, choice_in_force
from attnswitch.seams.package.placing.exports import MODULES, implementation

_UTILITIES = "transformers.modeling_flash_attention_utils"
_TELLING = ("is_flash_attn_2_available", "is_flash_attn_available")

_provided: set[str] = set()
# Names that held None, which code may test for; put back when the last request ends.
_held_none: list[tuple[Any, str]] = []


def install(model_class: Any) -> None:
    """Stand at the check for the package (up to 4.53), and where its functions are fetched."""
    check = "_check_and_enable_flash_attn_2"
    if check in vars(model_class):
        setattr(model_class, check, classmethod(_passing(vars(model_class)[check].__func__)))
    when_complete(_UTILITIES, _install_utilities)


def provide() -> None:
    """Give code that uses the package's functions those functions, where it could not import them.

    transformers and projects import them only `if is_flash_attn_2_available()`, which stays False.
    Looked for in modules that ask that question, each once.
    """
    for name, module in list(sys.modules.items()):
        contents = getattr(module, "__dict__", {})
        if name in _provided or not any(word in contents for word in _TELLING):
            continue
        _provided.add(name)
        functions = _functions()
        for word in _globals_used(module) & set(functions):
            if contents.get(word) is None:
                if word in contents:
                    _held_none.append((module, word))
                contents[word] = functions[word]


def take_back() -> None:
    """No request is in force any more: code that asks `is None` gets the answer it got before.

    A name that was not there at all stays, and its function says which request it needs.
    """
    while _held_none:
        module, word = _held_none.pop()
        vars(module)[word] = None
        _provided.discard(module.__name__)


def _functions() -> dict[str, Any]:
    """{name in a module: what stands for it} of all that such code may have failed to import."""
    found = {
        name: implementation(home, name)
        for module in ("flash_attn", "flash_attn.bert_padding", "flash_attn.layers.rotary")
        for name, home in MODULES[module].items()
    }
    found["_flash_supports_window_size"] = True
    utilities = sys.modules.get(_UTILITIES)
    if utilities is not None:
        found["_flash_attention_forward"] = utilities._flash_attention_forward
    return found


def _globals_used(module: Any) -> set[str]:
    """Names that the functions and methods of a module look up in it, or in what they call."""
    return {name for code in _code_of(module) for name in code.co_names}


def _code_of(module: Any) -> Iterator[CodeType]:
    for value in list(vars(module).values()):
        if getattr(value, "__module__", None) != module.__name__:
            continue
        members = vars(value).values() if isinstance(value, type) else (value,)
        for member in members:
            function = getattr(member, "__wrapped__", member)
            if isinstance(function, FunctionType):
                yield function.__code__


def _passing(original: Any) -> Any:
    """The check of 4.36 to 4.53: it raises where the package is missing, or nothing is on CUDA."""

    @functools.wraps(original)
    def enable(cls: Any, config: Any, *args: Any, **kwargs: Any) -> Any:
        if choice_in_force() is None:
            return original(cls, config, *args, **kwargs)
        if not kwargs.get("hard_check_only", False):
            config._attn_implementation = FLASH
        return config

    return enable


def _install_utilities(utilities: Any) -> None:
    """From 4.54 the functions are fetched at the first call, and kept with the name asked for."""
    if hasattr(utilities, "_lazy_imports"):
        utilities._lazy_imports = _fetching(utilities, utilities._lazy_imports)


def _fetching(utilities: Any, original: Any) -> Any:
    @functools.wraps(original)
    def fetch(implementation: Any, *args: Any, **kwargs: Any) -> Any:
        choice = choice_in_force()
        works = utilities.is_flash_attn_2_available() and implementation in (None, FLASH)
        if choice is None or works or choice.backend == "flash_attn":
            return original(implementation, *args, **kwargs)
        ours = _functions()
        attend = ["flash_attn_func", "flash_attn_varlen_func"]
        if hasattr(utilities, "_flash_with_kvcache_fn"):
            attend.append("flash_attn_with_kvcache")
        return (
            *(ours[name] for name in attend),
            *(getattr(utilities, f"_{name}", ours[name]) for name in ("pad_input", "unpad_input")),
        )

    return fetch
