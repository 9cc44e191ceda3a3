"""The phases of a whole model: each runs its part alone, and together they are the whole."""

from __future__ import annotations

import pytest
import torch

import attnswitch
from attnswitch.bench.phases import phase_call
from attnswitch.bench.recorded import parts_of
from attnswitch.bench.workload import PHASES, phase_of_word
from attnswitch.bench.workshop import Workshop
from attnswitch.errors import InputError, ModelInputError
from tests.bench.tiny_workloads import tiny


@pytest.fixture(scope="module")
def shop() -> Workshop:
    return Workshop()


def whole(phase: str, **more):
    size = {"tiles": 1, "text_tokens": 4} if phase != "vision" else {"tiles": 1}
    return tiny(phase, 580, kind="model", part="whole", size=size, **more)


def places(ready, request_word="standard"):
    with attnswitch.apply(ready.model, request_word), attnswitch.trace(ready.model) as watched:
        ready.call()
    return {(receipt.role, receipt.phase) for receipt in watched.receipts}


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("vision", {("vision_tower", "vision")}),
        ("prefill", {("language_model", "prefill")}),
        ("decode", {("language_model", "decode")}),
        ("training_step", {("vision_tower", "vision"), ("vision_tower", "backward"),
                           ("language_model", "prefill"), ("language_model", "backward")}),
    ],
)  # fmt: skip
def test_a_phase_runs_its_part_alone(shop, phase, expected):
    assert places(shop.ready(whole(phase))) == expected


def test_prefill_gives_the_logits_of_the_whole_model(shop):
    ready = shop.ready(whole("prefill"))
    inputs = shop._inputs[1]
    with torch.no_grad():
        expected = ready.model(**inputs).logits[:, -1:]
    found = ready.pieces[0].call()
    torch.testing.assert_close(found, expected)


def test_decoding_again_and_again_sees_the_same_prompt(shop):
    ready = shop.ready(whole("decode"))
    seen = []
    handle = ready.model.model.language_model.layers[0].self_attn.register_forward_hook(
        lambda module, args, kwargs, output: seen.append(
            kwargs["past_key_values"].get_seq_length()
        ),
        with_kwargs=True,
    )
    for _ in range(3):
        ready.call()
    handle.remove()
    assert seen == [581] * 3


def test_training_leaves_no_gradient_and_the_weights_as_they_were(shop):
    ready = shop.ready(whole("training_step"))
    before = [p.clone() for p in ready.model.parameters()]
    ready.call()
    assert all(p.grad is None for p in ready.model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, ready.model.parameters(), strict=True))


def test_a_model_is_made_once_for_its_workloads(shop):
    one = shop.ready(whole("prefill")).model
    assert shop.ready(whole("vision")).model is one
    assert shop.ready(whole("vision", batch=2)).model is one
    assert shop.ready(whole("prefill", dtype="bfloat16")).model is not one


def test_text_alone_has_no_vision_phase(shop):
    model = shop.ready(whole("prefill")).model
    inputs = {"input_ids": torch.ones(1, 3, dtype=torch.long),
              "attention_mask": torch.ones(1, 3, dtype=torch.long)}  # fmt: skip
    with pytest.raises(ModelInputError, match="no vision phase"):
        phase_call(model, inputs, "vision")


def test_the_parts_of_a_model():
    tower, head = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    model = torch.nn.ModuleDict({"vision_tower": tower, "lm_head": head})
    assert parts_of(model) == {"vision_tower": [tower]}


@pytest.mark.parametrize(
    ("word", "phase"),
    [("prefill", "prefill"), ("Training-Step", "training_step"), ("train", "training_step"),
     ("generate", "decode")],
)  # fmt: skip
def test_words_for_phases(word, phase):
    assert phase_of_word(word) == phase


def test_an_unknown_phase():
    with pytest.raises(InputError, match=r"unknown phase 'prefil' \(did you mean 'prefill'\?\)"):
        phase_of_word("prefil")
    assert set(PHASES) == {"vision", "prefill", "decode", "training_step"}
