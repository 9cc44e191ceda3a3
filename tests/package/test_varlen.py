"""flash_attn_varlen_func, its packed forms and the 1.x names against the float64 reference."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from attnswitch.errors import InputError
from attnswitch.seams.package.flash_attn_api import unpadded, varlen

from . import plain
from .agreement import assert_agrees, under
from .cases import Case, cases, cumulated, examples


def lengths_of(case: Case) -> tuple[torch.Tensor, torch.Tensor, int, int]:
    return cumulated(case.rows), cumulated(case.keys), max(case.rows), max(case.keys)


def check(case: Case, backend: str) -> None:
    inputs = case.tensors()
    with under(backend):
        out, lse, _ = varlen.flash_attn_varlen_func(
            *inputs, *lengths_of(case), **case.asked(), return_attn_probs=True
        )
    assert_agrees(
        (out, lse),
        inputs,
        lambda dtype, t: plain.packed(*t, case.rows, case.keys, dtype=dtype, **case.plainly()),
    )


@given(cases(one_length=False))
@examples(600)
def test_blockwise(case):
    check(case, "blockwise")


@given(cases(one_length=False, softcap=False))
@examples(150)
def test_flash_runs_pytorchs_kernel(case):
    check(case, "flash")


@given(cases(one_length=False, softcap=False))
@examples(80)
def test_math(case):
    check(case, "math")


@given(cases(one_length=False))
@examples(60)
def test_packed_forms_are_the_same_function(case):
    _, k, v = case.tensors()
    cu, longest = cumulated(case.keys), max(case.keys)
    asked = case.asked() | {"alibi_slopes": None}
    with under("blockwise"):
        wanted = varlen.flash_attn_varlen_func(k, k, v, cu, cu, longest, longest, **asked)
        of_three = torch.stack([k, k, v], dim=1)
        found = varlen.flash_attn_varlen_qkvpacked_func(of_three, cu, longest, **asked)
        assert torch.equal(found, wanted)
        of_two = torch.stack([k, v], dim=1)
        found = varlen.flash_attn_varlen_kvpacked_func(k, of_two, cu, cu, longest, longest, **asked)
        assert torch.equal(found, wanted)


@given(cases(one_length=False, softcap=False))
@examples(120)
def test_the_names_of_version_1_align_top_left(case):
    inputs = case.tensors()
    with under("blockwise"):
        out, lse, _ = unpadded.flash_attn_unpadded_func(
            *inputs, *lengths_of(case), 0.0, case.scale, case.causal, return_attn_probs=True
        )
    assert lse.shape == (len(case.rows), case.heads, max(case.rows))
    rows = torch.cat([lse[n, :, :rows] for n, rows in enumerate(case.rows)], dim=1)
    asked = {"causal": case.causal, "scale": case.scale, "corner": "top-left"}
    assert_agrees(
        (out, rows),
        inputs,
        lambda dtype, t: plain.packed(*t, case.rows, case.keys, dtype=dtype, **asked),
    )


@pytest.mark.parametrize("backend", ["blockwise", "flash"])
def test_rows_after_the_last_sequence_are_zero(backend):
    q = torch.randn(7, 2, 8, requires_grad=True)
    cu = torch.tensor([0, 3, 5])
    with under(backend):
        out, lse, _ = varlen.flash_attn_varlen_func(q, q, q, cu, cu, 3, 3, return_attn_probs=True)
    assert out[:5].all() and not out[5:].any() and torch.isposinf(lse[:, 5:]).all()
    out.sum().backward()
    assert not q.grad[5:].any()


def test_pages_are_read_in_the_order_of_the_table():
    q, k, v = torch.randn(5, 2, 8), torch.randn(7, 2, 8), torch.randn(7, 2, 8)
    cu_q, cu_k = cumulated([2, 3]), cumulated([4, 3])
    pages_k, pages_v = torch.zeros(6, 2, 2, 8), torch.zeros(6, 2, 2, 8)
    table = torch.tensor([[5, 0], [2, 4]], dtype=torch.int32)
    for pages, tokens in ((pages_k, k), (pages_v, v)):
        pages[5], pages[0], pages[2], pages[4, :1] = (
            tokens[:2],
            tokens[2:4],
            tokens[4:6],
            tokens[6:],
        )
    with under("blockwise"):
        asked = (cu_q, cu_k, 3, 4)
        wanted = varlen.flash_attn_varlen_func(q, k, v, *asked, causal=True)
        found = varlen.flash_attn_varlen_func(
            q, pages_k, pages_v, *asked, causal=True, block_table=table
        )
    assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    ("cu", "longest", "message"),
    [
        ([0, 3, 9], 6, "beyond query"),
        ([0, 4, 3], 4, "never fall"),
        ([1, 3], 3, "start at 0"),
        ([0, 3, 5], 2, "max_seqlen_q=2, but a sequence has 3"),
    ],
)
def test_lengths_that_contradict_each_other_are_refused(cu, longest, message):
    q = torch.randn(5, 2, 8)
    cu = torch.tensor(cu)
    with under("blockwise"), pytest.raises(InputError, match=message):
        varlen.flash_attn_varlen_func(q, q, q, cu, cu, longest, longest)
