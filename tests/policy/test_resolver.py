"""The resolver against a slow, obvious interpreter: 10,000 random policies and calls in ten
batches, of which the quick tests try the first."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from attnswitch.errors import PolicyError
from attnswitch.policy import call_facts, plans
from attnswitch.policy.deciding import choose, choose_for_process
from attnswitch.policy.files import request_from_mapping
from attnswitch.policy.number_ranges import Numbers
from attnswitch.policy.requests import Request
from attnswitch.types import AttentionCall, Circumstances, Site

from .interpreter import first_match
from .random_policies import calls, policies

EXAMPLES, BATCHES = 1_000, 10
seen: Counter[str] = Counter()
generously = settings(
    deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def as_call(facts: dict) -> AttentionCall:
    """Stand-ins of tensors with the call's shapes; no memory is needed for 4,097 rows."""
    device = SimpleNamespace(type=facts["device"], index=facts["capability"])
    query = SimpleNamespace(
        shape=(facts["batch"], 2, facts["q_length"], facts["head_dim"]),
        ndim=4, dtype=getattr(torch, facts["dtype"]), device=device,
    )  # fmt: skip
    key = SimpleNamespace(shape=(facts["batch"], 2, facts["kv_length"], facts["head_dim"]))
    mask = None
    if facts["mask"] in ("padding", "other"):
        mask = torch.ones(1, 1, 2, 4, dtype=torch.bool)
        if facts["mask"] == "padding":
            mask[..., 0] = False
        else:
            mask[..., 0, 2:] = False
    module = SimpleNamespace(training=facts["training"])
    return AttentionCall(query, key, mask, facts["mask"] == "causal", module)


def decided(request: Request, facts: dict, *, in_process: bool) -> tuple[int | None, str]:
    """What the package's resolver makes of a call: the number of the rule, and what it asks for."""
    site = Site(facts["site"], facts["role"])
    machine = {"packages": facts["packages"].get, "environment": facts["environment"]}
    known = Circumstances(
        device=facts["device"], dtype=facts["dtype"], head_dim=facts["head_dim"],
        capability=facts["capability"], has_eager=True,
    )  # fmt: skip
    call = as_call(facts)
    if in_process:
        place = (site, call.module)
        anywhere = Circumstances(device=facts["device"], has_eager=True)
        choice = choose_for_process(request, anywhere, machine, where=lambda: place)
    else:
        choice = choose(request, known, machine, site=site)
    if hasattr(choice, "decide"):
        seen["at each call"] += 1
        first, choice = choice.decide(call), choice.decide(call)
        assert choice is first
    else:
        seen["once"] += 1
    number = choice.source.removeprefix("test, rule ")
    return (None if choice.source == "test" else int(number) - 1), choice.requested


@pytest.fixture(autouse=True)
def made_up_gpus(monkeypatch):
    """A device's index is its capability, so that no GPU is needed."""
    monkeypatch.setattr(
        call_facts, "_capability", lambda index: index[0] * 100 + index[1], raising=True
    )


@pytest.mark.parametrize(
    "batch", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, BATCHES))]
)
def test_the_resolver_is_the_interpreter(batch):
    seen.clear()

    @seed(batch)
    @settings(generously, max_examples=EXAMPLES)
    @given(policies(), st.lists(calls(), min_size=1, max_size=3))
    def run(policy, several):
        seen["policies"] += 1
        compare(policy, several)

    run()
    assert seen["policies"] >= EXAMPLES
    # Both ways to decide were tried, rules won and lost, and few policies were refused.
    assert min(seen["once"], seen["at each call"]) > EXAMPLES / 20
    assert min(seen["a rule"], seen["no rule"]) > EXAMPLES / 20
    assert seen["a rule"] + seen["no rule"] > EXAMPLES / 2


def compare(policy, several):
    """Several calls, one after the other: what is remembered of one must not decide another."""
    try:
        request = request_from_mapping(policy, "test")
    except PolicyError as error:
        # A rule that can never match is refused; that it does not match here is all we can say.
        seen["refused"] += 1
        number = int(str(error).split()[2])
        assert all(first_match(policy, facts)[0] != number - 1 for facts in several)
        return
    for facts in several:
        expected = first_match(policy, facts)
        seen["a rule" if expected[0] is not None else "no rule"] += 1
        for in_process in (False, True):
            assert decided(request, facts, in_process=in_process) == expected


def test_a_planted_fault_is_found(monkeypatch):
    """Were the upper end of a range left out, random cases would show it."""
    monkeypatch.setattr(
        Numbers, "__contains__", lambda self, n: any(a <= n < b for a, b in self.intervals)
    )

    @settings(generously, max_examples=EXAMPLES)
    @given(policies(), calls())
    def run(policy, facts):
        compare(policy, [facts])

    with pytest.raises(AssertionError):
        run()


def test_what_is_remembered_by_too_few_facts_is_found(monkeypatch):
    """Were the length of the keys left out of what a decision is kept by, calls would be mixed."""
    reader = plans._reader
    monkeypatch.setattr(
        plans, "_reader", lambda fact: (lambda _: None) if fact == "kv_length" else reader(fact)
    )

    @settings(generously, max_examples=EXAMPLES)
    @given(policies(), st.lists(calls(), min_size=2, max_size=3))
    def run(policy, several):
        compare(policy, several)

    with pytest.raises(AssertionError):
        run()
