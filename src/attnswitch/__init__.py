"""Turn FlashAttention off, or on, in LLaVA and every project built like it, and prove it.

    attnswitch.apply(model, "standard")          one model
    with attnswitch.use("standard"): ...         this process, for a while
    with attnswitch.trace(model) as t: ...       what ran: t.receipts
    with attnswitch.forbid("flash"): ...         raises at the call; require("flash") likewise
    attnswitch.verify(model, inputs)             is the difference a bug, and where
    attnswitch.explain(config, "standard")       what would run where, and why; needs no weights

Importing this package imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnswitch.compare import compare as compare
    from attnswitch.errors import AttnSwitchError as AttnSwitchError
    from attnswitch.explaining.explain import explain as explain
    from attnswitch.forbidding import forbid as forbid
    from attnswitch.forbidding import require as require
    from attnswitch.switch import Plan as Plan
    from attnswitch.switch import apply as apply
    from attnswitch.switch import use as use
    from attnswitch.tracing.observer import trace as trace
    from attnswitch.verification.verify import verify as verify

_HOMES = {
    "apply": "attnswitch.switch",
    "explain": "attnswitch.explaining.explain",
    "use": "attnswitch.switch",
    "Plan": "attnswitch.switch",
    "trace": "attnswitch.tracing.observer",
    "verify": "attnswitch.verification.verify",
    "forbid": "attnswitch.forbidding",
    "require": "attnswitch.forbidding",
    "AttnSwitchError": "attnswitch.errors",
}

__all__ = [
    "AttnSwitchError",
    "Plan",
    "apply",
    "explain",
    "forbid",
    "require",
    "trace",
    "use",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
