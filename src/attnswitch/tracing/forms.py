"""The form of a call or a pass: what decides which kernels it takes, short of exact lengths."""

from __future__ import annotations

from collections import Counter
from typing import Any

from attnswitch import intent
from attnswitch.types import Site


def form_of(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """What decides which kernels a forward pass takes, short of exact lengths."""
    import torch

    given = [(f"#{i}", value) for i, value in enumerate(args)] + sorted(kwargs.items())
    parts: list[Any] = [module.training, torch.is_grad_enabled()]
    for name, value in given:
        if isinstance(value, torch.Tensor):
            rows = value.shape[1] if value.ndim > 1 else 0
            padded = name.endswith("mask") and _hides_something(value)
            parts.append((name, str(value.dtype), value.shape[0] if value.ndim else 0,
                          min(rows, 2), padded))  # fmt: skip
        elif value is not None and not isinstance(value, (bool, int, float, str)):
            parts.append((name, type(value).__name__))
    return tuple(parts)


def _hides_something(mask: Any) -> bool:
    """Whether a padding mask hides a token. On a GPU the question would make the CPU wait."""
    return mask.ndim == 2 and mask.device.type == "cpu" and not bool(mask.all())


def phase_of(site: Site | None, hidden: Any) -> str:
    """Vision for towers and projectors; else one query row is decode, several are prefill."""
    if site is not None and site.role in ("vision_tower", "projector"):
        return "vision"
    rows = hidden.shape[-2] if hidden is not None and hidden.ndim >= 2 else None
    return "decode" if rows == 1 else "prefill"


def first_tensor(args: Any, kwargs: dict[str, Any]) -> Any:
    """The tensor that a site attends from: its first tensor argument, or None."""
    for value in args:
        if hasattr(value, "dtype") and hasattr(value, "shape"):
            return value
    for name in ("hidden_states", "query", "x", "inputs"):
        value = kwargs.get(name)
        if value is not None and hasattr(value, "dtype"):
            return value
    return None


def asked_of(module: Any) -> Any:
    """The choice in force for a module: its own, else the process's."""
    own = intent.of_module(module) if module is not None else None
    return own or intent.of_process()


class Looks:
    """Which of the passes or calls of one form are profiled: the 1st, 2nd, 4th, 8th ..."""

    def __init__(self) -> None:
        self._counts: Counter[Any] = Counter()

    def due(self, form: Any) -> bool:
        """Count one of this form; whether it is to be profiled."""
        count = self._counts[form] = self._counts[form] + 1
        return count & (count - 1) == 0

    def missed(self, form: Any) -> None:
        """It was due, and somebody else profiles: the next one is due."""
        self._counts[form] -= 1

    def begin_again(self, form: Any) -> None:
        """What was seen holds no longer: the next one is due."""
        self._counts[form] = 0
