"""Compiled code obeys the request of the moment: in one process, and across a shared disk cache.

Three processes share Inductor's cache: bare → armed → bare inside the first, an armed one, and a
bare one again. Each compiles a call of SDPA and attention written by hand, which Inductor fuses
into FlashAttention by itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.seams.kernels import BLOCKWISE, FLASH

PROGRAM = Path(__file__).with_name("compiled_program.py")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> dict[str, str]:
    return {
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path_factory.mktemp("inductor")),
        "TORCHINDUCTOR_VEC_ISA_OK": "1",
        "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0",
        "PYTHONPATH": str(PROGRAM.parents[2]),
    }


def ran(cache: dict[str, str], *steps: str, **variables: str) -> list[dict[str, list[str]]]:
    """What each step's compiled functions ran: {"sdpa": [operators], "by hand": [operators]}."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *steps], env={**os.environ, **cache, **variables},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def first(cache):
    return ran(cache, "bare", "standard", "bare", "forbid")


BARE = {"sdpa": [FLASH], "by hand": [FLASH]}
ARMED = {"sdpa": [BLOCKWISE], "by hand": []}


def test_in_one_process(first):
    assert first[:3] == [BARE, ARMED, BARE]


def test_forbid_holds_in_code_that_was_compiled_before(first):
    for told in first[3].values():
        assert told[0].startswith("ForbiddenError FlashAttention was about to run")
        assert "compiled_program.py:" in told[0] or "kernels.py:" in told[0]


def test_an_armed_process_does_not_run_what_a_bare_one_compiled(first, cache):
    assert ran(cache, "bare", ATTNSWITCH="standard") == [ARMED]


def test_a_bare_process_does_not_run_what_an_armed_one_compiled(first, cache):
    assert ran(cache, "bare") == [BARE]
