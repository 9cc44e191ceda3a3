"""Models that are asked for their attention weights fall back to their own code, or say no.

From 4.54 transformers gives no weights under SDPA, and says so by itself.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compat.kernels import FLASH, STANDARD
from compat.running import PROGRAMS, run

VERSIONS = ("4.31", "4.37", "4.45", "4.50")
SHAPES = {"llama": [1, 4, 8, 8], "clip": [1, 4, 5, 5]}


def asked(version: str, request: str, out: Path) -> dict:
    run(version, [PROGRAMS / "weights.py", out], attn=request).expect_success()
    return json.loads(out.read_text())


@pytest.mark.parametrize("version", VERSIONS)
def test_under_standard_their_own_code_gives_the_weights(version, tmp_path):
    found = asked(version, "standard", tmp_path / "out.json")
    assert {name: case["shape"] for name, case in found.items()} == SHAPES
    for case in found.values():
        ran = {operator for operators in case["operators"].values() for operator in operators}
        assert "aten::_softmax" in ran
        assert not {FLASH, STANDARD} & ran


@pytest.mark.parametrize("version", VERSIONS)
def test_under_flash_it_is_an_error_that_says_why(version, tmp_path):
    for case in asked(version, "flash", tmp_path / "out.json").values():
        assert case["error"].startswith("UnavailableError: ATTNSWITCH asks for 'flash'")
        assert "output_attentions=True" in case["error"]
