"""Small calls: several key-value heads share one product, on PyTorch's own threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from attnswitch.backends import blockwise
from attnswitch.backends.query_blocks import block_size
from attnswitch.backends.query_blocks.workspace import Workspace

from .checks import check_backward, check_forward, inputs
from .test_agreement import DTYPES, FEATURES

ROWS, KEYS = 8, 53


@pytest.fixture
def groups_of_two(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Room for two key-value heads in one product, and for no third."""
    monkeypatch.setattr(block_size, "SCORE_ELEMENTS", 2 * ROWS * KEYS)
    made: list[int] = []
    give = Workspace.scores
    monkeypatch.setattr(
        Workspace, "scores", lambda self, shape: (made.append(shape[0]), give(self, shape))[1]
    )
    yield
    assert max(made) == 2


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_feature_forward(feature: str, dtype: torch.dtype, groups_of_two: None) -> None:
    tensors = inputs(rows=37, keys=KEYS, value_width=12, dtype=dtype)
    check_forward(blockwise, tensors, block_rows=ROWS, **FEATURES[feature])


@pytest.mark.parametrize("feature", FEATURES)
def test_every_feature_backward(feature: str, groups_of_two: None) -> None:
    tensors = inputs(rows=37, keys=KEYS, value_width=12, dtype=torch.float64)
    check_backward(blockwise, tensors, block_rows=ROWS, **FEATURES[feature])


def test_heads_that_do_not_come_out_even(groups_of_two: None) -> None:
    tensors = inputs(heads=5, rows=37, keys=KEYS)
    check_forward(blockwise, tensors, block_rows=ROWS, is_causal=True)
    check_backward(blockwise, [t.double() for t in tensors], block_rows=ROWS, is_causal=True)


def chosen(heads: int, groups: int, tokens: int, width: int) -> tuple[block_size.BlockSize, int]:
    query = torch.empty(1, heads, tokens, width, device="meta")
    key = torch.empty(1, groups, tokens, width, device="meta")
    size = block_size.choose_block_size(query, key, 0, False, "cpu")
    return size, block_size.choose_workers(query, key, "cpu")


@pytest.mark.parametrize("shape", [(16, 16, 577, 64), (14, 2, 256, 64), (32, 32, 640, 128)])
def test_small_calls_share_products_and_have_no_workers(shape: tuple[int, ...]) -> None:
    size, workers = chosen(*shape)
    assert workers == 1 and size.groups > 1
    assert size.groups * size.heads * size.rows * size.piece <= block_size.SCORE_ELEMENTS
    assert size.groups * size.chunk * shape[-1] <= 2 * block_size.PACKED_ELEMENTS


def test_large_calls_have_a_worker_for_each_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    size, workers = chosen(14, 2, 2980, 64)
    assert workers == 3 and size.groups == 1


def test_blocks_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout is drawn block by block: both passes must meet the same."""
    sizes = set()
    for threads in (1, 64):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        sizes.add((chosen(16, 16, 577, 64)[0], chosen(14, 2, 2980, 64)[0]))
    assert len(sizes) == 1


def test_without_width_every_key_weighs_the_same() -> None:
    query, _, value = inputs(rows=20, width=0, value_width=4)
    out = blockwise(query, query, value, scale=1.0)
    torch.testing.assert_close(out, value.mean(2, keepdim=True).expand_as(out))
