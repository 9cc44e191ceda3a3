"""Fixtures of the compatibility suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat.running import PROGRAMS, run


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokenizer, tiny Llama, tiny CLIP and training data, as LLaVA takes them."""
    folder = tmp_path_factory.mktemp("llava-files")
    run("4.37", [PROGRAMS / "llava_files.py", folder]).expect_success()
    return folder
