"""`blockwise` against plain float64 attention, feature by feature and all together."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnswitch.backends import blockwise
from attnswitch.backends.query_blocks import block_size

from .checks import check_backward, check_forward, inputs
from .in_pieces import run_in_pieces

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
FEATURES = {
    "plain": {},
    "scale": {"scale": 0.3},
    "causal": {"is_causal": True},
    "causal-bottom-right": {"is_causal": True, "causal_alignment": "bottom-right"},
    "window": {"window": (5, 3)},
    "window-left": {"window": (0, -1)},
    "window-causal-bottom-right": {
        "window": (9, 0), "is_causal": True, "causal_alignment": "bottom-right",
    },
    "softcap": {"softcap": 2.0},
    "alibi": {"alibi_slopes": torch.tensor([0.5, 0.25, 0.1, 0.0])},
    "alibi-batch": {
        "alibi_slopes": torch.linspace(0.0, 0.4, 8).view(2, 4),
        "is_causal": True, "causal_alignment": "bottom-right",
    },
}  # fmt: skip


@pytest.fixture(params=["one-worker", "workers"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run small calls on PyTorch's threads, and on workers as large calls do."""
    if request.param == "workers":
        monkeypatch.setattr(block_size, "SHARED_FLOPS", 0)


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_feature_forward(feature: str, dtype: torch.dtype, workers: None) -> None:
    tensors = inputs(groups=2, rows=37, keys=53, value_width=12, dtype=dtype)
    check_forward(blockwise, tensors, block_rows=8, **FEATURES[feature])


@pytest.mark.parametrize("feature", FEATURES)
def test_every_feature_backward(feature: str, workers: None) -> None:
    tensors = inputs(groups=2, rows=37, keys=53, value_width=12, dtype=torch.float64)
    check_backward(blockwise, tensors, block_rows=8, **FEATURES[feature])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("heads, groups", [(4, 4), (6, 2), (5, 1)])
def test_backward_of_every_dtype(
    heads: int, groups: int, dtype: torch.dtype, workers: None
) -> None:
    check_backward(blockwise, inputs(1, heads, groups, rows=41, dtype=dtype), is_causal=True)


@pytest.mark.parametrize("rows, keys", [(1, 1), (1, 50), (50, 1), (2, 300), (300, 2), (64, 64)])
@pytest.mark.parametrize("alignment", ["top-left", "bottom-right"])
def test_lengths_that_differ(rows: int, keys: int, alignment: str) -> None:
    tensors = inputs(rows=rows, keys=keys)
    check_forward(blockwise, tensors, is_causal=True, causal_alignment=alignment)
    check_backward(blockwise, tensors, is_causal=True, causal_alignment=alignment)


def test_keys_streamed_in_chunks(monkeypatch: pytest.MonkeyPatch, workers: None) -> None:
    monkeypatch.setattr(block_size, "PACKED_ELEMENTS", 0)
    monkeypatch.setattr(block_size, "CHUNK_KEYS", 10)
    tensors = inputs(rows=33, keys=47, dtype=torch.bfloat16)
    check_forward(blockwise, tensors, window=(20, 20))
    check_backward(blockwise, tensors, window=(20, 20))


def test_strided_inputs_are_taken_as_they_are() -> None:
    tensors = [t.transpose(1, 2).contiguous().transpose(1, 2) for t in inputs()]
    assert not tensors[0].is_contiguous()
    check_forward(blockwise, tensors)
    check_backward(blockwise, tensors)
    expanded = [tensors[0], *(t[:, :1].expand(-1, 4, -1, -1) for t in tensors[1:])]
    check_forward(blockwise, expanded)
    reversed_width = [t.transpose(-1, -2).contiguous().transpose(-1, -2) for t in tensors]
    check_forward(blockwise, reversed_width)


def test_log_sum_exp() -> None:
    from .plain import attention

    tensors = inputs(rows=20, keys=30)
    mask = torch.ones(20, 30, dtype=torch.bool)
    mask[3] = False
    _, lse = blockwise(*tensors, mask, return_lse=True)
    _, expected = attention(*tensors, mask, return_lse=True)
    assert lse.dtype == torch.float32
    torch.testing.assert_close(lse.double(), expected, rtol=1e-5, atol=1e-5)
    assert lse[:, :, 3].eq(-math.inf).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_scores_beyond_half_precision_stay_finite(dtype: torch.dtype) -> None:
    query, key, value = inputs(width=16, dtype=dtype)
    query, key = query * 300, key * 300
    assert (query.double() @ key.double().transpose(-1, -2)).abs().max() > 65504
    check_forward(blockwise, [query, key, value], scale=1.0)


@pytest.mark.parametrize("empty", ["batch", "rows", "keys"])
def test_empty(empty: str) -> None:
    shape = {"batch": 2, "rows": 5, "keys": 5} | {empty: 0}
    tensors = inputs(**shape)
    check_forward(blockwise, tensors)
    check_backward(blockwise, tensors)


