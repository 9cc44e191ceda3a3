"""Builds small trees to scan and patch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Write files, given as path=text or a dictionary, below a fresh folder."""

    def build(files: dict[str, str | bytes]) -> Path:
        for name, text in files.items():
            target = tmp_path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path

    return build
