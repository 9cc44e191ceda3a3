"""Receipts of the real LLaVA 1.2.2: its own training, forward and backward, and inference mode."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from compat.kernels import FLASH, STANDARD
from compat.llava_training import arguments
from compat.running import PROGRAMS, run

ENVIRONMENT, STEPS, TOKENS = "4.37", 3, 8
# {request: (script, what the tower ran, what the language model ran)}; the tower is trained by
# no script, and unswitched it has eager code of its own.
EXPECTED = {
    None: ("train", ("eager", "standard", "op"), ("flash", "flash", "op")),
    "standard": ("train_mem", *[("blockwise", "standard", "guarded")] * 2),
}
Receipts = list[dict]


@pytest.fixture(scope="module", params=EXPECTED, ids=str)
def runs(request, tiny_files: Path, tmp_path_factory) -> tuple[str | None, Receipts, dict]:
    """The request, receipts of LLaVA's own training, and those of a trace on what it trained."""
    word, folder = request.param, tmp_path_factory.mktemp("receipts")
    script, output, receipt = EXPECTED[word][0], folder / "llava-tiny", folder / "receipt.json"
    command = ["-m", f"llava.train.{script}", *arguments(tiny_files, output, STEPS, ENVIRONMENT)]
    run(
        ENVIRONMENT, command, attn=word, cwd=folder, extra={"ATTNSWITCH_RECEIPT": str(receipt)}
    ).expect_success()
    traced = folder / "traced.json"
    program = [PROGRAMS / "llava_traced.py", output, tiny_files, traced]
    run(ENVIRONMENT, program, attn=word, cwd=folder).expect_success()
    return word, json.loads(receipt.read_text())["receipts"], json.loads(traced.read_text())


def told(receipts: Receipts) -> dict[tuple, Counter]:
    """{(role, phase): {(backend, family, evidence): calls}}."""
    found: dict[tuple, Counter] = {}
    for one in receipts:
        kind = one["backend"], one["family"], one["evidence"]
        found.setdefault((one["role"], one["phase"]), Counter())[kind] += one["calls"]
    return found


def sites_of(receipts: Receipts, role: str, phase: str) -> set[str]:
    return {one["site"] for one in receipts if (one["role"], one["phase"]) == (role, phase)}


@pytest.mark.parametrize("how", ["ATTNSWITCH_RECEIPT", "trace()"])
def test_training_forward_and_backward(runs, how):
    word, own, traced = runs
    receipts, steps = (own, STEPS) if how == "ATTNSWITCH_RECEIPT" else (traced["training"], 2)
    _, tower, language = EXPECTED[word]
    layers = sites_of(receipts, "language_model", "prefill")
    assert len(layers) >= 2
    assert sites_of(receipts, "language_model", "backward") == layers
    towers = len(sites_of(receipts, "vision_tower", "vision"))
    assert told(receipts) == {
        ("vision_tower", "vision"): {tower: steps * towers},
        ("language_model", "prefill"): {language: steps * len(layers)},
        ("language_model", "backward"): {language: steps * len(layers)},
    }
    for one in receipts:
        assert one["requested"] == word
        assert None not in one["executed"]


def test_inference_mode(runs):
    word, _, traced = runs
    receipts = traced["inference"]
    _, tower, language = EXPECTED[word]
    layers = len(sites_of(receipts, "language_model", "prefill"))
    towers = len(sites_of(receipts, "vision_tower", "vision"))
    assert told(receipts) == {
        ("vision_tower", "vision"): {tower: towers},
        ("language_model", "prefill"): {language: layers},
        ("language_model", "decode"): {language: (TOKENS - 1) * layers},
    }
    operator = FLASH if word is None else STANDARD
    assert all(one["executed"] == [operator] for one in receipts if one["phase"] == "decode")
