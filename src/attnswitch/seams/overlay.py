"""Values written over an object's attributes, in layers that can be taken away in any order.

Plans of `apply` lie over one another: the newest is in force, and whichever is undone first leaves
what the others wrote.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_ABSENT = object()


@dataclass(eq=False)
class _Layer:
    target: Any
    before: Any
    below: _Layer | None


# The newest layer of each (object, attribute); whoever can take it away keeps it alive.
_newest: weakref.WeakValueDictionary[tuple[int, str], _Layer] = weakref.WeakValueDictionary()


def put(target: Any, name: str, value: Any) -> Callable[[], None]:
    """Write `value` over the attribute `name` of `target`; returns the way back, for one use."""
    key, held = (id(target), name), vars(target)
    below = _of(target, name)
    layer = _newest[key] = _Layer(target, held.get(name, _ABSENT), below)
    held[name] = value

    def back() -> None:
        newest = _of(target, name)
        if newest is not layer:
            _take_from_between(newest, layer)
        elif layer.before is _ABSENT:
            held.pop(name, None)
        else:
            held[name] = layer.before
        if newest is layer and layer.below is not None:
            _newest[key] = layer.below
        elif newest is layer:
            del _newest[key]

    return back


def beneath(target: Any, name: str) -> Any:
    """What the attribute was before any layer came over it; None where it was not set."""
    layer = _of(target, name)
    if layer is None:
        return vars(target).get(name)
    while layer.below is not None:
        layer = layer.below
    return None if layer.before is _ABSENT else layer.before


def _of(target: Any, name: str) -> _Layer | None:
    layer = _newest.get((id(target), name))
    return layer if layer is not None and layer.target is target else None


def _take_from_between(newest: _Layer | None, layer: _Layer) -> None:
    above = newest
    while above is not None:
        if above.below is layer:
            above.before, above.below = layer.before, layer.below
            return
        above = above.below
