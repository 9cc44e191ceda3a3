"""The page of traps stays true: each is there in the pinned versions, and the switch ends each."""

from __future__ import annotations

import functools

import pytest

from tests.still_running import examples

BEFORE, AFTER = "Before the switch\n", "After the switch\n"


@functools.cache
def output_of(name: str) -> str:
    return examples.output_of(name)


@pytest.fixture(autouse=True)
def fresh_compiler():
    yield
    import torch

    torch._dynamo.reset()


@pytest.mark.parametrize("name", examples.names())
def test_the_trap_exists_and_the_switch_ends_it(name):
    before, after = output_of(name).partition(BEFORE)[2].split(AFTER)
    assert before.startswith(("FlashAttention is on", "FlashAttention is partly on")), before
    assert "_scaled_dot_product_flash_attention_for_cpu" in before
    assert after.startswith("FlashAttention is off"), after
    assert "flash_attention_for_cpu" not in after


@pytest.mark.parametrize("name", examples.names())
def test_the_page_shows_what_it_prints(name):
    """Else: python -m tests.still_running.examples"""
    page = examples.PAGE.read_text()
    outputs = dict.fromkeys(examples.names(), "") | {name: output_of(name)}
    code = (examples.FOLDER / name).read_text().strip()
    assert f"```python\n{code}\n```\n\n```text\n{outputs[name]}```\n" in page


def test_the_page_shows_every_example_once():
    assert sorted(examples.names_in(examples.PAGE.read_text())) == examples.names()


def test_the_mask_is_lost_and_found():
    before, after = output_of("12_the_mask_is_lost.py").split(AFTER)
    assert "The first token knows the last: True." in before
    assert "The first token knows the last: False." in after
