"""The real LLaVA 1.2.2 trains by its own, unmodified scripts, and obeys the switch."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat.kernels import assert_only
from compat.llava_training import STEPS, Training, arguments, far_apart, start_training
from compat.running import run

ENVIRONMENTS = ("4.36", "4.37")
SCRIPTS = ("train_mem", "train_xformers")
CLASSES = ["CLIP", "Llama"]
# A unit in the last place of float16, relative, for each of the tower's roundings or so.
FLOAT16_TOWER = 8 * 2**-11
# Losses are logged with four decimals.
PRINTED = 1e-4

Runs = dict[tuple[str, str, str | None], Training]


@pytest.fixture(scope="module")
def runs(tiny_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """All training runs, started together: {(environment, script, request): run}."""
    cases = [(e, "train", None) for e in ENVIRONMENTS]
    cases += [(e, s, r) for e in ENVIRONMENTS for s in SCRIPTS for r in ("standard", "flash")]
    return {
        (environment, script, request): start_training(
            environment, f"llava.train.{script}", tiny_files,
            tmp_path_factory.mktemp(f"{script}-{request}"), attn=request,
        )
        for environment, script, request in cases
    }  # fmt: skip


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_train_mem_dies_without_the_switch(environment, tiny_files, tmp_path):
    command = [
        "-m",
        "llava.train.train_mem",
        *arguments(tiny_files, tmp_path / "out", 1, environment),
    ]
    done = run(environment, command, cwd=tmp_path)
    assert done.status == 1
    assert "FlashAttention2 has been toggled on, but it cannot be used" in done.output


@pytest.mark.parametrize("request_word", ["standard", "flash"])
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_losses_agree_with_llavas_own_training(runs, environment, script, request_word):
    own = runs[environment, "train", None].losses()
    switched = runs[environment, script, request_word].losses()
    assert len(own) == len(switched) == STEPS
    assert own[-1] < own[0] - 0.5, "nothing was learnt, so nothing can be compared"
    assert far_apart(own, switched) == []


@pytest.mark.parametrize("request_word", ["standard", "flash"])
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_profiler_sees_only_what_was_asked(runs, environment, script, request_word):
    operators = runs[environment, script, request_word].operators()
    assert_only(operators, request_word, CLASSES)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_without_the_switch_tower_and_decoder_differ(runs, environment):
    """The trap that the switch is for: sdpa is FlashAttention, and the tower has its own code."""
    operators = runs[environment, "train", None].operators()
    assert operators["CLIPAttention"] == ["aten::_softmax"]
    flash = "aten::_scaled_dot_product_flash_attention_for_cpu"
    assert operators["LlamaSdpaAttention"] == [flash]


def test_in_float32_losses_are_as_near_to_the_exact_ones(tiny_files, tmp_path):
    """Without bfloat16's rounding; LLaVA then keeps the vision tower, eager, in float16.

    The weights are held still, so that six batches are compared and nothing else: AdamW divides
    by a gradient's own size, and so makes a whole step out of the rounding of a tiny one. Exact
    are the losses under attention in float64: those under the switch may be at most twice as far
    from them as LLaVA's own.
    """
    options = ("--bf16", "False", "--learning_rate", "0")
    runs = {
        request: start_training("4.37", f"llava.train.{script}", tiny_files,
                                tmp_path / str(request), attn=request, steps=6, options=options)
        for script, request in (("train", None), ("train_mem", "reference"),
                                ("train_mem", "standard"), ("train_mem", "flash"))
    }  # fmt: skip
    losses = {request: run.losses() for request, run in runs.items()}
    exact = losses.pop("reference")
    assert len(exact) == len(set(exact)) == 6
    off = {
        request: max(abs(a - b) for a, b in zip(found, exact, strict=True))
        for request, found in losses.items()
    }
    own = off.pop(None)
    assert own <= FLOAT16_TOWER * max(exact), "LLaVA's own training is not the same training"
    for request, error in off.items():
        assert error <= 2 * own + PRINTED, f"{request}: {error}, own {own}"
