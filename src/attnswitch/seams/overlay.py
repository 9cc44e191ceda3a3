"""Values written over an object's attributes, in layers that can be taken away in any order.

Plans of `apply` lie over one another: the newest is in force, and whichever is undone first leaves
what the others wrote. What was there before the first is known for as long as the object lives,
also where nobody kept a plan.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_ABSENT = object()


@dataclass(eq=False)
class _Layer:
    value: Any


@dataclass
class _Layers:
    """What lies over one attribute of one object, the newest last; `end` stops waiting for the
    object's end."""

    before: Any
    end: Callable[[], object]
    layers: list[_Layer]


_all: dict[tuple[int, str], _Layers] = {}


def put(target: Any, name: str, value: Any) -> Callable[[], None]:
    """Write `value` over the attribute `name` of `target`; returns the way back, for one use."""
    key, held, layer = (id(target), name), vars(target), _Layer(value)
    if key not in _all:
        _all[key] = _Layers(held.get(name, _ABSENT), _forget_with(target, key), [])
    over = _all[key]
    over.layers.append(layer)
    held[name] = value

    def back() -> None:
        was_newest = over.layers[-1] is layer
        over.layers.remove(layer)
        if over.layers:
            if was_newest:
                held[name] = over.layers[-1].value
            return
        over.end()
        if _all.get(key) is over:  # else the object is gone, and another may have its address
            del _all[key]
        if over.before is _ABSENT:
            held.pop(name, None)
        else:
            held[name] = over.before

    return back


def _forget_with(target: Any, key: tuple[int, str]) -> Callable[[], object]:
    """Forget what lies over an object when it ends; one that cannot be watched is kept alive, so
    that no other comes to its address."""
    try:
        return weakref.finalize(target, _all.pop, key, None).detach
    except TypeError:  # a types.SimpleNamespace, as some projects' configs are
        return lambda: target


def beneath(target: Any, name: str) -> Any:
    """What the attribute was before any layer came over it; None where it was not set."""
    over = _all.get((id(target), name))
    before = vars(target).get(name) if over is None else over.before
    return None if before is _ABSENT else before
