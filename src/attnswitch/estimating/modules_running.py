"""Which module of a model is running, by its path."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from torch.nn.modules import module as hooks


class ModulesRunning:
    """While it is on, `path()` is the path of the innermost module of `model` that is running."""

    def __init__(self, model: Any):
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._stack: list[str] = []
        self._handles: list[Any] = []

    def path(self) -> str:
        """The path, or "" outside every module and in the model itself."""
        return self._stack[-1] if self._stack else ""

    def __enter__(self) -> ModulesRunning:
        def enter(module: Any, _: Any) -> None:
            self._stack.append(self._paths.get(id(module), self.path()))

        def leave(module: Any, *_: Any) -> None:
            if self._stack:
                self._stack.pop()

        self._handles = [
            hooks.register_module_forward_pre_hook(enter),
            hooks.register_module_forward_hook(leave),
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
