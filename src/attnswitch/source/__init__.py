"""Find FlashAttention in a source tree, and make it a parameter.

    scan(path)    every place that decides, and what each program gets
    patch(path)   the same choices turned into one parameter, as a diff

Nothing that is read is ever imported or run.
"""

from attnswitch.source.patch import Changed, Failed, Patch, patch
from attnswitch.source.plan import Untouched
from attnswitch.source.records import EntryPoint, Finding, Line, Scan, Skipped
from attnswitch.source.scan import scan

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
