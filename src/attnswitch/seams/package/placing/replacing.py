"""In a package that works: its attention functions, replaced wherever they were imported to.

A replaced function looks at each call which request is in force. Where none is, or it leaves the
choice to the project, or it asks for this very package, the original runs.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

from attnswitch import intent
from attnswitch.seams.package.left_to_package import LeftToPackageError
from attnswitch.seams.package.placing.activations import Activation, calling_frame, line_of, note
from attnswitch.seams.package.placing.exports import REPLACED, implementation
from attnswitch.seams.package.placing.stand_in import is_stand_in

MODULES = tuple(REPLACED)

Function = Callable[..., Any]
# The original and what replaces it, by the identity of either; kept for the way back.
_replacement: dict[int, tuple[Function, Function]] = {}
_original: dict[int, tuple[Function, Function]] = {}


def replace(module_name: str) -> None:
    """Replace the attention functions of one loaded module, in it and in those that have them."""
    module = sys.modules.get(module_name)
    if module is None or is_stand_in(module) or module_name not in REPLACED:
        return
    fresh = False
    for name, home in REPLACED[module_name].items():
        function = module.__dict__.get(name)
        if function is None or id(function) in _original or id(function) in _replacement:
            continue
        ours = _stand_before(module_name, function, implementation(home, name))
        _replacement[id(function)] = (function, ours)
        _original[id(ours)] = (ours, function)
        package = module_name.partition(".")[0]
        where = line_of(calling_frame())
        because = f"{package} works; a request is in force"
        note(Activation(package, f"{module_name}.{name}", "replaced", where, because))
        fresh = True
    if fresh:
        _exchange(_replacement)


def restore() -> None:
    """Put every original back, in every module that holds a replacement."""
    if _original:
        _exchange(_original)
    _original.clear()
    _replacement.clear()


def _exchange(table: dict[int, tuple[Function, Function]]) -> None:
    """Exchange functions in all modules of this process by the table {id: (old, new)}."""
    for module in list(sys.modules.values()):
        contents = getattr(module, "__dict__", None)
        if not isinstance(contents, dict):
            continue
        for name, value in list(contents.items()):
            found = table.get(id(value))
            if found is not None and found[0] is value:
                contents[name] = found[1]


def _stand_before(module_name: str, original: Function, ours: Function) -> Function:
    """A function like `original` that lets `ours` compute where a request asks for it."""
    package = module_name.partition(".")[0]
    signature = inspect.signature(original)
    # By name, since the order of arguments differs between versions of the package.
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    by_name = all(p.kind not in variadic for p in signature.parameters.values())

    @functools.wraps(original)
    def dispatched(*args: Any, **kwargs: Any) -> Any:
        choice = intent.of_call()
        if choice is None or choice.backend in ("auto", package):
            return original(*args, **kwargs)
        try:
            if by_name:
                return ours(**signature.bind(*args, **kwargs).arguments)
            return ours(*args, **kwargs)
        except LeftToPackageError as left:
            if left.backend not in ("auto", package):
                raise
        return original(*args, **kwargs)

    return dispatched
