"""Rows are drawn and pieces are cut so that the answer is the same and memory stays small."""

from __future__ import annotations

import pytest
import torch

from attnswitch.backends import exact
from attnswitch.bench.memory import peak_bytes
from attnswitch.verification.attention_call import AttentionCall
from attnswitch.verification.gradient_formula import gradients
from attnswitch.verification.pieces import pieces
from attnswitch.verification.pooling import Pool
from attnswitch.verification.rule import judge
from attnswitch.verification.sampling import choose_rows


def call_of(masked: str, dtype=torch.float32) -> AttentionCall:
    torch.manual_seed(3)
    query, key, value = (torch.randn(2, h, 20, 8, dtype=dtype) for h in (4, 2, 2))
    mask = None
    if masked in ("bool", "additive"):
        mask = torch.rand(2, 1, 20, 20) > 0.3
        mask[..., 0] = True
        if masked == "additive":
            mask = torch.where(mask, 0.1, -torch.inf).to(dtype)
    return AttentionCall(query, key, value, mask, masked == "causal", 0.3)


@pytest.mark.parametrize("masked", ["none", "bool", "additive", "causal"])
@pytest.mark.parametrize("most", [1, 60, 10**9])
def test_pieces_together_are_the_whole(masked, most):
    call = call_of(masked)
    whole = call.carried_out_by(exact.yardstick)
    rebuilt = torch.full_like(whole, torch.nan)
    for piece in pieces(call, torch.arange(20), most=most):
        rebuilt[piece.batch, piece.heads, piece.rows] = piece.attention(torch.float32)
        assert torch.equal(piece.of(whole), whole[piece.batch, piece.heads][:, :, piece.rows])
    torch.testing.assert_close(rebuilt, whole)


@pytest.mark.parametrize("masked", ["none", "bool", "additive", "causal"])
def test_shuffled_keys_change_nothing_but_rounding(masked):
    call = call_of(masked, torch.float64)
    for piece in pieces(call, torch.arange(20)):
        other = piece.reordered(torch.randperm(20), torch.randperm(piece.key.shape[-1])).attention(
            torch.float64
        )
        torch.testing.assert_close(other, piece.attention(torch.float64))


@pytest.mark.parametrize("masked", ["none", "bool", "additive", "causal"])
def test_the_written_out_backward_is_autograds(masked):
    call = call_of(masked, torch.float64)
    grad = torch.randn(2, 4, 20, 8, dtype=torch.float64)
    three = [t.clone().requires_grad_() for t in (call.query, call.key, call.value)]
    out = AttentionCall(*three, call.attn_mask, call.is_causal, call.scale).carried_out_by(
        exact.yardstick
    )
    wanted = torch.autograd.grad(out, three, grad)
    for part in gradients(call, grad, exact=True):
        torch.testing.assert_close(part.query, wanted[0][part.batch, part.heads])
        torch.testing.assert_close(part.key, wanted[1][part.batch, part.groups])
        torch.testing.assert_close(part.value, wanted[2][part.batch, part.groups])


def test_every_stretch_of_rows_is_looked_at():
    for seed in range(20):
        rows = choose_rows(5000, 8 * 5000 * 5000, seed)
        assert rows[0] == 0
        assert rows[-1] == 4999
        assert len(rows) < 5000
        assert int(rows.diff().max()) <= 2 * 5000 / (len(rows) - 2) + 1
    assert torch.equal(choose_rows(50, 50 * 50, 0), torch.arange(50))
    assert not torch.equal(choose_rows(5000, 2 * 10**8, 1), choose_rows(5000, 2 * 10**8, 2))


def test_a_pool_is_the_rule_on_the_whole_tensor():
    torch.manual_seed(0)
    reference = torch.randn(1000, dtype=torch.float64)
    yardstick = reference.to(torch.bfloat16)
    candidate = (reference + 0.001 * torch.randn(1000)).to(torch.bfloat16)
    whole, pool = judge(candidate, yardstick, reference), Pool()
    for part in torch.arange(1000).split(137):
        pool.add(candidate[part], yardstick[part], reference[part])
    pooled = pool.judgement()
    for one, other in (
        (pooled.error, whole.error), (pooled.yardstick_error, whole.yardstick_error),
        (pooled.allowed, whole.allowed),
    ):  # fmt: skip
        assert one.max == pytest.approx(other.max)
        assert one.rms == pytest.approx(other.rms)


def test_a_number_that_is_none_fails_a_pool_wherever_it_comes():
    good = torch.ones(4)
    bad = torch.tensor([1.0, torch.nan, 1.0, 1.0])
    for order in ((good, bad), (bad, good)):
        pool = Pool()
        for part in order:
            pool.add(part, good, good.double())
        assert not pool.judgement().passes
        assert pool.judgement().error.max == float("inf")


def test_judging_a_long_call_takes_little_memory_beside_it():
    """8 heads over 3,000 tokens: all scores would take 576 MB in float64."""
    query, key, value = (torch.randn(1, h, 3000, 64, dtype=torch.bfloat16) for h in (8, 2, 2))
    call = AttentionCall(query, key, value, None, True)
    rows = choose_rows(3000, call.scores, 0)

    def judged():
        for piece in pieces(call, rows):
            piece.attention(torch.float64)

    assert peak_bytes(judged) < 40 * 2**20
