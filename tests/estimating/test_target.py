"""Where a run is to take place: cards, kinds of machines, amounts; and ranges of time."""

from __future__ import annotations

import pytest

from attnswitch.errors import InputError
from attnswitch.estimating.amounts import bytes_of, size_of
from attnswitch.estimating.roofline import Roof, roof_of_card
from attnswitch.estimating.scenario import optimizer_of, trained_of
from attnswitch.estimating.target import target
from attnswitch.estimating.work import Step, Work
from attnswitch.hardware.cards import CARDS, GIB, card_of


def test_cards_are_found_as_people_write_them():
    assert card_of("Tesla V100").memory_bytes == (16 * GIB, 32 * GIB)
    assert card_of("v100-32GB").memory_bytes == (32 * GIB,)
    assert card_of("NVIDIA GeForce RTX 3090").name == "rtx3090"
    assert all(card_of(card.title).name == card.name for card in CARDS.values())
    assert card_of("NVIDIA RTX A6000").memory_bytes == (48 * GIB,)
    assert card_of("A100 80gb").memory_bytes == (80 * GIB,)
    assert card_of("cpu-amx") is None and card_of("rtx30") is None
    with pytest.raises(InputError, match="comes with 16 GB and 32 GB, not with 24 GB"):
        card_of("v100-24gb")
    with pytest.raises(InputError, match=r"no card or machine 'rtx3091' \(did you mean 'rtx3090'"):
        card_of("rtx3091")


@pytest.mark.parametrize("name", CARDS)
def test_every_card_has_a_source_and_a_roof(name):
    card = CARDS[name]
    assert card.source.startswith("https://") and card.profile.device == "cuda"
    assert card.half_flops > card.float32_flops > 1e12 and card.bandwidth > 1e11
    roof = roof_of_card(card)
    assert set(roof.flops) >= {"float32", "float16"}


def test_what_runs_where():
    volta = target("v100")
    assert "8.0" in volta.refusals("float16", (64, 128))["flash"][0]
    assert not volta.refusals("float16", (64, 128))["efficient"]
    assert "bfloat16" not in volta.roof("bfloat16").flops
    hopper = target("h100")
    assert not any(hopper.refusals("bfloat16", (72, 128)).values())
    cpu = target()
    if cpu.device == "cpu":
        assert cpu.refusals("float32", (64,))["efficient"]
    some = target(memory_bytes=24 * GIB)
    assert some.device == "cuda" and some.reserve_bytes == GIB and some.roof("float16") is None
    assert target("a10", reserve_bytes=0).reserve_bytes == 0
    with pytest.raises(InputError, match="does not route"):
        target("910b")


def test_amounts():
    assert bytes_of("24GB", "--memory") == bytes_of("24 GiB", "--memory") == 24 * GIB
    assert bytes_of("1.5g", "--memory") == 3 * 2**29 and bytes_of("512MB", "--memory") == 2**29
    for wrong in ("", "much", "24", "GB", "-3GB", "24 apples"):
        with pytest.raises(InputError, match="--memory"):
            bytes_of(wrong, "--memory")
    assert size_of("1024x768", "--image") == size_of("1024 × 768", "--image") == (768, 1024)
    with pytest.raises(InputError, match="WIDTHxHEIGHT"):
        size_of("1024", "--image")


def test_words():
    assert trained_of("Frozen_Tower") == "frozen-tower" and optimizer_of("adamw") == "adamw"
    with pytest.raises(InputError, match="did you mean 'lora'"):
        trained_of("lore")
    with pytest.raises(InputError, match="no optimizer 'adam8'"):
        optimizer_of("adam8")


def a_work(*steps):
    work = Work("cuda")
    work.steps.extend(steps)
    return work


def test_the_range_is_between_the_roof_and_what_is_reached():
    roof = Roof({"float16": 1e12, "float32": 1e11}, 1e10, 0, "a data sheet")
    product = Step("mm", 2 * 10**12, 10**12, 10**9, 2 * 10**9, "float16")
    copy = Step("copy", 0, 0, 10**10, 10**10, "")
    low, high = roof.range_of(a_work(product, copy))
    assert low == pytest.approx(max(1.0, 0.1) + 1.0)
    assert high == pytest.approx(2 / 0.25 + 0.2 / 0.5 + 1 / 0.5, rel=1e-4)
    assert roof.range_of(a_work(Step("mm", 1, 1, 1, 1, "bfloat16"))) is None
    cached = Roof({"float16": 1e12}, 1e10, 10**11, "a data sheet")
    assert cached.range_of(a_work(copy))[0] == 0


def test_work_knows_what_a_mask_spares():
    import torch

    from attnswitch.estimating.attention_call import call_memory
    from attnswitch.geometries.catalogue import CATALOGUE
    from attnswitch.geometries.workloads import AttentionWorkload

    call = AttentionWorkload("language_model", "prefill", 1, 4, 4, 99, 99, 16, "causal", 1, True)
    listed = CATALOGUE["llava-1.5-7b"]
    for backend, device in (
        ("flash", "cpu"), ("blockwise", "cpu"), ("flash", "cuda"), ("efficient", "cuda")
    ):  # fmt: skip
        found = call_memory(listed, call, backend, "float16", device)
        for work in (found.forward, found.backward):
            step = next(s for s in work.steps if s.flops)
            assert step.least_flops == step.flops * 50 // 99
            assert step.most_bytes > step.bytes or backend != "blockwise"
    plain = call_memory(listed, call, "eager", "float16").forward
    assert all(step.least_flops == step.flops for step in plain.steps)
    assert torch.float16 is not None
