"""Hooks around a module's forward that step aside while code is compiled.

The compiler guards on the hooks it finds: code compiled with one of ours in place would be compiled
anew when the trace has ended. So they are taken down for the length of a call of compiled code.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Enter = Callable[[Any, Any, dict[str, Any]], None]


class Stand:
    """Calls `enter(module, args, kwargs)` and `leave()` around the forward of `module`."""

    def __init__(self, module: Any, enter: Enter, leave: Callable[[], None]):
        self.module, self._enter, self._leave = module, enter, leave
        self._handles: list[Any] = []
        self._aside = 0
        self._lock = threading.Lock()
        self._put_up()

    def _put_up(self) -> None:
        self._handles = [
            self.module.register_forward_pre_hook(self._before, with_kwargs=True),
            self.module.register_forward_hook(self._after, always_call=True),
        ]

    def _before(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        import torch

        if not torch.compiler.is_compiling():
            self._enter(module, args, kwargs)

    def _after(self, *_: Any) -> None:
        import torch

        if not torch.compiler.is_compiling():
            self._leave()

    def take_down(self) -> None:
        """Leave no hook behind, for good."""
        with self._lock:
            self._aside = -1
            self._remove()

    def _remove(self) -> None:
        while self._handles:
            self._handles.pop().remove()

    def step_aside(self) -> None:
        """Leave no hook until `step_back` was called as often."""
        with self._lock:
            if self._aside >= 0:
                self._aside += 1
                self._remove()

    def step_back(self) -> None:
        """Undo one `step_aside`."""
        with self._lock:
            if self._aside > 0:
                self._aside -= 1
                if self._aside == 0:
                    self._put_up()


@contextmanager
def aside(stands: Iterable[Stand], module: Any = None) -> Iterator[None]:
    """No stand holds a hook on `module` or inside it (None: anywhere) while the block runs."""
    concerned = list(stands)
    if module is not None:
        inside = {id(part) for part in module.modules()}
        concerned = [stand for stand in concerned if id(stand.module) in inside]
    for stand in concerned:
        stand.step_aside()
    try:
        yield
    finally:
        for stand in concerned:
            stand.step_back()
