"""Deliberately wrong variants: each must be caught by the properties that hold the right one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings

from attnswitch.seams.package.attention import run as running
from attnswitch.seams.package.attention.call import NO_WINDOW, AttentionCall, Packing
from attnswitch.seams.package.flash_attn_api import dense, varlen

from . import test_dense, test_varlen
from .cases import cases, examples

RIGHT = running.run


def top_left(call: AttentionCall):
    return RIGHT(replace(call, alignment="top-left"))


def without_window(call: AttentionCall):
    return RIGHT(replace(call, window=NO_WINDOW))


def without_softcap(call: AttentionCall):
    return RIGHT(replace(call, softcap=0.0))


def without_slopes(call: AttentionCall):
    return RIGHT(replace(call, alibi_slopes=None))


def of_one_sequence(call: AttentionCall):
    """cu_seqlens ignored: all tokens are one sequence."""
    ends = (call.packing.query_ends, call.packing.key_ends)
    whole = Packing(*((0, *(e[-1] for _ in each[1:])) for each, e in zip(ends, ends, strict=True)))
    slopes = call.alibi_slopes
    slopes = slopes[0] if slopes is not None and slopes.ndim == 2 else slopes
    return RIGHT(replace(call, packing=whole, alibi_slopes=slopes))


def heads_in_turn(call: AttentionCall):
    """Query head h reads key head h modulo G, not h divided by the group's size."""
    groups = call.key.shape[-2]
    order = [h * groups % call.query.shape[-2] for h in range(call.query.shape[-2])]
    return RIGHT(replace(call, query=call.query[..., order, :]))


def catch(check, strategy) -> None:
    """The property that holds the right variant must fail within 200 cases."""

    @given(strategy)
    @settings(examples(200), phases=[Phase.generate], report_multiple_bugs=False)
    def holds(case):
        check(case, "blockwise")

    with pytest.raises(AssertionError):
        holds()


@pytest.mark.parametrize(
    "wrong", [top_left, without_window, without_softcap, without_slopes, heads_in_turn]
)
def test_caught_in_a_batch(wrong, monkeypatch):
    monkeypatch.setattr(dense, "run", wrong)
    catch(test_dense.check, cases(one_length=True))


@pytest.mark.parametrize("wrong", [top_left, without_window, of_one_sequence])
def test_caught_in_packed_sequences(wrong, monkeypatch):
    monkeypatch.setattr(varlen, "run", wrong)
    catch(test_varlen.check, cases(one_length=False))
