"""What rules, requests and their resolution say, word for word, where no other test does."""

from __future__ import annotations

import pytest
import torch

import attnswitch
from attnswitch import guard
from attnswitch.errors import ForbiddenError, PolicyError, RequestError, UnavailableError
from attnswitch.policy import call_facts
from attnswitch.policy.files import request_from_mapping
from attnswitch.policy.requests import parse_request
from attnswitch.policy.resolve import resolve
from attnswitch.types import Circumstances
from tests.tracing.small_models import EagerAttention, SdpaAttention, Stack, hidden_states

ALLOWED = "`use_flash_attention: true|false` or `attn: <request>`, and `rules`"


def complaint(policy) -> str:
    with pytest.raises(PolicyError) as caught:
        request_from_mapping(policy, "use()")
    return str(caught.value)


def of_rule(**when) -> str:
    return complaint({"rules": [{"when": when, "use": "math"}]})


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (lambda: complaint({}), f"use(): the policy says nothing; write {ALLOWED}"),
        (lambda: complaint({"atn": "math"}),
         f"unknown key 'atn' (did you mean 'attn'?); allowed: {ALLOWED}"),
        (lambda: complaint({"rules": ["math"]}),
         "rule 1 is no mapping; write `- when: {…}` with `use: <request>`"),
        (lambda: of_rule(packages="torch"),
         'rule 1: packages: write packages with versions, as {transformers: ">=4.48"}'),
        (lambda: of_rule(packages={"torch": "new"}),
         "rule 1: packages: torch: 'new' is no version: write \"2.4\", \">=2.4,<2.9\", present or "
         "absent"),
        (lambda: of_rule(environment="RANK"),
         'rule 1: environment: write variables with values, as {LOCAL_RANK: "0"}'),
    ],
)  # fmt: skip
def test_a_policys_complaint(said, expected):
    assert said() == expected


def test_a_request_that_other_tools_know_by_this_name():
    with pytest.raises(RequestError) as caught:
        parse_request("xformers", "--attn")
    assert str(caught.value) == (
        "--attn: 'xformers' is no request: write 'efficient', PyTorch's own copy of that kernel"
    )
    with pytest.raises(RequestError) as caught:
        parse_request("", "--attn")
    assert str(caught.value) == (
        "--attn: the request is empty; write one of standard, flash, fused, no-flash, auto, "
        "blockwise, math, eager, reference, efficient, flash_attn, or a policy file (.yaml, .yml, "
        ".json)"
    )


def test_a_request_that_cannot_be_met():
    with pytest.raises(UnavailableError) as caught:
        resolve(parse_request("efficient", "--attn"), Circumstances(device="cpu"))
    assert str(caught.value) == (
        "--attn asks for 'efficient', which cannot be met here: efficient: runs on cuda, not on "
        "cpu. 'standard' works everywhere"
    )
    with pytest.raises(UnavailableError) as caught:
        resolve(parse_request("flash"), Circumstances(device="cuda", capability=(7, 0)))
    assert str(caught.value).endswith(
        ". 'standard' works everywhere; 'no-flash' takes the fastest that is not FlashAttention"
    )


def test_a_choice_left_to_the_calls_says_so():
    policy = {"attn": "flash", "rules": [{"when": {"kv_length": ">9"}, "use": "math"}]}
    with attnswitch.apply(Stack(SdpaAttention()), policy) as plan:
        (choice,) = plan.choices.values()
    assert choice.rule == "the rules decide at each call"


def test_a_site_with_its_own_arithmetic_says_that_rules_change_nothing_there():
    policy = {"attn": "eager", "rules": [{"when": {"kv_length": ">9"}, "use": "standard"}]}
    with attnswitch.apply(Stack(EagerAttention()), policy) as plan:
        (choice,) = plan.choices.values()
    assert (choice.backend, choice.rule) == ("eager", "its own code is all that can run here")


def test_flash_for_a_model_where_the_process_bars_it():
    model = Stack(SdpaAttention())
    with attnswitch.use("standard", source="pytest"), pytest.raises(RequestError) as caught:
        attnswitch.apply(model, "flash")
    assert str(caught.value) == (
        "apply() asks for 'flash', but pytest asks for 'standard' in this whole process; withdraw "
        "one of them"
    )


def test_a_model_without_attention():
    with pytest.raises(attnswitch.errors.ModelInputError) as caught:
        attnswitch.apply(torch.nn.Linear(2, 2), "standard")
    assert str(caught.value) == (
        "Linear has no attention module that attnswitch recognises; use attnswitch.use() to switch "
        "the whole process instead"
    )


def test_a_mask_that_cannot_be_read():
    mask = torch.ones(1, 1, 2, 4, device="meta", dtype=torch.bool)
    with pytest.raises(UnavailableError) as caught:
        call_facts.is_padded(mask)
    assert str(caught.value) == (
        "a rule asks whether the mask is padding, which cannot be told in compiled code. Write "
        "`mask: [padding, other]` (any mask tensor), or do not compile here"
    )


def test_what_can_be_forbidden():
    with pytest.raises(RequestError) as caught:
        attnswitch.forbid("standard")
    assert str(caught.value) == (
        "forbid(): only 'flash' can be forbidden or required, not 'standard'"
    )


def test_require_where_nothing_ran_and_where_nothing_can_be_counted(monkeypatch):
    with pytest.raises(ForbiddenError) as caught, attnswitch.require("flash"):
        pass
    said = str(caught.value)
    assert said.startswith(
        "no FlashAttention kernel ran in the block: none was seen, forbidden by require('flash'), "
        "called from "
    )
    monkeypatch.setattr(guard, "can_pass_through", lambda: False)
    with pytest.raises(UnavailableError) as unavailable:
        attnswitch.require("flash").__enter__()
    assert str(unavailable.value) == (
        "require('flash') needs to count FlashAttention's kernels as they run. Upgrade torch to "
        "2.9 or newer"
    )


def test_a_forbidden_kernel():
    model = Stack(SdpaAttention())
    with attnswitch.forbid("flash"), pytest.raises(ForbiddenError) as caught:
        model(hidden_states())
    assert str(caught.value).startswith(
        "FlashAttention was about to run at layers.0: "
        "aten::_scaled_dot_product_flash_attention_for_cpu, forbidden by forbid('flash'), called "
        "from "
    )
