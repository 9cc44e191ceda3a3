"""The findings of a verification that are worth a reader's time: a few of each kind."""

from __future__ import annotations

from collections import Counter
from typing import Any

Record = dict[str, Any]
OF_A_KIND = 4


def shown_findings(verdict: Record) -> tuple[list[Record], list[tuple[str, int]]]:
    """The first findings of each kind in their order, and [(kind, how many more)]."""
    seen = Counter[str]()
    shown = []
    for failure in verdict["failures"]:
        seen[failure["kind"]] += 1
        if seen[failure["kind"]] <= OF_A_KIND:
            shown.append(failure)
    return shown, [(kind, n - OF_A_KIND) for kind, n in seen.items() if n > OF_A_KIND]
