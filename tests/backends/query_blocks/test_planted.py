"""The checks can fail: each planted mistake is caught by the check that `blockwise` passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from attnswitch.backends import blockwise
from attnswitch.backends.query_blocks import planning
from attnswitch.backends.query_blocks.plan import Plan

from .checks import check_backward, check_forward, inputs

ROWS, KEYS = 48, 60
PADS = torch.tensor([20, 0])[:, None, None, None]
PADDING = (torch.arange(KEYS) >= PADS).expand(2, 1, ROWS, KEYS)
CALLS: dict[str, dict[str, Any]] = {
    "causal": {"is_causal": True, "causal_alignment": "bottom-right"},
    "padded": {"attn_mask": PADDING},
}


def skips_a_block(monkeypatch: pytest.MonkeyPatch) -> Callable[..., torch.Tensor]:
    """One block of rows leaves out its last ten keys."""
    make = planning.make_plan

    def wrong(*arguments: Any) -> Plan:
        blocks = list(make(*arguments).blocks[0])
        blocks[2] = blocks[2]._replace(key_stop=blocks[2].key_stop - 10, masked=(), high=None)
        return Plan((tuple(blocks),))

    from attnswitch.backends.query_blocks import registration

    monkeypatch.setattr(registration, "make_plan", wrong)
    return blockwise


def aligns_top_left(_: pytest.MonkeyPatch) -> Callable[..., torch.Tensor]:
    """The causal diagonal starts in the wrong corner."""

    def wrong(*tensors: torch.Tensor, **arguments: Any) -> torch.Tensor:
        return blockwise(*tensors, **{**arguments, "causal_alignment": "top-left"})

    return wrong


def forgets_padding(_: pytest.MonkeyPatch) -> Callable[..., torch.Tensor]:
    """The mask is dropped."""

    def wrong(*tensors: torch.Tensor, **arguments: Any) -> torch.Tensor:
        return blockwise(*tensors, **{**arguments, "attn_mask": None})

    return wrong


PLANTED = [(skips_a_block, "causal"), (aligns_top_left, "causal"), (forgets_padding, "padded")]


@pytest.mark.parametrize(
    ("plant", "call"), PLANTED, ids=lambda value: getattr(value, "__name__", value)
)
@pytest.mark.parametrize("check", [check_forward, check_backward])
def test_a_planted_mistake_is_caught(
    plant: Callable[..., Any],
    call: str,
    check: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tensors = inputs(rows=ROWS, keys=KEYS)
    check(blockwise, tensors, block_rows=8, **CALLS[call])
    wrong = plant(monkeypatch)
    with pytest.raises(AssertionError, match="largest error"):
        check(wrong, tensors, block_rows=8, **CALLS[call])
