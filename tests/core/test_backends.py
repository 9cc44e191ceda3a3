"""Every backend that this machine has, against the float64 reference, by the rule."""

from __future__ import annotations

import pytest
import torch

from attnswitch.backends import attend_with
from attnswitch.backends.exact import compute, yardstick
from attnswitch.errors import AttnSwitchError
from attnswitch.verification.rule import judge

SDPA = torch.nn.functional.scaled_dot_product_attention
HERE = ("blockwise", "math", "flash", "reference")


def qkv(dtype, queries=9, keys=9, heads=4, key_heads=4, width=16):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator).to(dtype)

    return (
        draw(2, heads, queries, width),
        draw(2, key_heads, keys, width),
        draw(2, key_heads, keys, width),
    )


def masks(queries=9, keys=9):
    causal = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    padded = torch.ones(2, 1, 1, keys, dtype=torch.bool)
    padded[1, ..., :3] = False
    return {
        "none": None,
        "causal": causal,
        "padding": padded,
        "both": causal & padded,
        "additive": torch.where(causal & padded, 0.0, -torch.inf),
        "bias": torch.linspace(-2, 2, queries * keys).view(1, 1, queries, keys),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", list(masks()))
@pytest.mark.parametrize("name", HERE)
def test_it_agrees_with_the_reference(name, form, dtype):
    call = qkv(dtype)
    mask = masks()[form]
    if mask is not None and mask.is_floating_point():
        mask = mask.to(dtype)
    out = attend_with(name)(*call, mask)
    assert out.dtype == dtype
    assert judge(out, yardstick(*call, mask), compute(*call, mask)).passes


@pytest.mark.parametrize("name", HERE)
def test_grouped_heads_causal_flag_and_scale(name):
    q, k, v = qkv(torch.float32, key_heads=2)
    for options in ({}, {"scale": 0.5}):
        call = dict(is_causal=True, enable_gqa=True, **options)
        out = attend_with(name)(q, k, v, **call)
        assert judge(out, yardstick(q, k, v, **call), compute(q, k, v, **call)).passes


@pytest.mark.parametrize("name", HERE)
def test_rows_with_nothing_to_attend_to_are_zero(name):
    q, k, v = qkv(torch.float32)
    mask = torch.ones(9, 9, dtype=torch.bool)
    mask[4] = False
    out = attend_with(name)(q, k, v, mask)
    assert torch.equal(out[:, :, 4], torch.zeros_like(out[:, :, 4]))
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("name", HERE)
def test_one_query_row_sees_every_key(name):
    q, k, v = qkv(torch.float32, queries=1, keys=33)
    out = attend_with(name)(q, k, v)
    assert judge(out, yardstick(q, k, v), compute(q, k, v)).passes


@pytest.mark.parametrize("name", ["blockwise", "math", "flash"])
def test_empty_batches(name):
    q, k, v = (torch.randn(0, 2, 5, 8) for _ in range(3))
    assert attend_with(name)(q, k, v).shape == (0, 2, 5, 8)


@pytest.mark.parametrize("value_width", [8, 24])
@pytest.mark.parametrize("name", HERE)
def test_values_of_another_width(name, value_width):
    """Narrower ones, as in DeepSeek's latent attention, and wider ones; forward and backward."""
    q, k, _ = qkv(torch.float32)
    v = torch.randn(2, 4, 9, value_width, generator=torch.Generator().manual_seed(1))
    out = attend_with(name)(q, k, v, None, 0.0, True)
    assert judge(out, yardstick(q, k, v, None, 0.0, True), compute(q, k, v, None, 0.0, True)).passes
    of_ours, of_pytorch = (gradients_of(f, q, k, v) for f in (attend_with(name), SDPA))
    for ours, theirs in zip(of_ours, of_pytorch, strict=True):
        torch.testing.assert_close(ours, theirs)


def gradients_of(attend, *tensors):
    leaves = [t.clone().requires_grad_() for t in tensors]
    attend(*leaves, None, 0.0, True).square().sum().backward()
    return [leaf.grad for leaf in leaves]


# ((batch, heads) of the query, of key and value, shape of a mask); PyTorch takes all of these.
BROADCAST = [
    ((1, 4), (3, 4), None),
    ((3, 4), (1, 4), None),
    ((3, 1), (3, 4), None),
    ((3, 4), (3, 1), None),
    ((1, 4), (3, 4), (3, 1, 5, 7)),
    ((4, 4), (4, 4), (4, 5, 7)),  # a mask for each head, not for each batch
    ((2, 4), (2, 4), (4, 5, 7)),
    ((4,), (4,), (4, 5, 7)),
    ((2, 4), (2, 4), (1, 7)),
    ((2, 4), (2, 4), (2, 1, 5, 1)),
]


@pytest.mark.parametrize(("of_query", "of_key", "of_mask"), BROADCAST, ids=str)
@pytest.mark.parametrize("name", [*HERE, "yardstick"])
def test_it_broadcasts_as_pytorch_does(name, of_query, of_key, of_mask):
    """A kernel that trusts its query's sizes would read past the end of the keys."""
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(*of_query, 5, 8, generator=generator)
    k, v = (torch.randn(*of_key, 7, 8, generator=generator) for _ in range(2))
    mask = None if of_mask is None else torch.randn(*of_mask, generator=generator)
    expected = SDPA(q, k, v, mask)
    torch.testing.assert_close(attend_with(name)(q, k, v, mask), expected)


@pytest.mark.parametrize("name", ["blockwise", "flash"])
def test_batches_that_do_not_broadcast_are_refused(name):
    q, k = torch.randn(2, 4, 5, 8), torch.randn(3, 4, 7, 8)
    with pytest.raises(AttnSwitchError, match="batch"):
        attend_with(name)(q, k, k)


def test_a_reference_with_dropout_is_refused():
    with pytest.raises(ValueError, match="no dropout"):
        compute(*qkv(torch.float32), dropout_p=0.1)


def test_the_rule_itself():
    """A healthy rounding passes; an error of scale, a wrong row and a NaN do not."""
    exact = torch.randn(200, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rounded = exact.to(torch.bfloat16)
    assert judge(rounded, rounded, exact).passes
    assert not judge((exact * 1.01).to(torch.bfloat16), rounded, exact).passes
    one_row = rounded.clone()
    one_row[3] += 1
    assert not judge(one_row, rounded, exact).passes
    broken = rounded.clone()
    broken[0, 0] = torch.nan
    assert not judge(broken, rounded, exact).passes
    with pytest.raises(ValueError, match="nothing to judge"):
        judge(rounded[:0], rounded[:0], exact[:0])
    with pytest.raises(ValueError, match="shapes differ"):
        judge(rounded[:1], rounded, exact)
