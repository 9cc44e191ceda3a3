"""Make small calls run as long ones do: a row's scores in pieces."""

from __future__ import annotations

import pytest

from attnswitch.backends.query_blocks import block_size

ROWS, KEYS = 24, 11
SHARED_ROWS = 12


def run_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take 24 query rows a block, 12 where heads share a product, and 11 keys a piece."""
    monkeypatch.setattr(block_size, "ROWS", ROWS)
    monkeypatch.setattr(block_size, "SHARED_ROWS", SHARED_ROWS)
    monkeypatch.setattr(block_size, "PIECE_KEYS", KEYS)
