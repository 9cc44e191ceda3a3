"""flash_attn_func and its packed forms against the float64 reference, backend by backend."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from attnswitch.seams.package.flash_attn_api import dense

from . import plain
from .agreement import assert_agrees, under
from .cases import Case, cases, examples


def check(case: Case, backend: str) -> None:
    inputs = case.batch()
    with under(backend):
        out, lse, dropped = dense.flash_attn_func(*inputs, **case.asked(), return_attn_probs=True)
    assert dropped.numel() == 0
    assert_agrees(
        (out, lse), inputs, lambda dtype, t: plain.attention(*t, dtype=dtype, **case.plainly())
    )


@given(cases(one_length=True))
@examples(500)
def test_blockwise(case):
    check(case, "blockwise")


@given(cases(one_length=True, softcap=False))
@examples(200)
def test_flash_runs_pytorchs_kernel(case):
    check(case, "flash")


@given(cases(one_length=True, softcap=False))
@examples(120)
def test_math(case):
    check(case, "math")


@given(cases(one_length=True))
@examples(60)
def test_packed_forms_are_the_same_function(case):
    k, v = case.batch()[1:]
    q = k.detach().repeat_interleave(2, dim=2)
    with under("blockwise"):
        of_three = dense.flash_attn_func(k, k, v, **case.asked() | {"alibi_slopes": None})
        packed = torch.stack([k, k, v], dim=2)
        assert torch.equal(
            dense.flash_attn_qkvpacked_func(packed, **case.asked() | {"alibi_slopes": None}),
            of_three,
        )
        of_two = dense.flash_attn_func(q, k, v, 0.0, case.scale, case.causal)
        packed = torch.stack([k, v], dim=2)
        assert torch.equal(
            dense.flash_attn_kvpacked_func(q, packed, 0.0, case.scale, case.causal), of_two
        )


@pytest.mark.parametrize("backend", ["blockwise", "math"])
def test_dropout_keeps_the_mean(backend):
    torch.manual_seed(0)
    q, k = torch.randn(1, 4, 2, 8), torch.randn(1, 6, 2, 8)
    ones = torch.ones(1, 6, 2, 8)
    with under(backend):
        draws = torch.stack([dense.flash_attn_func(q, k, ones, 0.3) for _ in range(150)])
    assert draws.std() > 0.05
    assert abs(draws.mean().item() - 1.0) < 0.04


def test_no_keys_at_all_gives_zeros_with_a_gradient():
    q = torch.randn(2, 3, 2, 8, requires_grad=True)
    none = torch.randn(2, 0, 2, 8, requires_grad=True)
    for backend in ("blockwise", "flash", "math"):
        with under(backend):
            out, lse, _ = dense.flash_attn_func(q, none, none, return_attn_probs=True)
        assert not out.any() and torch.isposinf(lse).all()
        out.sum().backward()
        assert not q.grad.any()


def test_rows_before_the_first_key_give_zeros_and_finite_gradients():
    """Bottom-right alignment with more rows than keys leaves the first rows without a key."""
    for backend in ("blockwise", "flash", "math", "reference"):
        inputs = [torch.randn(1, n, 2, 8, requires_grad=True) for n in (5, 3, 3)]
        with under(backend):
            out = dense.flash_attn_func(*inputs, causal=True)
        assert not out[:, :2].any() and out[:, 2:].all()
        out.square().sum().backward()
        assert all(t.grad.isfinite().all() for t in inputs)


def test_a_decoded_token_sees_the_whole_cache():
    """Top-left alignment would let one row see key 0 alone."""
    q, k, v = (torch.randn(1, n, 2, 8) for n in (1, 7, 7))
    for backend in ("blockwise", "flash", "math"):
        with under(backend):
            causal = dense.flash_attn_func(q, k, v, causal=True)
            assert torch.equal(causal, dense.flash_attn_func(q, k, v))
