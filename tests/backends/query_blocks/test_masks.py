"""Recognised masks: what is skipped, what is remembered, and that neither is ever stale."""

from __future__ import annotations

import math

import pytest
import torch

from attnswitch.backends import blockwise
from attnswitch.backends.query_blocks import memory_of_plans, planning
from attnswitch.backends.query_blocks.plan import Band, RowBlock
from attnswitch.backends.query_blocks.recognition import recognise

from .checks import check_backward, check_forward, inputs

T, BLOCK = 256, 32
ROW, KEY = torch.arange(T)[:, None], torch.arange(T)[None, :]
CAUSAL = KEY <= ROW
PADS = torch.tensor([0, 64, 250])[:, None, None, None]
SEGMENT = torch.bucketize(torch.arange(T), torch.tensor([100, 110, 200]), right=True)
MASKS = {
    "causal": CAUSAL[None, None],
    "left-padded": CAUSAL & (PADS <= KEY),
    "right-padded": CAUSAL & (T - PADS > KEY),
    "window": (CAUSAL & (ROW - KEY < 40))[None, None],
    "packed": (SEGMENT[:, None] == SEGMENT[None, :])[None, None],
    "packed-causal": (CAUSAL & (SEGMENT[:, None] == SEGMENT[None, :]))[None, None],
    "prefix": (CAUSAL | (KEY < 70))[None, None],
    "padding-only": (PADS <= KEY).expand(3, 1, 1, T),
}
FORMS = {
    "bool": lambda mask: mask,
    "inf": lambda mask: torch.zeros(mask.shape).masked_fill_(~mask, -math.inf),
    "lowest": lambda mask: torch.zeros(mask.shape).masked_fill_(~mask, torch.finfo().min),
}


def work(blocks: tuple[RowBlock, ...]) -> int:
    """Return how many scores a plan computes."""
    return sum((b.row_stop - b.row_start) * (b.key_stop - b.key_start) for b in blocks)


def hull(mask: torch.Tensor) -> int:
    """Return how many scores lie between each block's first and last live key, by brute force."""
    total = 0
    for rows in mask.split(BLOCK, dim=0):
        live = rows.any(0).nonzero()
        total += rows.shape[0] * int(live.max() - live.min() + 1) if live.numel() else 0
    return total


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MASKS)
def test_every_kind_of_mask_is_right(name: str, form: str) -> None:
    mask = FORMS[form](MASKS[name])
    tensors = inputs(batch=3, heads=2, rows=T)
    check_forward(blockwise, tensors, attn_mask=mask, block_rows=BLOCK)
    check_backward(blockwise, tensors, attn_mask=mask, block_rows=BLOCK)


@pytest.mark.parametrize("form", ["bool", "inf"])
@pytest.mark.parametrize("name", MASKS)
def test_dead_keys_are_skipped(name: str, form: str) -> None:
    mask = MASKS[name]
    plans = recognise(FORMS[form](mask), T, T, Band(None, None), BLOCK, 0)
    assert len(plans) == mask.shape[0]
    for blocks, mask_TS in zip(plans, mask[:, 0].expand(-1, T, T), strict=True):
        assert work(blocks) == hull(mask_TS)


def test_a_mask_matters_only_at_its_edges() -> None:
    (blocks,) = recognise(MASKS["causal"], T, T, Band(None, None), BLOCK, 0)
    for block in blocks:
        (span,) = block.masked
        assert span == (block.row_start + 1, block.row_stop)
    ones = torch.ones(1, 1, T, T, dtype=torch.bool)
    (blocks,) = recognise(ones, T, T, Band(None, None), BLOCK, 0)
    assert all(not block.masked and not block.empty_rows for block in blocks)


def test_rows_whose_every_key_is_at_the_lowest_number_attend_to_all() -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[:, :, 3] = torch.finfo().min
    mask[:, :, :, 40:] = torch.finfo().min
    check_forward(blockwise, inputs(rows=64), attn_mask=mask, block_rows=8)


@pytest.fixture()
def readings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how often a mask is read; start with nothing remembered."""
    memory_of_plans._plans.clear()
    seen: list[int] = []

    def counting(*arguments: object) -> object:
        seen.append(1)
        return recognise(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(planning, "recognise", counting)
    return seen


def test_layers_share_one_reading(readings: list[int]) -> None:
    tensors, mask = inputs(batch=1, rows=T), MASKS["window"].clone()
    for _ in range(4):
        blockwise(*tensors, mask)
        blockwise(*tensors, mask[:, :, :, :T])  # a new view of the same tensor each time
    assert len(readings) == 1


def test_a_changed_mask_is_read_again(readings: list[int]) -> None:
    tensors, mask = inputs(batch=1, rows=T), MASKS["causal"].clone()
    blockwise(*tensors, mask)
    mask[:, :, :, 5] = False
    check_forward(blockwise, tensors, attn_mask=mask)
    view = mask[0]
    view[:, :, 7] = False
    check_forward(blockwise, tensors, attn_mask=mask)
    assert len(readings) == 3


def test_a_new_mask_in_the_old_ones_place_is_read_again(readings: list[int]) -> None:
    tensors = inputs(batch=1, rows=T)
    for step in range(5):
        mask = MASKS["causal"].clone()
        mask[..., step] = False
        check_forward(blockwise, tensors, attn_mask=mask)
        del mask
    assert len(readings) == 5


def test_the_band_is_part_of_the_question(readings: list[int]) -> None:
    tensors, mask = inputs(batch=1, rows=T), MASKS["prefix"].clone()
    for arguments in ({}, {"is_causal": True}, {"window": (9, 9)}):
        check_forward(blockwise, tensors, attn_mask=mask, **arguments)
    assert len(readings) == 3


def test_nothing_is_remembered_in_inference_mode(readings: list[int]) -> None:
    tensors = inputs(batch=1, rows=T)
    with torch.inference_mode():
        mask = MASKS["causal"].clone()
        blockwise(*tensors, mask)
        mask[..., 5] = False
        check_forward(blockwise, tensors, attn_mask=mask)
    assert len(readings) == 2


def test_compiled_code_remembers_nothing(readings: list[int]) -> None:
    tensors = inputs(batch=1, rows=T)
    compiled = torch.compile(blockwise, fullgraph=True, backend="aot_eager")
    mask = MASKS["causal"].clone()
    compiled(*tensors, mask)
    compiled(*tensors, mask)
    assert len(readings) == 2
