"""What a project can say about its attention, in one line a test."""

import pytest
import small_model
import torch

HIDDEN = torch.zeros(1, 6, 32)


@pytest.mark.attention("standard")
def test_under_standard_attention(attention_receipts):
    model = small_model.build()
    with attention_receipts.of(model):
        model(HIDDEN)
    assert attention_receipts.families == {"standard"}


@pytest.mark.attention("standard")
@pytest.mark.no_flash_attention
def test_no_flash_attention_once_switched():
    small_model.build()(HIDDEN)


def test_as_the_project_is(attention_receipts):
    model = small_model.build()
    with attention_receipts.of(model):
        model(HIDDEN)
    (receipt,) = attention_receipts.receipts
    assert (receipt.site, receipt.family) == ("0", "flash")
