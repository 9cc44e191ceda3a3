"""LLaVA's own monkey patches of Llama, and their many copies: not applied under a request.

`replace_llama_attn_with_flash_attn()` asks CUDA for its version before anything else, and puts
FlashAttention into `LlamaAttention`; `replace_llama_attn_with_xformers_attn()` does so with
xformers, and takes masks that only the eager path of one transformers had. While a request is in
force both do nothing and say so: Llama's own attention obeys the switch. Forks keep these files
under their own package, so a module is known by the last part of its name. A file that fails to
import because the package it would patch in is missing or broken does not stop the program.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from attnswitch import intent

MODULES = frozenset(
    {
        "llama_flash_attn_monkey_patch",
        "llama2_flash_attn_monkey_patch",
        "llama_xformers_attn_monkey_patch",
        "llama_xformer_monkey_patch",
    }
)
FUNCTIONS = (
    "replace_llama_attn_with_flash_attn",
    "replace_llama_attn_with_xformers_attn",
    "replace_llama_attn_with_xformer",
)
_PACKAGES = ("flash_attn", "xformers")
_logger = logging.getLogger("attnswitch")


def install() -> None:
    """Stand in front of the modules' import; does nothing where it stands already."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name, module in list(sys.modules.items()):
        if name.rpartition(".")[2] in MODULES and module is not None:
            _replace(module)


class _Finder:
    """Finds what the other finders find, and replaces the patches once the module has run."""

    def __init__(self) -> None:
        self._looking: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.rpartition(".")[2] not in MODULES or name in self._looking:
            return None
        self._looking.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._looking.discard(name)
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
            loader: Any = spec.loader
            loader.exec_module = functools.partial(_execute, loader.exec_module)
        return spec


def _execute(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    try:
        execute(module)
    except (ImportError, OSError) as error:
        if not _in_force() or not _names_package(error):
            raise
        _logger.warning("%s does not import (%s); its patch is not applied anyway",
                        module.__name__, error)  # fmt: skip
        for function in FUNCTIONS:
            setattr(module, function, _never)
    _replace(module)


def _names_package(error: BaseException) -> bool:
    text = f"{getattr(error, 'name', None)} {error}"
    return any(package in text for package in _PACKAGES)


def _replace(module: ModuleType) -> None:
    for function in FUNCTIONS:
        if hasattr(module, function):
            setattr(module, function, _unless_switched(getattr(module, function), function))


def _unless_switched(original: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def patch(*args: Any, **kwargs: Any) -> Any:
        choice = intent.of_process()
        if choice is None or any(possible.backend == "auto" for possible in choice.possible):
            return original(*args, **kwargs)
        _logger.info("%s() is not applied: %s asks for %r", name, choice.source, choice.requested)
        return None

    return patch


def _never(*_: Any, **__: Any) -> None:
    """Stands for a patch whose file did not import; reached only without a request."""
    raise ImportError("this patch's file did not import, since flash_attn or xformers is missing")


def _in_force() -> bool:
    choice = intent.of_process()
    return choice is not None and choice.backend != "auto"
