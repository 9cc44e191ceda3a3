"""Gradient checkpointing recomputes under the request that held when the forward ran."""

from __future__ import annotations

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import attnswitch
from attnswitch import guard, intent
from attnswitch.errors import ForbiddenError, UnavailableError
from tests.core import tiny_llava
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


@pytest.fixture
def model(request):
    """A tiny LLaVA that trains with gradient checkpointing of one kind."""
    built = tiny_llava.build().train()
    built.gradient_checkpointing_enable({"use_reentrant": request.param})
    return built


MODELS = pytest.mark.parametrize("model", [True, False], indirect=True, ids=["reentrant", "not"])


def loss_of(model):
    inputs = tiny_llava.inputs()
    return model(**inputs, labels=inputs["input_ids"]).loss


@MODELS
def test_a_plan_holds_in_the_recomputation(model):
    with attnswitch.apply(model, "standard"):
        loss = loss_of(model)
        assert kernels(loss.backward) == {BLOCKWISE, BLOCKWISE_BACKWARD}
    assert not guard.is_up()


@MODELS
def test_a_plan_for_the_language_model_alone_leaves_the_tower_as_it_is(model):
    with attnswitch.apply(model.model.language_model, "standard"):
        loss = loss_of(model)
        assert kernels(loss.backward) == {BLOCKWISE, BLOCKWISE_BACKWARD, FLASH, FLASH_BACKWARD}


@MODELS
def test_a_plan_that_was_undone_in_between_is_an_error(model):
    plan = attnswitch.apply(model, "standard")
    loss = loss_of(model)
    plan.undo()
    said = r"ran under apply\(\) asking for 'standard', and the model now stands under no plan"
    with pytest.raises(UnavailableError, match=said):
        loss.backward()
    loss_of(model).backward()


@MODELS
def test_a_plan_that_was_made_in_between_is_an_error(model):
    attnswitch.apply(model, "standard").undo()  # stands at checkpointing from here on
    loss = loss_of(model)
    with (
        attnswitch.apply(model, "math"),
        pytest.raises(UnavailableError, match=r"under no plan, and the model now stands under app"),
    ):
        loss.backward()


@MODELS
def test_a_plan_that_bars_flash_attention_bars_it_in_the_recomputation(model):
    class ReachesPast(torch.nn.Module):
        def forward(self, hidden):
            if intent.of_call() is not None:  # not in the forward pass, whose model is barred
                torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*[query()] * 3)
            return hidden

    layer = model.model.language_model.layers[0]
    layer.post_attention_layernorm = torch.nn.Sequential(
        layer.post_attention_layernorm, ReachesPast()
    )
    with attnswitch.apply(model, "standard"):
        loss = loss_of(model)
        with pytest.raises(ForbiddenError, match="which held when the forward ran"):
            loss.backward()
    assert not guard.is_up()


@MODELS
def test_gradients_under_a_plan_are_those_without_checkpointing(model):
    def gradients():
        model.zero_grad()
        loss_of(model).backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    with attnswitch.apply(model, "standard"):
        found = gradients()
        model.gradient_checkpointing_disable()
        for one, wanted in zip(found, gradients(), strict=True):
            assert torch.equal(one, wanted)


@BOTH
def test_a_module_in_a_closure_is_found(use_reentrant):
    """The way of old transformers: a function made around a layer."""
    layer = tiny_llava.build().model.language_model.layers[0].self_attn
    hidden, angles = torch.randn(1, 8, 64, requires_grad=True), (torch.ones(1, 8, 16),) * 2

    def custom(given):
        return layer(given, position_embeddings=angles, attention_mask=None)[0]

    with attnswitch.apply(layer, "standard"):
        loss = checkpoint(custom, hidden, use_reentrant=use_reentrant).sum()
    with pytest.raises(UnavailableError, match="under no plan"):
        loss.backward()
