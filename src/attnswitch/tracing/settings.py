"""What decides which kernel runs, besides the call: requests, names in configs, PyTorch's toggles.

A pass whose settings changed is another form of pass, and is looked at anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attnswitch import guard, intent
from attnswitch.types import Site


class Settings:
    """Reads the settings that concern the given sites; cheap enough for every decoded token."""

    def __init__(self, sites: Mapping[str, tuple[Site, Any]]):
        self._modules = [module for _, module in sites.values()]
        configs = {id(c): c for c in (getattr(m, "config", None) for m in self._modules) if c}
        self._configs = list(configs.values())

    def now(self) -> tuple[Any, ...]:
        """Everything that is set now, comparable and hashable."""
        choices = [intent.of_module(module) for module in self._modules]
        return (
            tuple((c.backend, c.requested, c.source, c.rule) if c else None for c in choices),
            tuple(getattr(c, "_attn_implementation", None) for c in self._configs),
            intent.of_process(),
            guard.is_up(),
            guard.is_up_everywhere(),
            *_toggles(),
        )


def _toggles() -> tuple[bool, ...]:
    import torch

    cuda = torch.backends.cuda
    return (
        cuda.flash_sdp_enabled(),
        cuda.mem_efficient_sdp_enabled(),
        cuda.math_sdp_enabled(),
        hasattr(torch.backends, "mha") and torch.backends.mha.get_fastpath_enabled(),
        torch.is_autocast_enabled(),
    )


__all__ = ["Settings"]
