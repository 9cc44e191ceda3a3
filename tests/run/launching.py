"""Start scripts under the switch as a user does, with the interpreter that runs the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

RUN = [sys.executable, "-m", "attnswitch.cli.main", "run"]
FLASH = "aten::_scaled_dot_product_flash_attention_for_cpu"
SDPA = """
import torch, torch.nn.functional as F
q = torch.randn(1, 2, 8, 16)
"""


def script(folder: Path, text: str, name: str = "script.py") -> str:
    """Write a script; returns its name."""
    (folder / name).write_text(textwrap.dedent(text))
    return name


def start(
    command: list[str], folder: Path, variables: dict[str, str] | None = None, seconds: int = 120
) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder` to its end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(variables or {})}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds
    )


def run(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`attnswitch run` with these words."""
    return start([*RUN, *words], folder, variables)


def receipts(path: Path) -> list[dict[str, Any]]:
    """The receipts in a file."""
    record = json.loads(path.read_text())
    assert record["schema"] == "attnswitch.trace/1"
    return record["receipts"]
