"""Rotary embedding against complex multiplication, written plainly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnswitch.errors import InputError, UnavailableError
from attnswitch.seams.package.flash_attn_api import rotary
from attnswitch.seams.package.flash_attn_api.rotary_embedding import RotaryEmbedding

from .cases import cumulated, examples


def turns(positions: int, half: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin (positions, half) of some angles."""
    angle = torch.arange(positions)[:, None] * torch.tensor([1.0, 0.3, 0.05, 0.01])[:half]
    return angle.cos(), angle.sin()


def rotated(x_THD, cos, sin, places, neighbours):
    """Rows of x turned by their places: pairs of columns as complex numbers."""
    half, rows = cos.shape[1], []
    for row, place in zip(x_THD, places, strict=True):
        row = row.double().clone()
        first = row[:, 0 : 2 * half : 2] if neighbours else row[:, :half]
        second = row[:, 1 : 2 * half : 2] if neighbours else row[:, half : 2 * half]
        turned = torch.complex(first, second) * torch.complex(cos[place], sin[place]).cdouble()
        if neighbours:
            row[:, 0 : 2 * half : 2], row[:, 1 : 2 * half : 2] = turned.real, turned.imag
        else:
            row[:, :half], row[:, half : 2 * half] = turned.real, turned.imag
        rows.append(row.to(x_THD.dtype))
    return torch.stack(rows) if rows else x_THD


@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=3),
    offsets=st.lists(st.integers(0, 6), min_size=3, max_size=3),
    neighbours=st.booleans(),
    inplace=st.booleans(),
    seed=st.integers(0, 2**31),
)
@examples(80)
def test_packed_and_padded(lengths, offsets, neighbours, inplace, seed):
    cos, sin = turns(12)
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.tensor(offsets[: len(lengths)])
    x = torch.randn(len(lengths), 5, 2, 8, generator=generator, dtype=torch.float64)
    wanted = [rotated(x[n], cos, sin, range(o, o + 5), neighbours) for n, o in enumerate(offsets)]
    packed = torch.cat([x[n, :length] for n, length in enumerate(lengths)])
    found = rotary.apply_rotary_emb(
        packed, cos, sin, neighbours, inplace, offsets, cumulated(lengths), 5
    )
    torch.testing.assert_close(
        found, torch.cat([wanted[n][:length] for n, length in enumerate(lengths)])
    )
    assert (found is packed) == inplace
    found = rotary.apply_rotary_emb(x, cos, sin, neighbours, inplace, offsets)
    torch.testing.assert_close(found, torch.stack(wanted))
    assert (found is x) == inplace


@given(st.booleans(), st.integers(0, 4))
@examples(20)
def test_query_and_key_are_turned_in_place_and_value_is_not(neighbours, offset):
    cos, sin = turns(12)
    qkv = torch.randn(2, 4, 3, 2, 8)
    q, k, v = (t.clone() for t in qkv.unbind(2))
    kv, flat = torch.stack([k, v], 2), torch.cat([q, k, v], 2)
    places = range(offset, offset + 4)
    q, k = (torch.stack([rotated(r, cos, sin, places, neighbours) for r in t]) for t in (q, k))
    rotary.apply_rotary_emb_qkv_(qkv, cos, sin, interleaved=neighbours, seqlen_offsets=offset)
    torch.testing.assert_close(qkv, torch.stack([q, k, v], 2))
    rotary.apply_rotary_emb_kv_(kv, cos, sin, neighbours, offset)
    torch.testing.assert_close(kv, torch.stack([k, v], 2))
    rotary.apply_rotary_emb_qkv_(
        flat, cos, sin, interleaved=neighbours, seqlen_offsets=offset, num_heads_q=2
    )
    torch.testing.assert_close(flat, torch.cat([q, k, v], 2))


def test_the_module_turns_by_powers_of_its_base():
    module = RotaryEmbedding(8, base=100.0)
    qkv = torch.randn(1, 5, 3, 2, 8)
    angle = torch.arange(7)[:, None] * 100.0 ** (-torch.arange(0, 8, 2) / 8)
    wanted = rotated(qkv[0, :, 0], angle.cos(), angle.sin(), range(2, 7), False)
    q, kv = module(qkv[:, :, 0].clone(), qkv[:, :, 1:].clone(), seqlen_offset=2)
    torch.testing.assert_close(q[0], wanted)
    found = module(qkv, seqlen_offset=2)
    torch.testing.assert_close(found[0, :, 0], wanted)
    torch.testing.assert_close(found[:, :, 1:], kv)


def test_a_gradient_turns_back():
    cos, sin = turns(4)
    x = torch.randn(1, 4, 2, 8, requires_grad=True)
    rotary.apply_rotary_emb(x, cos, sin).backward(torch.ones(1, 4, 2, 8))
    torch.testing.assert_close(x.grad, rotary.apply_rotary_emb(torch.ones(1, 4, 2, 8), cos, -sin))


def test_what_does_not_fit_is_refused():
    cos, sin = turns(3)
    with pytest.raises(InputError, match="position 4, but cos has 3 rows"):
        rotary.apply_rotary_emb(torch.randn(1, 5, 2, 8), cos, sin)
    with pytest.raises(InputError, match="6 columns to rotate, x has 4"):
        rotary.apply_rotary_emb(torch.randn(1, 2, 2, 4), cos, sin)
    with pytest.raises(UnavailableError, match="scale_base"):
        RotaryEmbedding(8, scale_base=512)
