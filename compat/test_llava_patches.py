"""LLaVA 1.0 and 1.1 patch Llama with FlashAttention by hand, under transformers 4.31."""

from __future__ import annotations

import json

import pytest

from compat.kernels import assert_only
from compat.llava_training import STEPS, far_apart, start_training
from compat.running import PROGRAMS, run, start

ENVIRONMENTS = ("4.31", "4.31-llava-1.0")
CLASSES = ["CLIP", "Llama"]


@pytest.fixture(scope="module")
def runs(tiny_files, tmp_path_factory) -> dict:
    """{(environment, request): training}; without a request LLaVA's unpatched `train.py`."""
    return {
        (environment, request): start_training(
            environment,
            f"llava.train.{'train' if request is None else 'train_mem'}",
            tiny_files,
            tmp_path_factory.mktemp(f"{environment}-{request}"),
            attn=request,
        )
        for environment in ENVIRONMENTS
        for request in (None, "standard", "flash")
    }


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_patch_dies_without_the_switch(environment, tmp_path):
    done = run(environment, ["-m", "llava.train.train_mem"], cwd=tmp_path)
    assert done.status == 1
    assert "No module named 'flash_attn'" in done.output


@pytest.mark.parametrize("request_word", ["standard", "flash"])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_patched_training_agrees_with_unpatched(runs, environment, request_word):
    own = runs[environment, None].losses()
    switched = runs[environment, request_word].losses()
    assert len(own) == len(switched) == STEPS
    assert far_apart(own, switched) == []
    assert_only(runs[environment, request_word].operators(), request_word, CLASSES)


@pytest.mark.parametrize("request_word", ["standard", "flash"])
def test_generation_obeys_and_agrees(runs, tiny_files, tmp_path, request_word):
    """With a key-value cache of the old form, by LLaVA 1.1's own loader."""
    runs["4.31", None].finished().expect_success()
    folder = runs["4.31", None].output_folder
    records = {}
    for request in (None, request_word):
        out = tmp_path / f"{request}.json"
        command = [PROGRAMS / "llava_generate.py", folder, tiny_files, out]
        start("4.31", command, attn=request).result().expect_success()
        records[request] = json.loads(out.read_text())
    assert_only(records[request_word]["operators"], request_word, CLASSES)
    assert records[request_word]["logits"] == pytest.approx(records[None]["logits"], abs=1e-4)
    assert records[request_word]["answer"] == records[None]["answer"]


def test_the_patches_say_that_they_are_not_applied(tmp_path):
    """Both functions, called by hand: nothing is patched, CUDA is not asked, a line says so."""
    program = """
import logging
logging.basicConfig(level=logging.INFO)
from llava.train.llama_flash_attn_monkey_patch import replace_llama_attn_with_flash_attn
import transformers.models.llama.modeling_llama as code
before = code.LlamaAttention.forward
replace_llama_attn_with_flash_attn()
assert code.LlamaAttention.forward is before
print("still its own")
"""
    done = run("4.31", ["-c", program], attn="standard", cwd=tmp_path).expect_success()
    assert "replace_llama_attn_with_flash_attn() is not applied" in done.output
    assert "still its own" in done.output
