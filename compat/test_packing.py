"""Rows in which sequences are packed are computed right on the FlashAttention path, by every way.

Each way of packing is a mechanism of a real project (see `programs/packing.py`). Without the
package all of them need the switch; computed as one sequence the row is far off, and must be told.
"""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path

import pytest

from compat.kernels import assert_only
from compat.running import PROGRAMS, Finished, start

# How many ways of packing each generation has, so that none is left out unseen; 4.31 has none.
CASES = {"4.36": 3, "4.37": 3, "4.40": 3, "4.45": 4, "4.50": 6, "4.57": 6, "5": 6}
VERSIONS = list(CASES)
LOGITS, GRADIENTS = 1e-4, 1e-2

Started = tuple[Future[Finished], Path]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str | None], Started]:
    """{(version, request): every case}, all started together."""
    folder = tmp_path_factory.mktemp("packing")
    started = {}
    for version in VERSIONS:
        for request in (None, "standard", "flash"):
            out = folder / f"{version}-{request}.json"
            command = [PROGRAMS / "packing.py", out, *(["plain"] if request is None else [])]
            started[version, request] = start(version, command, attn=request), out
    return started


def results(started: Started) -> dict:
    started[0].result().expect_success()
    return json.loads(started[1].read_text())


def off(found: dict, wanted: dict, what: str) -> float:
    return max(abs(a - b) for a, b in zip(found[what], wanted[what], strict=True))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_lost_packing_would_be_seen(runs, version):
    own = results(runs[version, None])
    assert off(own["across"], own["apart"], "logits") > 1000 * LOGITS
    assert off(own["across"], own["apart"], "gradient") > 1000 * GRADIENTS


@pytest.mark.parametrize("request_word", ["standard", "flash"])
@pytest.mark.parametrize("version", VERSIONS)
def test_sequences_are_computed_apart(runs, version, request_word):
    apart = results(runs[version, None])["apart"]
    found = results(runs[version, request_word])
    errors = {name: case["error"] for name, case in found.items() if "error" in case}
    assert not errors
    assert len(found) == CASES[version]
    for name, case in found.items():
        print(name)
        assert off(case, apart, "logits") <= LOGITS
        assert off(case, apart, "gradient") <= GRADIENTS
        assert_only(case["operators"], request_word, ["Llama"])
