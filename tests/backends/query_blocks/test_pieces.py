"""Long rows: their scores come in pieces, once, or twice where one piece tells too little."""

from __future__ import annotations

import math

import pytest
import torch

from attnswitch.backends import blockwise
from attnswitch.backends.query_blocks import block_size, forward, row_softmax
from attnswitch.backends.query_blocks.plan import Band, RowBlock, pieces_of, plan_band
from attnswitch.backends.query_blocks.row_softmax import RowSoftmax
from attnswitch.backends.query_blocks.workspace import Workspace

from .checks import check_forward, inputs
from .in_pieces import KEYS, run_in_pieces
from .test_agreement import DTYPES, FEATURES
from .test_masks import BLOCK, FORMS, MASKS, T


@pytest.fixture(autouse=True)
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    run_in_pieces(monkeypatch)


@pytest.fixture(params=["one-worker", "workers"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "workers":
        monkeypatch.setattr(block_size, "SHARED_FLOPS", 0)


@pytest.fixture(params=["shifted", "made-twice"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one piece stand for the maxima where it can, or nowhere."""
    if request.param == "made-twice":
        monkeypatch.setattr(row_softmax, "LARGEST_SUM", 0.0)


@pytest.fixture
def restarts(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """How often a block was begun again."""
    found: list[None] = []
    restart = RowSoftmax.restart
    monkeypatch.setattr(RowSoftmax, "restart", lambda self: (found.append(None), restart(self))[1])
    return found


def test_ordinary_scores_are_made_once_and_in_pieces(
    monkeypatch: pytest.MonkeyPatch, restarts: list[None]
) -> None:
    made: list[int] = []
    give = Workspace.scores
    monkeypatch.setattr(
        Workspace, "scores", lambda self, shape: (made.append(shape[2]), give(self, shape))[1]
    )
    blockwise(*inputs(batch=1, heads=2, groups=1, rows=41, keys=90))
    assert max(made) <= KEYS and restarts == []
    assert sum(made) == 90 * len(made) // -(-90 // KEYS)


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_feature(feature: str, dtype: torch.dtype, workers: None, way: None) -> None:
    tensors = inputs(groups=2, rows=41, keys=90, value_width=12, dtype=dtype)
    check_forward(blockwise, tensors, **FEATURES[feature])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MASKS)
def test_every_kind_of_mask(name: str, form: str, way: None) -> None:
    tensors = inputs(batch=3, heads=2, rows=T)
    check_forward(blockwise, tensors, attn_mask=FORMS[form](MASKS[name]), block_rows=BLOCK)


def test_the_log_sum_exp_and_dead_rows(way: None) -> None:
    from .plain import attention

    tensors = inputs(rows=40, keys=90)
    mask = torch.ones(40, 90, dtype=torch.bool)
    mask[3] = False
    out, lse = blockwise(*tensors, mask, return_lse=True)
    expected = attention(*tensors, mask, return_lse=True)
    torch.testing.assert_close(out.double(), expected[0], rtol=1e-5, atol=3e-5)
    torch.testing.assert_close(lse.double(), expected[1], rtol=1e-5, atol=1e-5)


def _steep(step: float, rows: int = 30, keys: int = 55) -> tuple[torch.Tensor, ...]:
    """Scores of step · key / 11: each piece's are larger than those of the pieces before."""
    query = torch.ones(1, 1, rows, 1)
    key = (torch.arange(keys) // KEYS).float().view(1, 1, keys, 1) * step
    return query, key, inputs(1, 1, 1, 1, keys, value_width=4)[2]


@pytest.mark.parametrize("step", [5.0, 40.0, 2000.0, -5.0, -2000.0])
def test_scores_that_grow_beyond_the_first_piece(step: float, restarts: list[None]) -> None:
    tensors = _steep(step)
    check_forward(blockwise, tensors, scale=1.0)
    assert bool(restarts) == (step * 4 > 64 * math.log(2))


def test_an_overflow_that_is_not_noticed_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RowSoftmax, "is_sound", lambda *_: True)
    with pytest.raises(AssertionError):
        check_forward(blockwise, _steep(40.0), scale=1.0)


def test_values_that_would_overflow_with_the_weights(restarts: list[None]) -> None:
    query, key, value = _steep(10.0)
    value = value * 2.0**100
    out = blockwise(query, key, value, scale=1.0)
    expected = torch.softmax(query.double() @ key.double().mT, -1) @ value.double()
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=2.0**80)
    assert restarts


def test_rows_that_see_nothing_of_the_first_piece(restarts: list[None]) -> None:
    tensors = inputs(rows=20, keys=90)
    mask = torch.ones(20, 90, dtype=torch.bool)
    mask[4, :85] = False
    mask[7:9, ::2] = False
    check_forward(blockwise, tensors, attn_mask=mask)
    assert restarts
    del restarts[:]
    lowest = torch.zeros(20, 90).masked_fill(~mask, torch.finfo(torch.float32).min)
    check_forward(blockwise, tensors, attn_mask=lowest)
    assert restarts


def test_a_window_starts_where_every_row_sees_something(restarts: list[None]) -> None:
    query, key, value = inputs(batch=1, rows=90, keys=90)
    blockwise(query, key, value, is_causal=True, window=(50, 0))
    few = len(restarts)
    blockwise(query, key, value, is_causal=True, window=(5, 0))
    assert few == 0 < len(restarts)


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


def test_a_piece_that_is_forgotten_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = inputs(rows=41, keys=90)
    check_forward(blockwise, tensors)
    monkeypatch.setattr(forward, "pieces_of", lambda *block: pieces_of(*block)[:-1])
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
        held.add((size.piece, size.heads, size.rows))
    assert held == {(KEYS, 2, 11)}
