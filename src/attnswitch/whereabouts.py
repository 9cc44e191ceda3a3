"""Where on this thread's stack we are: the attention site, and the line of user code.

Read from the frames of a running call, so nothing has to be installed on a model beforehand. In
compiled code the modules' frames are gone, and the site is unknown.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from attnswitch.sites import is_attention, reach_of, role_of
from attnswitch.types import Site

_LIBRARIES = frozenset(
    ("torch", "transformers", "attnswitch", "accelerate", "multiprocessing", "wrapt", "functools",
     "contextlib", "importlib", "threading", "concurrent")
)  # fmt: skip
# What Inductor writes has this name among its globals.
_GENERATED = "async_compile"
_MOST_FRAMES = 400
_known: WeakKeyDictionary[Any, Site] = WeakKeyDictionary()


def current_site() -> Site | None:
    """The site whose forward is running on this thread, found on the stack, or None.

    Its path is relative to the outermost module that is running.
    """
    place = current_place()
    return place[0] if place else None


def current_place() -> tuple[Site, Any] | None:
    """`current_site`, and its module."""
    running = modules_running()
    inner = next((module for module in running if is_attention(module)), None)
    if inner is None:
        return None
    found = _known.get(inner)
    if found is None:
        path = _path_of(inner, [inner, *running])
        found = _known[inner] = Site(path, role_of(path, inner), reach_of(inner))
    return found, inner


def current_path() -> str | None:
    """The path of `current_site`, or None."""
    site = current_site()
    return site.path if site else None


def root_of(model: Any) -> Any:
    """The outermost module that is running on this thread and holds `model`; else `model`."""
    for root in reversed(list(modules_running())):
        if any(module is model for module in root.modules()):
            return root
    return model


def user_line() -> str:
    """The innermost line of the stack that is neither a library's nor generated: "file:line"."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        name = frame.f_code.co_filename
        is_library = (
            package in _LIBRARIES
            or name.startswith("<")
            or "/site-packages/torch/" in name
            or _GENERATED in frame.f_globals
        )
        if not is_library:
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return "library code"


def modules_running() -> Iterator[Any]:
    """The torch modules whose methods are running, innermost first."""
    torch = sys.modules.get("torch")
    module_class = getattr(getattr(torch, "nn", None), "Module", None)
    if module_class is None:
        return
    last: Any = None
    frame: Any = sys._getframe(1)
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return
        if frame.f_code.co_varnames[:1] == ("self",):
            owner = frame.f_locals.get("self")
            if isinstance(owner, module_class) and owner is not last:
                last = owner
                yield owner
        frame = frame.f_back


def _path_of(inner: Any, modules: list[Any]) -> str:
    """The path of `inner` in the outermost running module that holds it."""
    for root in reversed(modules):
        for path, module in root.named_modules():
            if module is inner:
                return path
    return ""


__all__ = [
    "current_path",
    "current_place",
    "current_site",
    "modules_running",
    "root_of",
    "user_line",
]
