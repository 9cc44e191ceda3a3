"""Fixtures of the compatibility suite."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from compat.running import PROGRAMS, run


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokenizer, tiny Llama, tiny CLIP and training data, as LLaVA takes them."""
    return _written(tmp_path_factory.mktemp("llava-files"))


@pytest.fixture(scope="session")
def wide_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with wide weights: what a row attends to shows in the loss."""
    return _written(tmp_path_factory.mktemp("wide-files"), "wide")


@cache
def _written(folder: Path, *options: str) -> Path:
    run("4.37", [PROGRAMS / "llava_files.py", folder, *options]).expect_success()
    return folder
