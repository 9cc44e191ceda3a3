"""The guilty sites are found, exactly, and the answer is a policy."""

from __future__ import annotations

import pytest
import torch
import yaml

import attnswitch
from attnswitch.errors import InputError
from tests.verification import faults, models

GUILTY = ("model.layers.4.self_attn", "model.layers.17.self_attn", "model.layers.29.self_attn")


@pytest.fixture(scope="module")
def deep():
    return models.llama(32, dtype=torch.float32)


def bisected(model, kernel, find="agree", **wanted):
    with faults.planted(kernel):
        found = attnswitch.verify(
            model, models.prompt(24), candidate="blockwise", max_new_tokens=0, find=find, **wanted
        )
    return found.bisection


@pytest.mark.parametrize("guilty", [GUILTY, GUILTY[:1], GUILTY[1:]], ids=len)
def test_three_guilty_sites_of_32_layers(deep, guilty):
    ends = tuple(path.removeprefix("model") for path in guilty)
    found = bisected(deep, faults.only_at(ends, faults.attends_to_the_future))
    assert tuple(found.sites) == guilty
    assert found.complete
    assert found.minimal
    assert found.evaluations <= 40
    policy = yaml.safe_load(found.policy())
    assert policy["attn"] == "blockwise"
    assert [rule["when"]["site"] for rule in policy["rules"]] == list(guilty)
    assert {rule["use"] for rule in policy["rules"]} == {"flash"}
    assert found.cost["median"] > 0


def test_to_differ_one_guilty_site_is_enough(deep):
    ends = tuple(path.removeprefix("model") for path in GUILTY)
    found = bisected(deep, faults.only_at(ends, faults.attends_to_the_future), find="differ")
    assert len(found.sites) == 1
    assert found.sites[0] in GUILTY
    assert yaml.safe_load(found.policy())["attn"] == "flash"


def test_tokens_may_be_the_oracle(deep):
    kernel = faults.only_at("layers.17.self_attn", faults.attends_to_the_future)
    found = bisected(deep, kernel, oracle="tokens")
    assert found.sites in ([GUILTY[1]], []) and found.oracle == "tokens"
    assert bool(found.sites) != bool(found.nothing_to_find)


def test_a_small_budget_says_what_is_known(deep):
    ends = tuple(path.removeprefix("model") for path in GUILTY)
    found = bisected(deep, faults.only_at(ends, faults.attends_to_the_future), budget=9)
    assert not found.complete
    assert found.evaluations == 9
    assert set(found.sites) <= set(GUILTY)
    assert set(GUILTY) - set(found.sites) <= set(found.among)


def test_where_all_agrees_there_is_nothing_to_find(deep):
    found = attnswitch.verify(deep, models.prompt(24), max_new_tokens=0, find="agree").bisection
    assert found.sites == []
    assert "under standard alone the outputs agree" in found.nothing_to_find


def test_where_all_agrees_nothing_makes_it_differ(deep):
    found = attnswitch.verify(deep, models.prompt(24), max_new_tokens=0, find="differ").bisection
    assert found.nothing_to_find == ("with every site switched to standard the outputs still agree")


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"find": "sometimes"}, "find is 'agree' or 'differ'"),
        ({"find": "agree", "oracle": "coin"}, "oracle is 'logits' or 'tokens'"),
        ({"find": "agree", "budget": 1}, "a budget of 1 is too small"),
        ({"gradient": True}, "takes no 'gradient'"),
    ],
)
def test_what_cannot_be_asked(deep, wanted, says):
    with pytest.raises(InputError, match=says):
        attnswitch.verify(deep, models.prompt(8), max_new_tokens=0, **wanted)
