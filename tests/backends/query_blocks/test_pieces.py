"""Long rows: their scores come in pieces, and those that are not kept are made a second time."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from attnswitch.backends import blockwise
from attnswitch.backends.query_blocks import block_size
from attnswitch.backends.query_blocks.plan import Band, RowBlock, pieces_of, plan_band
from attnswitch.backends.query_blocks.workspace import Workspace

from .checks import check_forward, inputs
from .in_pieces import KEPT, run_in_pieces
from .test_agreement import DTYPES, FEATURES
from .test_masks import BLOCK, FORMS, MASKS, T


@pytest.fixture(autouse=True)
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    run_in_pieces(monkeypatch)


@pytest.fixture(params=["one-worker", "workers"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "workers":
        monkeypatch.setattr(block_size, "PARALLEL_FLOPS", 0)


def test_these_tests_run_in_pieces_and_make_some_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[bool] = []
    give = Workspace.pieces

    def watch(self: Workspace, *arguments: Any) -> Any:
        given = give(self, *arguments)
        found.extend(is_kept for _, is_kept in given)
        return given

    monkeypatch.setattr(Workspace, "pieces", watch)
    blockwise(*inputs(rows=41, keys=90))
    assert len(found) > 9
    assert 0 < found.count(False) < len(found)


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_feature(feature: str, dtype: torch.dtype, workers: None) -> None:
    tensors = inputs(groups=2, rows=41, keys=90, value_width=12, dtype=dtype)
    check_forward(blockwise, tensors, **FEATURES[feature])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MASKS)
def test_every_kind_of_mask(name: str, form: str) -> None:
    tensors = inputs(batch=3, heads=2, rows=T)
    check_forward(blockwise, tensors, attn_mask=FORMS[form](MASKS[name]), block_rows=BLOCK)


def test_the_log_sum_exp_and_dead_rows() -> None:
    from .plain import attention

    tensors = inputs(rows=40, keys=90)
    mask = torch.ones(40, 90, dtype=torch.bool)
    mask[3] = False
    out, lse = blockwise(*tensors, mask, return_lse=True)
    expected = attention(*tensors, mask, return_lse=True)
    torch.testing.assert_close(out.double(), expected[0], rtol=1e-5, atol=3e-5)
    torch.testing.assert_close(lse.double(), expected[1], rtol=1e-5, atol=1e-5)


def test_scores_made_twice_are_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = inputs(rows=41, keys=90)
    twice = blockwise(*tensors, is_causal=True)
    monkeypatch.setattr(Workspace, "__init__", _keeps_everything(Workspace.__init__))
    assert torch.equal(blockwise(*tensors, is_causal=True), twice)


def _keeps_everything(make: Any) -> Any:
    def init(self: Workspace, size: block_size.BlockSize, *arguments: Any, **named: Any) -> None:
        make(self, size._replace(kept=10**6), *arguments, **named)

    return init


def test_dropout_meets_the_same_blocks_in_both_passes() -> None:
    query, key, value = inputs(1, 4, 2, 41, 90)
    value = torch.ones_like(value).requires_grad_()
    torch.manual_seed(5)
    out = blockwise(query, key, value, dropout_p=0.4, enable_gqa=True)
    out.sum().backward()
    # With values of one both the output and the values' gradient sum the weights that were kept.
    assert value.grad is not None
    torch.testing.assert_close(out.sum(), value.grad.sum(), rtol=1e-5, atol=1e-4)
    assert not torch.allclose(out, torch.ones_like(out), atol=1e-3)


def test_a_piece_that_is_not_made_again_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = inputs(rows=41, keys=90)
    check_forward(blockwise, tensors)
    give = Workspace.pieces

    def forgetful(self: Workspace, *arguments: Any) -> Any:
        return [(place, True) for place, _ in give(self, *arguments)]

    monkeypatch.setattr(Workspace, "pieces", forgetful)
    with pytest.raises(AssertionError, match="largest error"):
        check_forward(blockwise, tensors)


@pytest.mark.parametrize("band", [Band(None, None), Band(None, 0), Band(-9, 4), Band(3, None)])
def test_pieces_cover_a_block_and_keep_what_matters_there(band: Band) -> None:
    for block in plan_band((0, 60), (0, 80), band, 16):
        block = block._replace(masked=((2, 9), (30, 40)))
        cut = pieces_of(block, 7)
        assert [p.key_start for p in cut[1:]] == [p.key_stop for p in cut[:-1]]
        assert (cut[0].key_start, cut[-1].key_stop) == (block.key_start, block.key_stop)
        assert all(p.key_stop - p.key_start <= 7 for p in cut)
        for piece in cut:
            assert _dead(piece) == {
                (row, key) for row, key in _dead(block) if piece.key_start <= key < piece.key_stop
            }
            assert _masked(piece) == _masked(block) & set(range(piece.key_start, piece.key_stop))


def _dead(block: RowBlock) -> set[tuple[int, int]]:
    return {
        (row, key)
        for row in range(block.row_start, block.row_stop)
        for key in range(block.key_start, block.key_stop)
        if (block.high is not None and key > row + block.high)
        or (block.low is not None and key < row + block.low)
    }


def _masked(block: RowBlock) -> set[int]:
    return {key for start, stop in block.masked for key in range(start, stop)}


def test_a_callers_large_block_of_few_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_size, "PIECE_KEYS", 1000)
    check_forward(blockwise, inputs(rows=90, keys=7), block_rows=80)


def test_what_a_worker_holds_does_not_grow_with_the_keys() -> None:
    held = set()
    for tokens in (1 << 10, 1 << 14, 1 << 18):
        query, key = torch.empty(1, 4, 64, 8), torch.empty(1, 2, tokens, 8)
        size = block_size.choose_block_size(query, key, 0, whole_rows=False)
        held.add((size.kept, size.piece, size.rows))
    assert held == {(KEPT, 11, 11)}
