"""Gradient checkpointing recomputes under the request that held when the forward ran."""

from __future__ import annotations

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import attnswitch
from attnswitch import guard, intent
from attnswitch.errors import ForbiddenError
from tests.seams.kernels import (
    BLOCKWISE,
    BLOCKWISE_BACKWARD,
    FLASH,
    FLASH_BACKWARD,
    attend,
    kernels,
    query,
)  # fmt: skip

BOTH = pytest.mark.parametrize("use_reentrant", [True, False], ids=["reentrant", "not"])


def forward(use_reentrant):
    return checkpoint(attend, query(), use_reentrant=use_reentrant).sum()


@BOTH
def test_backward_after_the_request_has_ended(use_reentrant):
    with attnswitch.use("standard"):
        loss = forward(use_reentrant)
    assert kernels(loss.backward) == {BLOCKWISE, BLOCKWISE_BACKWARD}
    assert intent.of_call() is None
    assert not guard.is_up()


@BOTH
def test_backward_inside_the_request(use_reentrant):
    with attnswitch.use("standard"):
        assert kernels(forward(use_reentrant).backward) == {BLOCKWISE, BLOCKWISE_BACKWARD}


@BOTH
def test_a_bare_forward_is_recomputed_as_it_was(use_reentrant):
    with attnswitch.use("standard"):
        pass  # stands at checkpointing from here on, and must not matter
    assert kernels(forward(use_reentrant).backward) == {FLASH, FLASH_BACKWARD}
    with attnswitch.use("flash"):
        loss = forward(use_reentrant)
    with attnswitch.use("math"), pytest.raises(ForbiddenError, match="'math'"):
        loss.backward()


@BOTH
def test_a_bare_forward_under_a_barring_request_raises_in_backward(use_reentrant):
    with attnswitch.use("standard"):
        pass
    loss = forward(use_reentrant)
    with attnswitch.use("standard"), pytest.raises(ForbiddenError):
        loss.backward()


@BOTH
def test_the_guard_stands_in_the_recomputation_too(use_reentrant):
    def reaches_past(q):
        attend(q)
        if torch.is_grad_enabled() and intent.of_process() is None:
            torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, q, q)
        return attend(q)

    with attnswitch.use("standard"):
        loss = checkpoint(reaches_past, query(), use_reentrant=use_reentrant).sum()
    with pytest.raises(ForbiddenError, match="which held when the forward ran"):
        loss.backward()
    assert not guard.is_up()


@BOTH
def test_gradients_are_those_without_checkpointing(use_reentrant):
    q = query()
    with attnswitch.use("standard"):
        attend(q).sum().backward()
    expected, q.grad = q.grad, None
    with attnswitch.use("standard"):
        loss = checkpoint(attend, q, use_reentrant=use_reentrant).sum()
    loss.backward()
    assert torch.equal(q.grad, expected)
