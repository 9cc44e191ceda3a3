"""Make small calls run as long ones do: scores in pieces, few kept, the others made twice."""

from __future__ import annotations

import pytest

from attnswitch.backends.query_blocks import block_size

KEPT = 300


def run_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep 300 scores a worker, and make 11 keys a piece."""
    monkeypatch.setattr(block_size, "SCORE_ELEMENTS", KEPT)
    monkeypatch.setattr(block_size, "OUTPUT_SHARE", 1 << 40)
    monkeypatch.setattr(block_size, "FEWEST_LONG_ROWS", 1 << 40)
    monkeypatch.setattr(block_size, "LONG_ROWS", 24)
    monkeypatch.setattr(block_size, "PIECE_KEYS", 11)
