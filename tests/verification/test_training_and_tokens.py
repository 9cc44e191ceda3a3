"""Training and tokens: healthy pairs stay together, a fault parts them, a near tie is one."""

from __future__ import annotations

import pytest
import torch

import attnswitch
from attnswitch.verification.tokens import Answers, Flip, Tokens, wilson
from tests.verification import faults, models

DTYPES = pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16], ids=["fp32", "bf16", "fp16"]
)


@DTYPES
def test_healthy_training_stays_together(dtype):
    model = models.llava(dtype)
    before = {name: w.clone() for name, w in model.named_parameters()}
    found = attnswitch.verify(model, models.inputs(dtype), max_new_tokens=0, train=5)
    training = found.training
    assert not training.parts, (training.distance, training.allowed)
    assert len(training.curves["candidate"]["loss"]) == 5
    assert all(torch.equal(before[n], w) for n, w in model.named_parameters())
    assert all(w.grad is None for w in model.parameters())


@DTYPES
def test_a_wrong_backward_parts_training(dtype):
    with faults.planted(faults.forgets_the_correction):
        found = attnswitch.verify(
            models.llava(dtype), models.inputs(dtype), candidate="blockwise",
            max_new_tokens=0, train=5,
        )  # fmt: skip
    assert found.training.parts
    failure = found.failures[-1]
    assert failure.kind == "training"
    assert "more than the baseline does from itself" in failure.words
    record = found.to_json()["training"]
    assert record["distance"]["gradient_norm"] > record["allowed"]["gradient_norm"]


def test_a_learning_baseline_is_compared_and_not_a_standstill():
    found = attnswitch.verify(
        models.llava(), models.inputs(), max_new_tokens=0, train=12, learning_rate=1e-2
    )
    losses = found.training.curves["baseline"]["loss"]
    assert min(losses[6:]) < losses[0] / 2
    assert not found.training.parts


def test_tokens_agree_over_a_set_and_the_rate_has_an_interval():
    prompts = [models.inputs()[0], *models.inputs()]
    found = attnswitch.verify(models.llava(), prompts, max_new_tokens=6)
    record = found.to_json()["tokens"]
    assert record["prompts"] == 2, "the padded batch is no prompt of its own"
    assert record["same"] == 2
    assert record["rate"]["low"] == pytest.approx(0.342, abs=1e-3)
    assert record["rate"]["high"] == 1.0


def test_a_real_flip_counts_and_says_its_margin():
    with faults.planted(faults.attends_to_the_future):
        found = attnswitch.verify(
            models.llava(logit_scale=2.0), models.inputs(), candidate="blockwise",
            max_new_tokens=12,
        )  # fmt: skip
    flips = [failure for failure in found.failures if failure.kind == "tokens"]
    assert len(flips) == 1, "the future changes this answer"
    assert "by a margin of" in flips[0].words
    flip = found.tokens.answers[0].flip
    assert not flip.near_tie
    assert flip.baseline_token != flip.candidate_token


def test_a_near_tie_does_not_count():
    flip = Flip(3, 7, 8, margin=-0.01, allowed=0.02)
    assert flip.near_tie
    tokens = Tokens([Answers([7], [8], flip), Answers([1], [1])])
    assert tokens.real_flips == []
    assert tokens.to_json()["near_ties"] == 1
    assert Tokens([Answers([7], [8], Flip(0, 7, 8, 0.03, 0.02))]).real_flips == [0]
    assert Tokens([Answers([7], [], Flip(0, 7, None, None, None))]).real_flips == [0]


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (0, 0, 0.0, 1.0)],
)
def test_the_interval_is_wilsons(hits, trials, low, high):
    assert wilson(hits, trials) == pytest.approx((low, high), abs=1e-4)
