"""Parts of a model, run again as the whole model ran them: a phase without the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from attnswitch.errors import ModelInputError
from attnswitch.sites import role_of


@dataclass
class RecordedCall:
    """One call of a part's forward, with the arguments it got."""

    part: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def again(self) -> Any:
        """The same call; a cache that it filled is left out, so that it begins empty again."""
        kwargs = dict(self.kwargs)
        if "past_key_values" in kwargs:
            kwargs["past_key_values"] = None
        return self.part(*self.args, **kwargs)


def parts_of(model: Any) -> dict[str, list[Any]]:
    """{role: the outermost modules that belong to it}, in model order.

    A path's outermost telling word says what it belongs to, as for sites.
    """
    found: dict[str, list[Any]] = {}
    taken: set[str] = set()
    for path, module in model.named_modules():
        if not path or any(path.startswith(f"{outer}.") for outer in taken):
            continue
        role = role_of(path)
        if role != "other" and not _is_container(module):
            taken.add(path)
            found.setdefault(role, []).append(module)
    return found


def _is_container(module: Any) -> bool:
    """A list of modules has no forward of its own."""
    return isinstance(module, (torch.nn.ModuleList, torch.nn.ModuleDict))


def record_calls(parts: list[Any], run: Callable[[], object]) -> list[RecordedCall]:
    """The calls of `parts` in one run, in their order.

    Raises:
        ModelInputError: the run called none of them.
    """
    calls: list[RecordedCall] = []

    def note(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(RecordedCall(module, _detached(args), _detached(kwargs)))

    handles = [part.register_forward_pre_hook(note, with_kwargs=True) for part in parts]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    if not calls:
        names = ", ".join(type(part).__name__ for part in parts) or "no such part"
        raise ModelInputError(f"the model's forward never called {names}: nothing to measure there")
    return calls


def _detached(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {name: _detached(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_detached(item) for item in value)
    return value
