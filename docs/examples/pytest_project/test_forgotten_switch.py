"""These fail, each for its reason: run them to see how that reads."""

import contextlib

import pytest
import small_model
import torch

HIDDEN = torch.zeros(1, 6, 32)


@pytest.mark.no_flash_attention
def test_nobody_switched():
    small_model.build()(HIDDEN)


@pytest.mark.no_flash_attention
def test_the_error_is_swallowed():
    model = small_model.build()
    with contextlib.suppress(Exception):  # a fallback, as projects have it
        model(HIDDEN)


def test_receipts_are_shown(attention_receipts):
    model = small_model.build()
    with attention_receipts.of(model):
        model(HIDDEN)
    assert "flash" not in attention_receipts.families
