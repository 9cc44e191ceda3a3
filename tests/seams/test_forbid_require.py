"""forbid() and require(): what they stop, what they say, and that they leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import threading

import pytest
import torch

import attnswitch
from attnswitch import guard
from attnswitch.errors import ForbiddenError, RequestError
from attnswitch.seams import operator
from tests.seams.kernels import FLASH, MATH, attend, kernels, query


class SmallAttention(torch.nn.Module):
    def forward(self, q):
        return attend(q)


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([SmallAttention(), SmallAttention()])

    def forward(self, q):
        for layer in self.layers:
            q = layer(q)
        return q


def test_forbid_names_site_operator_who_and_line():
    with attnswitch.forbid("flash"), pytest.raises(ForbiddenError) as caught:
        Tower()(query())
    for part in ("at layers.0", FLASH, "forbid('flash')", "kernels.py:"):
        assert part in str(caught.value)


def test_forbid_changes_nothing_else_and_ends():
    with attnswitch.forbid("flash"), attnswitch.use("math"):
        assert kernels(attend, query()) == {MATH}
    assert kernels(attend, query()) == {FLASH}
    assert "ATTNSWITCH_FORBID" not in os.environ


def test_forbid_as_a_decorator_and_in_threads():
    caught = []

    def work():
        try:
            attend(query())
        except ForbiddenError as error:
            caught.append(error)

    @attnswitch.forbid("flash")
    def program():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    program()
    assert len(caught) == 1
    attend(query())


def test_a_swallowed_stop_leaves_a_mark():
    with attnswitch.forbid("flash"), contextlib.suppress(Exception):
        attend(query())
    assert [trip.operator for trip in guard.tripped] == [FLASH]


def test_require_lets_flash_run():
    with attnswitch.require("flash"):
        assert kernels(attend, query()) == {FLASH}
    with attnswitch.use("flash"), attnswitch.require("flash"):
        Tower()(query())


@pytest.mark.parametrize("request_word", ["math", "standard"])
def test_require_stops_at_another_kernel_and_names_the_site(request_word):
    with (
        pytest.raises(ForbiddenError, match=r"other than FlashAttention .* at layers\.0: "),
        attnswitch.use(request_word),
        attnswitch.require("flash"),
    ):
        Tower()(query())


def test_require_sees_what_pytorch_would_pick_by_itself():
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with (
        pytest.raises(ForbiddenError, match="math"),
        attnswitch.require("flash"),
        sdpa_kernel(SDPBackend.MATH),
    ):
        attend(query())


def test_require_raises_at_the_end_where_none_ran():
    said = "no FlashAttention kernel ran"
    with pytest.raises(ForbiddenError, match=said), attnswitch.require("flash"):
        torch.softmax(torch.randn(4, 4), -1)


def test_require_does_not_hide_the_programs_own_error():
    with pytest.raises(ZeroDivisionError), attnswitch.require("flash"):
        1 / 0  # noqa: B018


def test_require_ends():
    with attnswitch.require("flash"):
        attend(query())
    assert operator.required == []
    with attnswitch.use("math"):
        assert kernels(attend, query()) == {MATH}


@pytest.mark.parametrize("word", ["standard", "fused", "", None])
def test_only_flash_can_be_forbidden_or_required(word):
    for what in (attnswitch.forbid, attnswitch.require):
        with pytest.raises(RequestError, match="only 'flash'"):
            what(word)