def test_gradcheck() -> None:
    tensors = [t.requires_grad_() for t in inputs(1, 4, 2, 6, 9, 3, 5, torch.float64)]
    mask = torch.randn(1, 1, 6, 9, dtype=torch.float64, requires_grad=True)
    slopes = torch.tensor([0.5, 0.25, 0.1, 0.0])

    def call(*args: torch.Tensor) -> torch.Tensor:
        return blockwise(
            *args, enable_gqa=True, is_causal=True, causal_alignment="bottom-right",
            softcap=1.5, alibi_slopes=slopes, block_rows=4,
        )  # fmt: skip

    assert torch.autograd.gradcheck(call, (*tensors, mask))


@pytest.mark.parametrize("shape", [(2, 4, 21, 21), (1, 4, 21, 21), (2, 1, 1, 21), (21, 1)])
def test_gradient_of_an_additive_mask(shape: tuple[int, ...]) -> None:
    from .plain import attention

    tensors = inputs(rows=21)
    mine = torch.randn(shape, generator=torch.Generator().manual_seed(3)).requires_grad_()
    plain = mine.detach().double().requires_grad_()
    blockwise(*tensors, mine, block_rows=5).square().sum().backward()
    attention(*tensors, plain).square().sum().backward()
    torch.testing.assert_close(mine.grad.double(), plain.grad, rtol=1e-4, atol=1e-4)


@st.composite
def calls(draw: st.DrawFn) -> tuple[list[torch.Tensor], dict]:
    """Draw a call with any mixture of features."""
    groups = draw(st.integers(1, 3))
    heads = groups * draw(st.integers(1, 3))
    batch, rows, keys = draw(st.integers(1, 3)), draw(st.integers(1, 70)), draw(st.integers(1, 70))
    dtype = draw(st.sampled_from(DTYPES))
    seed = draw(st.integers(0, 1000))
    tensors = inputs(
        batch, heads, groups, rows, keys, draw(st.integers(1, 9)), draw(st.integers(1, 9)),
        dtype, seed,
    )  # fmt: skip
    arguments: dict = {
        "is_causal": draw(st.booleans()),
        "causal_alignment": draw(st.sampled_from(["top-left", "bottom-right"])),
        "window": (draw(st.integers(-1, 30)), draw(st.integers(-1, 30))),
        "softcap": draw(st.sampled_from([0.0, 0.0, 3.0])),
        "block_rows": draw(st.sampled_from([None, 1, 7, 16, 64])),
    }
    if draw(st.booleans()):
        arguments["alibi_slopes"] = torch.linspace(0, 0.3, heads)
    kind = draw(st.sampled_from(["none", "random", "padding", "packed", "sparse"]))
    arguments["attn_mask"] = draw_mask(draw, kind, batch, heads, rows, keys, seed)
    return tensors, arguments


def draw_mask(
    draw: st.DrawFn, kind: str, batch: int, heads: int, rows: int, keys: int, seed: int
) -> torch.Tensor | None:
    """Draw a mask of one kind, bool or additive, with −inf or the lowest finite number."""
    if kind == "none":
        return None
    generator = torch.Generator().manual_seed(seed)
    if kind == "padding":
        pads = torch.randint(0, keys + 1, (batch, 1, 1, 1), generator=generator)
        mask = (torch.arange(keys) >= pads).expand(batch, 1, draw(st.sampled_from([1, rows])), keys)
    elif kind == "packed":
        segments = torch.randint(0, 3, (max(rows, keys),), generator=generator).sort().values
        mask = segments[:rows, None] == segments[None, :keys]
    else:
        shape = draw(st.sampled_from([(batch, heads), (1, heads), (batch, 1), (1, 1)]))
        density = 0.5 if kind == "random" else 0.03
        mask = torch.rand(*shape, rows, keys, generator=generator) < density
    form = draw(st.sampled_from(["bool", "inf", "lowest"]))
    if form == "bool":
        return mask
    low = -math.inf if form == "inf" else torch.finfo(torch.float32).min
    bias = torch.randn(mask.shape, generator=generator) if draw(st.booleans()) else 0.0
    return torch.zeros(mask.shape).add_(bias).masked_fill_(~mask, low)


@settings(max_examples=60, deadline=None)
@given(calls(), st.booleans())
def test_any_mixture(call: tuple[list[torch.Tensor], dict], pieces: bool) -> None:
    tensors, arguments = call
    with pytest.MonkeyPatch.context() as monkeypatch:
        if pieces:
            run_in_pieces(monkeypatch)
        check_forward(blockwise, tensors, **arguments)
    if tensors[0].dtype in (torch.float64, torch.float32):
        check_backward(blockwise, tensors, **arguments)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(calls(), st.booleans())
def test_any_mixture_at_length(call: tuple[list[torch.Tensor], dict], pieces: bool) -> None:
    tensors, arguments = call
    with pytest.MonkeyPatch.context() as monkeypatch:
        if pieces:
            run_in_pieces(monkeypatch)
        check_forward(blockwise, tensors, **arguments)
    check_backward(blockwise, tensors, **arguments)
