"""Catch, at a site where nothing was seen, what an unknown operator is given and gives back.

Python's calls of registered operators pass by two methods of PyTorch. They are replaced while a
site that is looked at runs, and at no other time; other threads pass through.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

from attnswitch.operators import what_ran
from attnswitch.tracing.fingerprint import backend_of, takes_attention

_KNOWN_NAMESPACES = frozenset({"aten", "prim", "prims", "attnswitch", "profiler", "inductor"})
_lock = threading.Lock()


class Catcher:
    """Stands from `start` to `stop`, both on the thread whose calls are caught.

    Of several at a time the first one catches, so that one site is looked at after the other.
    """

    def __init__(self) -> None:
        self._caught: list[tuple[tuple[Any, ...], dict[str, Any], Any]] = []
        self._thread = threading.get_ident()
        self._originals: dict[Any, Any] = {}
        self._inside = False

    def start(self) -> bool:
        """Begin; False where another catcher stands."""
        if not _lock.acquire(blocking=False):
            return False
        import torch

        for kind in (torch._ops.OpOverloadPacket, torch._ops.OpOverload):
            self._originals[kind] = original = kind.__call__
            kind.__call__ = self._catching(original)  # type: ignore[method-assign]
        return True

    def stop(self) -> list[str | None]:
        """End; the backend of each attention-like call that was caught, None where it is unknown.

        Runs the backends on what was caught: not inside a profile.
        """
        for kind, original in self._originals.items():
            kind.__call__ = original
        _lock.release()
        caught, self._caught = self._caught, []
        return [backend_of(*one) for one in caught]

    def _catching(self, original: Any) -> Any:
        @functools.wraps(original)
        def __call__(operator: Any, /, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
            ours = not self._inside and threading.get_ident() == self._thread
            if not ours or not _is_unknown(operator) or not takes_attention(args):
                return original(operator, *args, **kwargs)
            self._inside = True
            try:
                output = original(operator, *args, **kwargs)
            finally:
                self._inside = False
            self._caught.append((args, kwargs, output))
            return output

        return __call__


def _is_unknown(operator: Any) -> bool:
    name = str(getattr(operator, "_qualified_op_name", None) or operator.name()).partition(".")[0]
    return name.partition("::")[0] not in _KNOWN_NAMESPACES and what_ran(name) is None


__all__ = ["Catcher"]
