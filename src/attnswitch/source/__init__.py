"""Find FlashAttention in a source tree, and make it a parameter.

    scan(path)    every place that decides, and what each program gets
    patch(path)   the same choices turned into one parameter, as a diff

Nothing that is read is ever imported or run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attnswitch.source.records import EntryPoint, Finding, Line, Scan, Skipped
from attnswitch.source.scanner import scan

if TYPE_CHECKING:
    from attnswitch.source.patcher import Changed, Failed, Patch, patch
    from attnswitch.source.plan import Untouched

__all__ = [
    "Changed",
    "EntryPoint",
    "Failed",
    "Finding",
    "Line",
    "Patch",
    "Scan",
    "Skipped",
    "Untouched",
    "patch",
    "scan",
]


def __getattr__(name: str) -> Any:
    """What only a patch needs, loaded when it is asked for: a scan is quicker without."""
    if name in {"Changed", "Failed", "Patch", "patch", "Untouched"}:
        from attnswitch.source import patcher, plan

        return getattr(plan if name == "Untouched" else patcher, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
