"""What the tests ask of a scan."""

from __future__ import annotations

from attnswitch.source import scan


def entries(root):
    """The entry points of a tree by their paths."""
    return {e.path: e for e in scan(root).entry_points}


def verdicts(result):
    """Whether the source of each program asks for FlashAttention, by their paths."""
    return {e.path: e.flash for e in result.entry_points}
