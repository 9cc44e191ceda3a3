"""Stand at the import of torch: check before it runs, arm after it, refuse for as long as it fails.

A post-import hook alone would not do: when it raises, Python drops the half-imported torch, and a
program that catches the error may import it again, unswitched. Here the error is kept and raised
at every further attempt. `importlib.util.find_spec("torch")` works as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import Any

Step = Callable[[], None]


def watch(*, before: Step, after: Step) -> None:
    """Call `before` just before torch's own code runs, and `after` when it is complete.

    Where torch is there already (another .pth file imported it), `after` is called now; if it
    raises, torch is taken away, so that the program's own import meets the error.
    """
    watcher = _Watcher(before, after)
    sys.meta_path.insert(0, watcher)
    if "torch" in sys.modules:
        try:
            before()
            after()
        except Exception as error:
            watcher.failure = error
            del sys.modules["torch"]


class _Watcher:
    """A finder that finds nothing itself; it puts a loader around the one that torch has."""

    def __init__(self, before: Step, after: Step):
        self.before, self.after = before, after
        self.failure: Exception | None = None
        self._looking = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "torch" or self._looking:
            return None
        self._looking = True
        try:
            spec = _find_elsewhere(self, name, path, target)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment]
        return spec


def _find_elsewhere(watcher: Any, name: str, path: Any, target: Any) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        if finder is not watcher and find is not None:
            spec = find(name, path, target)
            if spec is not None:
                return spec
    return None


class _Loader:
    """torch's own loader, with our steps around it."""

    def __init__(self, loader: Any, watcher: _Watcher):
        self._loader, self._watcher = loader, watcher

    def create_module(self, spec: ModuleSpec) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        watcher = self._watcher
        if watcher.failure is not None:
            raise watcher.failure
        # From here on torch shows its own loader to whoever asks.
        module.__loader__ = module.__spec__.loader = self._loader
        try:
            watcher.before()
        except Exception as error:
            watcher.failure = error
            raise
        self._loader.exec_module(module)
        try:
            watcher.after()
        except Exception as error:
            watcher.failure = error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
