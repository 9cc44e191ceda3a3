"""Receipts on a tiny LLaVA."""

from __future__ import annotations

import pytest
import torch

import attnswitch
from tests.core import tiny_llava
from tests.core.observer import BLOCKWISE, FLASH
from tests.core.test_switch import hooks_of


@pytest.fixture(scope="module")
def model():
    return tiny_llava.build()


def answer(model, tokens=6):
    with torch.inference_mode():
        return model.generate(**tiny_llava.inputs(), max_new_tokens=tokens, do_sample=False)


def by_group(trace):
    groups: dict = {}
    for receipt in trace.receipts:
        key = (receipt.role, receipt.phase, receipt.backend, receipt.evidence)
        groups[key] = groups.get(key, 0) + receipt.calls
    return groups


@pytest.mark.parametrize(
    ("request_word", "backend", "evidence"),
    [
        ("flash", "flash", "op"),
        ("standard", "blockwise", "guarded"),
        ("math", "math", "guarded"),
        ("eager", "eager", "guarded"),
    ],
)
def test_every_site_and_phase_has_its_receipt(model, request_word, backend, evidence):
    with attnswitch.apply(model, request_word), attnswitch.trace(model) as trace:
        answer(model)
    assert by_group(trace) == {
        ("vision_tower", "vision", backend, evidence): 3,
        ("language_model", "prefill", backend, evidence): 2,
        ("language_model", "decode", backend, evidence): 10,
    }
    for receipt in trace.receipts:
        assert (receipt.requested, receipt.planned) == (request_word, backend)
        assert receipt.executed


def test_without_the_switch_it_says_what_the_project_chose(model):
    with attnswitch.trace(model) as trace:
        answer(model)
    assert {r.backend for r in trace.receipts} == {"flash"}
    assert {(r.requested, r.planned, r.evidence) for r in trace.receipts} == {(None, None, "op")}
    assert {tuple(r.executed) for r in trace.receipts} == {(FLASH,)}


def test_a_mixed_model_is_told_apart(model):
    with (
        attnswitch.apply(model.model.vision_tower, "standard"),
        attnswitch.apply(model.model.language_model, "flash"),
        attnswitch.trace(model) as trace,
    ):
        answer(model)
    found = {(r.role, r.backend) for r in trace.receipts}
    assert found == {("vision_tower", "blockwise"), ("language_model", "flash")}


def test_a_switch_that_lies_is_not_believed(model):
    """The plan says blockwise; the kernel that really runs is named all the same."""
    from attnswitch.backends import replace_backend, torch_math

    replace_backend("blockwise", torch_math.attend)
    with attnswitch.apply(model, "standard"), attnswitch.trace(model) as trace:
        answer(model)
    assert {(r.planned, r.backend) for r in trace.receipts} == {("blockwise", "math")}


def test_without_a_model_the_block_is_watched():
    q = torch.randn(1, 2, 4, 8)
    with attnswitch.use("standard"), attnswitch.trace() as trace:
        torch.nn.functional.scaled_dot_product_attention(q, q, q)
    (receipt,) = trace.receipts
    assert (receipt.site, receipt.role, receipt.backend) == (None, None, "blockwise")
    assert receipt.executed == [BLOCKWISE]


def test_nothing_remains_after_the_block(model):
    from attnswitch import guard

    answer(model)
    describer, hooks = guard.describe_site, hooks_of(model)
    with pytest.raises(ZeroDivisionError), attnswitch.trace(model):
        assert hooks_of(model) != hooks
        raise ZeroDivisionError
    assert hooks_of(model) == hooks
    assert guard.describe_site is describer
    assert not torch.autograd._profiler_enabled()


def test_receipts_aggregate(model):
    with attnswitch.trace(model) as trace:
        answer(model, tokens=3)
        few = len(trace.receipts)
        answer(model, tokens=40)
    assert len(trace.receipts) == few
    assert sum(r.calls for r in trace.receipts if r.phase == "decode") == 2 * (2 + 39)


def test_forbidden_call_names_the_site(model):
    from attnswitch.errors import ForbiddenError

    q = torch.randn(1, 1, 4, 8)
    site = model.model.language_model.layers[1].self_attn

    def sneak(*_):
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, q, q)

    handle = site.q_proj.register_forward_hook(sneak)
    try:
        with (
            attnswitch.apply(model, "standard"),
            attnswitch.trace(model),
            pytest.raises(ForbiddenError, match=r"at model\.language_model\.layers\.1\.self_attn"),
        ):
            answer(model)
    finally:
        handle.remove()


def test_the_record_is_json(model):
    import json

    with attnswitch.trace(model) as trace:
        answer(model)
    record = json.loads(json.dumps(trace.to_json()))
    assert record["schema"] == "attnswitch.trace/1"
    promised = {
        "site", "role", "phase", "requested", "planned", "backend", "family", "executed",
        "evidence", "calls", "process",
    }  # fmt: skip
    assert all(promised <= set(receipt) for receipt in record["receipts"])
